import pytest
import torch

from miassr_monai.degradations import kspace_degradation, sampling_degradation, ultrasound_degradation


def test_dropped_beams_are_left_as_they_are(random_image):
    image = random_image(2, 5, 24)
    for scale, kept in ((2.0, slice(0, 24, 2)), (3.0, slice(1, 24, 3)), (4.0, slice(1, 24, 4))):
        assert torch.equal(ultrasound_degradation(image, (1.0, scale), beams="dropped"), image[..., kept])


@pytest.mark.parametrize("scale", [1.0, 1.3, 2.5, 3.7])
def test_a_dropped_beam_is_the_nearest_one(centres, scale):
    beam = torch.arange(40, dtype=torch.float64).expand(3, 40)
    places = centres(40, scale)
    kept = ultrasound_degradation(beam, (1.0, scale), beams="dropped")[0]
    assert (kept == kept.round()).all()
    assert float((kept - places).abs().max()) <= 0.5


@pytest.mark.parametrize(("beams", "same"), [("sampled", sampling_degradation), ("band_limited", kspace_degradation)])
def test_sampled_and_band_limited_beams(random_image, beams, same):
    image = random_image(9, 30)
    small = ultrasound_degradation(image, (1, 2.5), beams=beams)
    torch.testing.assert_close(small, same(image, (1, 2.5)), rtol=0, atol=1e-12)
    assert small.shape == (9, 12)


def test_beams_are_narrow_unless_they_are_band_limited():
    """A wave of three quarters of a cycle per LR beam aliases to a quarter, or is not seen."""
    wave = torch.cos(2 * torch.pi * (torch.arange(256, dtype=torch.float64) + 0.5) * 0.75 / 4).expand(2, 256)
    place = torch.arange(8, 56, dtype=torch.float64) + 0.5
    aliased = torch.cos(2 * torch.pi * place * 0.75)
    sampled = ultrasound_degradation(wave, (1, 4))[0, 8:56]
    torch.testing.assert_close(sampled, aliased, rtol=0, atol=0.1)
    assert ultrasound_degradation(wave, (1, 4), beams="band_limited").abs().max() < 1e-9


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError, match="beams must be one of sampled, dropped, band_limited, got 'wide'"):
        ultrasound_degradation(torch.zeros(4, 4), (1, 2), beams="wide")
