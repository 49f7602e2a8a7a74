import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.transforms import PSFDegradation, PSFDegradationd

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
    torch.testing.assert_close(inner, torch.zeros(3, *inner.shape[1:]).to(inner), rtol=0, atol=2e-5)
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


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_constant_image_stays_constant_to_the_border(scale):
    small = PSFDegradationd("image", scale)({"image": torch.full((1, 10, 10, 2), 0.7)})["image"]
    torch.testing.assert_close(small.as_tensor(), torch.full_like(small.as_tensor(), 0.7), rtol=0, atol=1e-6)
