import math

import numpy as np
import pytest
import torch

from miassr_monai.scan_conversion import Sector, find_sector, from_beams, to_beams

SECTORS = [
    Sector(row=-35.3, column=101.2, near=60.0, far=210.0, first=-35.0, last=35.0),
    Sector(row=-10.0, column=80.0, near=12.0, far=180.0, first=-40.0, last=25.0),
    Sector(row=-10.0, column=149.0, near=12.0, far=180.0, first=-25.0, last=40.0),
    Sector(row=12.6, column=99.1, near=0.0, far=160.0, first=-30.0, last=31.0),
]
SIZE = (190, 230)


def polar(sector, size=SIZE):
    """Radius and angle (degrees) of every pixel."""
    row = torch.arange(size[0], dtype=torch.float64).unsqueeze(1) - sector.row
    column = torch.arange(size[1], dtype=torch.float64) - sector.column
    return torch.hypot(row, column), torch.rad2deg(torch.atan2(column, row))


@pytest.mark.parametrize("sector", SECTORS)
def test_beams_are_where_they_are_said_to_be(sector):
    """A picture that is linear in its rows and columns, of which PyTorch's bicubic interpolation is 0.05 pixels off."""
    row = torch.arange(SIZE[0], dtype=torch.float64).unsqueeze(1)
    column = torch.arange(SIZE[1], dtype=torch.float64)
    beams = to_beams(torch.stack([row.expand(SIZE), column.expand(SIZE)]), sector)
    depths, count = sector.size
    assert depths >= sector.far - sector.near and count >= math.radians(sector.last - sector.first) * sector.far
    for i, j in ((0, count // 2), (depths // 2, 3), (depths // 2, count - 4), (depths // 3, count // 3)):
        radius = sector.near + (i + 0.5) * (sector.far - sector.near) / depths
        angle = math.radians(sector.first + (j + 0.5) * (sector.last - sector.first) / count)
        place = sector.row + radius * math.cos(angle), sector.column + radius * math.sin(angle)
        if 2 < place[0] < SIZE[0] - 3 and 2 < place[1] < SIZE[1] - 3:
            assert beams[:, i, j].tolist() == pytest.approx(place, abs=0.06)


@pytest.mark.parametrize("sector", SECTORS)
def test_the_picture_of_beams_has_their_values_at_each_pixels_radius_and_angle(sector):
    depths, count = 40, 60
    depth = torch.arange(depths, dtype=torch.float64).unsqueeze(1).expand(depths, count)
    beam = torch.arange(count, dtype=torch.float64).expand(depths, count)
    made, inside = from_beams(torch.stack([depth, beam]), sector, SIZE)
    radius, angle = polar(sector)
    expected = torch.stack(
        [
            (radius - sector.near) / (sector.far - sector.near) * depths - 0.5,
            (angle - sector.first) / (sector.last - sector.first) * count - 0.5,
        ]
    )
    inner = (expected > 2).all(0) & (expected[0] < depths - 3) & (expected[1] < count - 3)
    torch.testing.assert_close(made[:, inner], expected[:, inner], rtol=0, atol=0.06)
    belongs = (radius >= sector.near) & (radius <= sector.far) & (angle >= sector.first) & (angle <= sector.last)
    assert torch.equal(inside, belongs)


def test_there_and_back_a_smooth_picture_is_the_same():
    sector = SECTORS[0]
    row = torch.arange(SIZE[0], dtype=torch.float64).unsqueeze(1)
    column = torch.arange(SIZE[1], dtype=torch.float64)
    image = 0.5 + 0.3 * torch.sin(row / 5) * torch.cos(column / 6)
    made, inside = from_beams(to_beams(image, sector), sector, SIZE)
    radius, angle = polar(sector)
    inner = inside & (radius > sector.near + 2) & (radius < sector.far - 2) & (angle.abs() < 34)
    # The part of the sector below the picture's border repeats it.
    inner[-3:] = False
    assert (made - image)[inner].abs().max() < 0.004


@pytest.mark.parametrize("sector", SECTORS)
def test_a_sector_is_found_despite_dark_tissue(sector):
    radius, angle = polar(sector)
    inside = (radius >= sector.near) & (radius <= sector.far) & (angle >= sector.first) & (angle <= sector.last)
    noise = torch.rand(3, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    image = inside * (0.2 + noise)
    # A shadow at the left side, and a hole.
    image[..., 60:75, :90] = 0
    image[..., 100:110, 100:130] = 0
    # What a network leaves where there is nothing.
    image += 0.02 * (torch.rand(image.shape, generator=torch.Generator().manual_seed(1)) - 0.5)
    found = find_sector(image)
    assert (found.row, found.column) == pytest.approx((sector.row, sector.column), abs=2.0)
    assert found.first == pytest.approx(sector.first, abs=0.5)
    assert found.last == pytest.approx(sector.last, abs=0.5)
    assert found.far == pytest.approx(sector.far, abs=2.0)
    assert found.near == pytest.approx(sector.near, abs=6.0)


@pytest.mark.parametrize(
    "image",
    [
        torch.ones(40, 40),
        torch.nn.functional.pad(torch.ones(40, 40), (9, 9, 9, 9)),
        torch.zeros(40, 40),
        torch.eye(12),
    ],
)
def test_pictures_without_a_sector_are_refused(image):
    with pytest.raises(ValueError, match=r"there is no sector in the image: give it, or take the columns as beams\."):
        find_sector(image)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 5, 5, -1, 1), (0, 0, -1, 5, -1, 1), (0, 0, 1, 5, 1, -1), (0, 0, 1, 5, -91, 1)]
)
def test_a_sector_that_cannot_be_is_refused(numbers):
    with pytest.raises(ValueError, match="two radii of at least 0 and two angles"):
        Sector(*numbers)


def test_integers_become_float():
    assert to_beams(torch.from_numpy(np.ones(SIZE, np.uint8)), SECTORS[0]).dtype == torch.float32
