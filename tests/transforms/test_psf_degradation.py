import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import integrate, ndimage

from miassr_monai.transforms import PSFDegradation, PSFDegradationd, psf_degradation

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))


@pytest.mark.parametrize("slice_axis", [-1, 0, 1])
@pytest.mark.parametrize("scale", [1.0, 1.5, 2, 2.3, 3.7, (3.7, 1.5), (1, 2)])
def test_a_ramp_has_the_values_that_the_affine_promises(world_ramp, affine, scale, slice_axis):
    size = [40, 44, 48]
    size[slice_axis] = 3
    image = MetaTensor(world_ramp(size, affine).unsqueeze(0), affine=affine)
    small = PSFDegradation(scale, slice_axis=slice_axis)(image)
    difference = small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine)
    inner = difference.movedim(slice_axis, 0)[:, 4:-4, 4:-4]
    torch.testing.assert_close(inner, torch.zeros(3, *inner.shape[1:]).to(inner), rtol=0, atol=1e-5)
    assert inner.size(1) >= 2 and inner.size(2) >= 2


@pytest.mark.parametrize("scale", [(2, 2), (2.3, 2.3), (1.5, 3)])
def test_a_blob_stays_in_its_place_in_the_world_and_widens_by_the_point_spread(affine, scale):
    """Moments in world coordinates: in each in-plane direction the variance grows by (scale voxels / 2.355) squared."""

    def profile(size, centre, sigma):
        return torch.exp(-((torch.arange(size, dtype=torch.float64) - centre) ** 2) / (2 * sigma**2))

    profiles = profile(64, 30.2, 4), profile(60, 29.7, 5), profile(17, 8.3, 1.5)
    image = MetaTensor(torch.einsum("i,j,k->ijk", *profiles).unsqueeze(0), affine=affine)

    def moments(blob):
        voxels = np.indices(blob.shape[1:]).reshape(3, -1)
        points = blob.affine.numpy()[:3, :3] @ voxels + blob.affine.numpy()[:3, 3:]
        weights = blob.as_tensor().numpy().ravel()
        return np.average(points, 1, weights), np.cov(points, aweights=weights, ddof=0)

    centre, covariance = moments(image)
    small_centre, small_covariance = moments(PSFDegradation(scale)(image))
    np.testing.assert_allclose(small_centre, centre, atol=1e-4)
    in_plane = affine.numpy()[:3, :2] * np.array(scale) / FWHM_PER_SIGMA
    np.testing.assert_allclose(small_covariance, covariance + in_plane @ in_plane.T, atol=2e-3)


@pytest.mark.parametrize("scale", [3, 5])
def test_pixels_at_voxel_centres_are_a_correlation_with_the_point_spread(scale):
    """The kernel by quadrature: a triangle under a Gaussian, with the variance of the FWHM together."""
    sigma = math.sqrt((scale / FWHM_PER_SIGMA) ** 2 - 1 / 6)

    def weight(k):
        def density(t):
            return (1 - abs(t - k)) * math.exp(-0.5 * (t / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

        return integrate.quad(density, k - 1, k)[0] + integrate.quad(density, k, k + 1)[0]

    kernel = [weight(k) for k in range(-12, 13)]
    image = np.random.default_rng(0).random((2, 6 * scale, 4 * scale))
    blurred = ndimage.correlate1d(image, kernel, axis=1, mode="nearest")
    blurred = ndimage.correlate1d(blurred, kernel, axis=2, mode="nearest")
    expected = torch.from_numpy(blurred[:, scale // 2 :: scale, scale // 2 :: scale])
    torch.testing.assert_close(psf_degradation(torch.from_numpy(image), scale), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_pattern_beyond_the_lr_resolution_fades_instead_of_aliasing(scale):
    """A wave of frequency f comes out with the amplitude exp(-2 (pi sigma f)^2), the Gaussian's transfer function."""
    x = torch.arange(40 * scale, dtype=torch.float64)
    frequency = 0.7 / scale
    wave = torch.cos(2 * math.pi * frequency * x).expand(1, 12 * scale, -1)
    row = psf_degradation(wave, scale)[0, 6, 8:-8]
    centres = (torch.arange(40, dtype=torch.float64)[8:-8] + 0.5) * scale - 0.5
    sigma = scale / FWHM_PER_SIGMA
    expected = math.exp(-2 * (math.pi * sigma * frequency) ** 2) * torch.cos(2 * math.pi * frequency * centres)
    torch.testing.assert_close(row, expected, rtol=0, atol=0.005)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_constant_image_stays_constant_to_the_border(scale):
    small = PSFDegradationd("image", scale)({"image": torch.full((1, 10, 10, 2), 0.7)})["image"]
    torch.testing.assert_close(small.as_tensor(), torch.full_like(small.as_tensor(), 0.7), rtol=0, atol=1e-6)
