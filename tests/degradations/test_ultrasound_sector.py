import pytest
import torch

from miassr_monai.degradations import (
    parse_degradation,
    psf_degradation,
    ultrasound_degradation,
    ultrasound_sector_degradation,
)
from miassr_monai.scan_conversion import Sector, from_beams

SECTOR = Sector(row=-20.0, column=63.5, near=40.0, far=140.0, first=-38.0, last=38.0)
NUMBERS = (-20.0, 63.5, 40.0, 140.0, -38.0, 38.0)
SIZE = (128, 200)


def picture(wave):
    """A sector with ``wave`` periods across its beams, zero outside."""
    depths, beams = SECTOR.size
    across = 0.5 + 0.4 * torch.cos(2 * torch.pi * wave * (torch.arange(beams, dtype=torch.float64) + 0.5) / beams)
    made, inside = from_beams(across.expand(depths, beams), SECTOR, SIZE)
    return torch.where(inside, made, 0.0), inside


def well_inside(margin=2.0):
    """Pixels that are some pixels away from the border of the sector."""
    row = torch.arange(SIZE[0], dtype=torch.float64).unsqueeze(1) - SECTOR.row
    column = torch.arange(SIZE[1], dtype=torch.float64) - SECTOR.column
    radius, angle = torch.hypot(row, column), torch.rad2deg(torch.atan2(column, row))
    far_enough = (radius > SECTOR.near + margin) & (radius < SECTOR.far - margin)
    return far_enough & (angle.abs() < SECTOR.last - torch.rad2deg(margin / radius))


@pytest.mark.parametrize("beams", ["sampled", "band_limited"])
def test_a_slow_wave_across_the_beams_is_kept_and_a_fast_one_is_not(beams):
    kept = SECTOR.size[1] // 4
    slow, _ = picture(kept / 8)
    made = ultrasound_sector_degradation(slow, 1.0, sector=NUMBERS, beams=beams)
    difference = (made - slow)[well_inside(6.0)]
    assert difference.abs().mean() < 0.02
    fast, inside = picture(kept)
    made = ultrasound_sector_degradation(fast, 1.0, sector=NUMBERS, beams=beams)
    # Sampled once per period it is nearly one value, band-limited its mean.
    spread = (made - made[well_inside(8.0)].mean())[well_inside(8.0)].abs().mean()
    assert spread < (0.12 if beams == "sampled" else 0.02)
    assert (made - fast)[well_inside(8.0)].abs().mean() > 0.2
    assert torch.equal(made[~inside], fast[~inside])


def test_along_the_beams_nothing_is_lost():
    depths, beams = SECTOR.size
    along = 0.5 + 0.4 * torch.cos(2 * torch.pi * torch.arange(depths, dtype=torch.float64) / 8)
    image, inside = from_beams(along.unsqueeze(1).expand(depths, beams), SECTOR, SIZE)
    image = torch.where(inside, image, 0.0)
    made = ultrasound_sector_degradation(image, 1.0, sector=NUMBERS, undersampling=8.0)
    assert (made - image)[well_inside(3.0)].abs().mean() < 0.01


def test_the_sector_is_found_where_it_is_not_given():
    image, _ = picture(3)
    found = ultrasound_sector_degradation(image, 1.0)
    given = ultrasound_sector_degradation(image, 1.0, sector=NUMBERS)
    assert (found - given)[well_inside(3.0)].abs().mean() < 0.01
    with pytest.raises(ValueError, match="there is no sector in the image"):
        ultrasound_sector_degradation(torch.ones(40, 40), 1.0)
    assert torch.equal(ultrasound_sector_degradation(torch.zeros(4, 4), 1.0), torch.zeros(4, 4))


def test_beyond_scale_1_the_image_is_blurred_and_sampled():
    image, _ = picture(5)
    made = ultrasound_sector_degradation(image, 1.0, sector=NUMBERS)
    small = ultrasound_sector_degradation(image.expand(2, 1, *SIZE), 2.0, sector=NUMBERS, fwhm=0.8)
    torch.testing.assert_close(small[1, 0], psf_degradation(made, 2.0, fwhm=0.8))


def test_it_is_written_as_text():
    text = "ultrasound_sector:sector=-20x63.5x40x140x-38x38,undersampling=3,beams=band_limited"
    image, _ = picture(5)
    expected = ultrasound_sector_degradation(image, 1.0, sector=NUMBERS, undersampling=3, beams="band_limited")
    degradation = parse_degradation(text)
    assert degradation.name == text
    assert torch.equal(degradation(image, 1.0), expected)
    parse_degradation("ultrasound_sector")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ultrasound_sector:sector=1x2", r"sector must be 6 numbers, got \(1.0, 2.0\)"),
        ("ultrasound_sector:sector=0x0x9x5x-3x3", "a sector has a row and a column, two radii"),
        ("ultrasound_sector:undersampling=0", r"undersampling must be a number in \[1, 64\]"),
        ("ultrasound_sector:sector=-2x1x2x9x-30x30,beams=wide", "beams must be one of sampled"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_degradation(text)


def test_a_sector_of_one_kept_beam_is_one_value_per_depth():
    image, _ = picture(0)
    made = ultrasound_sector_degradation(image, 1.0, sector=NUMBERS, undersampling=64)
    assert ultrasound_degradation(torch.ones(3, 64), (1.0, 64.0)).shape == (3, 1)
    assert (made - image)[well_inside(3.0)].abs().max() < 0.02
