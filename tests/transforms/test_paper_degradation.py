import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from scipy import ndimage

from miassr_monai.transforms import PaperDegradation, PaperDegradationd, paper_degradation

GAUSSIAN = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * 0.8**2))
KERNEL = np.outer(GAUSSIAN, GAUSSIAN) / GAUSSIAN.sum() ** 2


def paper(images, scale):
    """The paper's degradation of images ``(n, H, W)`` by PyTorch and scipy."""
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    small = F.interpolate(images.unsqueeze(1), scale_factor=(1 / rows, 1 / columns), mode="bicubic").squeeze(1)
    return torch.stack([torch.from_numpy(ndimage.correlate(i, KERNEL, mode="nearest")) for i in small.numpy()])


def random_image(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 1.5, 2.5, (3, 2), (1, 2.5)])
@pytest.mark.parametrize("size", [(24, 36), (25, 31)])
def test_it_is_bicubic_sampling_then_a_3x3_gaussian_with_the_border_repeated(scale, size):
    image = random_image(3, *size)
    torch.testing.assert_close(paper_degradation(image, scale), paper(image, scale), rtol=0, atol=1e-7)


def test_leading_axes_are_degraded_alike():
    image = random_image(2, 3, 4, 12, 9)
    expected = paper(image.reshape(24, 12, 9), 3).reshape(2, 3, 4, 4, 3)
    torch.testing.assert_close(paper_degradation(image, 3), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("slice_axis", [-1, 0, 1])
@pytest.mark.parametrize("scale", [4, (4, 2)])
def test_volumes_are_degraded_in_the_plane_of_their_slices(scale, slice_axis):
    volume = random_image(1, 8, 12, 16)
    degraded = PaperDegradationd("image", scale, slice_axis=slice_axis)({"image": volume})["image"].as_tensor()[0]
    expected = paper(volume[0].movedim(slice_axis, 0), scale).movedim(0, slice_axis)
    torch.testing.assert_close(degraded, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("scale", "tolerance"), [(3, 1e-4), (2, 0.049), (2.3, 0.049)])
@pytest.mark.parametrize("slice_axis", [-1, 0])
def test_a_ramp_has_the_values_that_the_affine_promises(world_ramp, affine, scale, tolerance, slice_axis):
    image = MetaTensor(world_ramp((24, 27, 30), affine).unsqueeze(0), affine=affine)
    small = PaperDegradation(scale, slice_axis=slice_axis)(image)
    difference = (small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine))[2:-2, 2:-2, 2:-2]
    steps = [world_ramp((2, 2, 2), affine).diff(dim=axis).abs().max() for axis in range(3) if axis != slice_axis % 3]
    assert difference.abs().max() < tolerance * sum(steps)
