import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate

from miassr_monai.degradations import area_degradation, psf_degradation, slice_profile_degradation
from miassr_monai.degradations.slice_profile import pulse_profile

THICKNESSES = pytest.mark.parametrize("thickness", [0.5, 0.8, 1.0, 1.6])
PROFILES = pytest.mark.parametrize("profile", ["box", "gaussian", "rf"])


@THICKNESSES
@pytest.mark.parametrize("scale", [2, 2.3, 4, 5.5])
def test_a_box_is_the_integral_over_the_slice(random_image, centres, scale, thickness):
    row = random_image(60)
    small = slice_profile_degradation(row.expand(2, 60), (1, scale), thickness=thickness)[0]
    for i in (3, 5, 6):
        low, high = (float(centres(60, scale)[i]) + sign * thickness * scale / 2 for sign in (-1, 1))
        faces = [k + 0.5 for k in range(math.floor(low) - 1, math.ceil(high)) if low < k + 0.5 < high]
        ends = [low, *faces, high]
        pieces = [float(row[round((a + b) / 2)]) * (b - a) for a, b in pairwise(ends)]
        assert float(small[i]) == pytest.approx(sum(pieces) / (high - low), abs=1e-12)


def test_special_cases_are_the_degradations_that_they_are(random_image):
    image = random_image(2, 20, 24)
    torch.testing.assert_close(slice_profile_degradation(image, 2.3), area_degradation(image, 2.3), rtol=0, atol=0)
    gaussian = slice_profile_degradation(image, 2.3, profile="gaussian", thickness=(0.8, 1.2))
    torch.testing.assert_close(gaussian, psf_degradation(image, 2.3, fwhm=(0.8, 1.2)), rtol=0, atol=0)


@pytest.mark.parametrize("z", [0.0, 0.2, 0.4, 0.5, 0.7, 1.0, -0.5])
def test_the_profile_of_a_pulse_is_a_box_under_the_transform_of_the_hann_window(z):
    def window(x):
        return np.sinc(x) / 2 + (np.sinc(x - 1) + np.sinc(x + 1)) / 4

    expected = integrate.quad(lambda v: 4 * window(4 * (z - v)), -0.5, 0.5)[0]
    assert float(pulse_profile(torch.tensor([z], dtype=torch.float64))) == pytest.approx(expected, abs=1e-4)


def test_the_profile_of_a_pulse_is_half_as_high_at_the_faces_of_the_slice():
    low, middle, high = pulse_profile(torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)).tolist()
    assert low / middle == pytest.approx(0.5, abs=0.01) and high / middle == pytest.approx(0.5, abs=0.01)


@PROFILES
@THICKNESSES
@pytest.mark.parametrize("scale", [3, 5])
def test_a_ramp_stays_a_ramp_where_slices_are_centred_on_samples(centres, scale, thickness, profile):
    ramp = torch.arange(90, dtype=torch.float64).expand(2, 90)
    row = slice_profile_degradation(ramp, (1, scale), thickness=thickness, profile=profile)[0]
    torch.testing.assert_close(row[5:-5], centres(90, scale)[5:-5], rtol=0, atol=1e-6)


@PROFILES
def test_a_thin_sheet_is_seen_as_the_profile_is_high(profile):
    """Of slices much thicker than the sheet: a box, a Gaussian or the profile of the pulse."""
    size, scale, thickness = 21 * 9, 21, 1.2
    sheets = torch.eye(size, dtype=torch.float64)
    weights = slice_profile_degradation(sheets, (1, scale), thickness=thickness, profile=profile)[:, 4]
    z = (torch.arange(size, dtype=torch.float64) - (4 * scale + scale // 2)) / (scale * thickness)
    shape = {"box": (z.abs() < 0.49).double(), "gaussian": torch.exp2(-4 * z**2), "rf": pulse_profile(z)}[profile]
    shape = torch.where(z.abs() < 1.45, shape, torch.zeros_like(shape))
    inner = (z.abs() - 0.5).abs() > 0.03
    expected = shape / shape.sum() * (weights[inner].sum() / (shape / shape.sum())[inner].sum())
    torch.testing.assert_close(weights[inner], expected[inner], rtol=0, atol=0.02 / (scale * thickness))


def test_unknown_profiles_and_impossible_thicknesses_are_refused():
    with pytest.raises(ValueError, match="profile must be one of box, gaussian, rf, got 'round'"):
        slice_profile_degradation(torch.zeros(8, 8), 2, profile="round")
    for profile in ("box", "gaussian", "rf"):
        with pytest.raises(ValueError, match=r"thickness must be a number in \[0.1, 4\], got 5"):
            slice_profile_degradation(torch.zeros(8, 8), 2, profile=profile, thickness=5)
