import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from miassr_monai.adaptation import estimate_slice_thickness

# Full width at half maximum of a Gaussian of standard deviation 1.
FWHM = 2 * np.sqrt(2 * np.log(2))


def scan(thickness, spacing, noise=0.0):
    """A random field with a Gaussian spectrum, which Gaussian slices leave one: the variances of both add up."""
    random = np.random.default_rng(0)
    own = 1.5
    across = np.hypot(own, thickness / FWHM)
    field = gaussian_filter(random.standard_normal((96, 96, 24 * spacing)), (own, own, across), mode="wrap")
    slices = field[..., ::spacing] / field.std()
    return torch.from_numpy(slices + noise * random.standard_normal(slices.shape))[None]


@pytest.mark.parametrize("thickness, spacing", [(2.0, 2), (4.0, 4), (3.0, 4), (5.0, 4)])
def test_the_thickness_of_slices_of_a_random_field_is_found_with_gaps_and_overlaps(thickness, spacing):
    found = estimate_slice_thickness(scan(thickness, spacing), (1.0, 1.0, spacing), 2)
    assert found == pytest.approx(thickness, rel=0.08)


def test_it_is_in_mm_along_any_axis_in_any_unit_and_noise_does_not_matter():
    volume = 300 * scan(4.0, 4, noise=0.05).movedim(-1, 1) - 1000
    found = estimate_slice_thickness(volume, (3.2, 0.8, 0.8), 0)
    assert found == pytest.approx(0.8 * 4.0, rel=0.05)


def test_another_profile_of_the_same_spread_has_another_width():
    # A box of width w has the variance w² / 12.
    found = estimate_slice_thickness(scan(3.0, 4), (1.0, 1.0, 4.0), 2, "box")
    assert found == pytest.approx(3.0 / FWHM * np.sqrt(12), rel=0.1)


@pytest.mark.parametrize(
    "volume, spacing, message",
    [
        (torch.zeros(1, 40, 40, 10), (1.0, 1.0, 4.0), "no thickness between 1.2 and 8 mm"),
        (torch.rand(1, 40, 40, 10), (1.0, 1.0, 1.2), "slices 1.2 mm apart, with pixels of 1 mm, cannot be estimated"),
        (torch.rand(1, 40, 40, 5), (1.0, 1.0, 4.0), "that takes 8 of them"),
        (torch.rand(1, 16, 40, 10), (1.0, 1.0, 4.0), "that takes 8 of them"),
    ],
)
def test_a_volume_that_does_not_tell_is_refused(volume, spacing, message):
    with pytest.raises(ValueError, match=message):
        estimate_slice_thickness(volume, spacing, 2)
