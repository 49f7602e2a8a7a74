import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.transforms import PaperDegradation, PaperDegradationd, paper_degradation


@pytest.mark.parametrize("slice_axis", [-1, 0, 1])
@pytest.mark.parametrize("scale", [4, (4, 2)])
def test_volumes_are_degraded_in_the_plane_of_their_slices(scale, slice_axis):
    volume = torch.rand(1, 8, 12, 16, dtype=torch.float64)
    degraded = PaperDegradationd("image", scale, slice_axis=slice_axis)({"image": volume})["image"].as_tensor()[0]
    expected = paper_degradation(volume[0].movedim(slice_axis, 0), scale).movedim(0, slice_axis)
    torch.testing.assert_close(degraded, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("scale", "tolerance"), [(3, 1e-4), (2, 0.049), (2.3, 0.049)])
@pytest.mark.parametrize("slice_axis", [-1, 0])
def test_a_ramp_has_the_values_that_the_affine_promises(world_ramp, affine, scale, tolerance, slice_axis):
    image = MetaTensor(world_ramp((24, 27, 30), affine).unsqueeze(0), affine=affine)
    small = PaperDegradation(scale, slice_axis=slice_axis)(image)
    difference = (small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine))[2:-2, 2:-2, 2:-2]
    steps = [world_ramp((2, 2, 2), affine).diff(dim=axis).abs().max() for axis in range(3) if axis != slice_axis % 3]
    assert difference.abs().max() < tolerance * sum(steps)
