import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from miassr_monai.transforms import Downsample, Downsampled

SLICE_AXES = pytest.mark.parametrize("slice_axis", [-1, -3, 0, 1, 2])


@pytest.mark.parametrize("scale", [(2, 2), (4, 4), (2, 3), (1, 4)])
def test_it_is_pytorchs_bicubic_without_antialiasing(scale):
    image = torch.rand(2, 4 * scale[0], 5 * scale[1], dtype=torch.float64)
    expected = F.interpolate(image.unsqueeze(0), (4, 5), mode="bicubic")[0]
    torch.testing.assert_close(Downsample(scale)(image).as_tensor(), expected, rtol=0, atol=1e-12)
    dictionary = Downsampled(["image", "other"], scale, allow_missing_keys=True)({"image": image})
    torch.testing.assert_close(dictionary["image"].as_tensor(), expected, rtol=0, atol=1e-12)


@SLICE_AXES
@pytest.mark.parametrize("scale", [3, (3, 5), [1, 3], (3, 5, 7)])
def test_sampling_at_voxel_centres_gives_the_values_that_the_affine_promises(world_ramp, affine, scale, slice_axis):
    image = MetaTensor(world_ramp((15, 20, 21), affine).unsqueeze(0), affine=affine)
    small = Downsampled("image", scale, slice_axis=slice_axis)({"image": image})["image"]
    expected = world_ramp(small.shape[1:], small.affine)
    torch.testing.assert_close(small.as_tensor()[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("slice_axis", [-1, 0])
@pytest.mark.parametrize("scale", [1.5, 2, 2.3, 4, (1.5, 2.3)])
def test_between_voxel_centres_the_values_are_within_a_twentieth_of_a_voxel(world_ramp, affine, scale, slice_axis):
    image = MetaTensor(world_ramp((24, 25, 26), affine).unsqueeze(0), affine=affine)
    small = Downsample(scale, slice_axis=slice_axis)(image)
    difference = (small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine))[1:-1, 1:-1, 1:-1]
    steps = [world_ramp((2, 2, 2), affine).diff(dim=axis).abs().max() for axis in range(3) if axis != slice_axis % 3]
    assert difference.abs().max() < 0.049 * sum(steps)
