import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import Bicubic
from miassr_monai.resampling import bicubic_upscale


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 4.0])
def test_network_is_bicubic_interpolation(scale):
    image = torch.rand(2, 3, 6, 4, dtype=torch.float64)
    expected = F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
    torch.testing.assert_close(Bicubic()(image, scale), expected, rtol=0, atol=1e-12)


def test_network_is_the_package_s_resampling_where_the_scale_does_not_fit():
    image = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(Bicubic()(image, 2.3), bicubic_upscale(image, 2.3), rtol=0, atol=0)


def test_network_has_nothing_to_load():
    assert not Bicubic().state_dict()


def test_scripted_network_gives_the_same_values():
    image = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(torch.jit.script(Bicubic())(image, 3.7), Bicubic()(image, 3.7), rtol=0, atol=0)
