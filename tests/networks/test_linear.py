import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import Linear
from miassr_monai.resampling import linear_upscale


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 4.0])
def test_network_is_bilinear_interpolation(scale):
    image = torch.rand(2, 3, 6, 4, dtype=torch.float64)
    expected = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Linear()(image, scale), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2.3, (1.5, 3.7)])
def test_network_is_the_package_s_resampling_where_the_scale_does_not_fit(scale):
    image = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(Linear()(image, scale), linear_upscale(image, scale), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.1, 2.3, 4.0])
def test_network_stays_within_the_range_of_the_image(scale):
    image = torch.rand(1, 1, 9, 7, dtype=torch.float64).round()
    fine = Linear()(image, scale)
    assert fine.min() >= 0.0 and fine.max() <= 1.0


def test_network_has_nothing_to_load():
    assert not Linear().state_dict()


def test_scripted_network_gives_the_same_values():
    image = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(torch.jit.script(Linear())(image, 3.7), Linear()(image, 3.7), rtol=0, atol=0)
