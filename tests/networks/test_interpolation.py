import pytest
import torch
import torch.nn.functional as F

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import Bicubic, Linear
from miassr_monai.resampling import bicubic_upscale, linear_upscale

BOTH = pytest.mark.parametrize(
    ("network", "resample", "mode"), [(Bicubic, bicubic_upscale, "bicubic"), (Linear, linear_upscale, "bilinear")]
)


@BOTH
@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 4.0])
def test_networks_are_pytorchs_interpolation(network, resample, mode, scale):
    image = torch.rand(2, 3, 6, 4, dtype=torch.float64)
    expected = F.interpolate(image, scale_factor=scale, mode=mode, align_corners=False)
    torch.testing.assert_close(network()(image, scale), expected, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("scale", [2.3, (1.5, 3.7)])
def test_networks_are_the_packages_resampling_where_the_scale_does_not_fit(network, resample, mode, scale):
    image = torch.rand(1, 1, 5, 7)
    torch.testing.assert_close(network()(image, scale), resample(image, scale), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 4.0])
def test_volumes_are_pytorchs_trilinear_interpolation(scale):
    volume = torch.rand(2, 3, 6, 4, 2, dtype=torch.float64)
    expected = F.interpolate(volume, scale_factor=scale, mode="trilinear", align_corners=False)
    torch.testing.assert_close(Linear(3)(volume, scale), expected, rtol=0, atol=1e-12)


def test_volumes_have_a_scale_for_each_axis():
    first, second, third = (torch.rand(n, dtype=torch.float64) for n in (6, 4, 5))
    volume = torch.einsum("i,j,k->ijk", first, second, third)[None, None]
    # Of a product of functions of one axis each, interpolation is the product of theirs.
    along = [bicubic_upscale(v[None], (1.0, s))[0] for v, s in ((first, 1.0), (second, 2.37), (third, 4.0))]
    expected = torch.einsum("i,j,k->ijk", *along)[None, None]
    torch.testing.assert_close(Bicubic(3)(volume, (1.0, 2.37, 4.0)), expected, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("scale", [2.37, (1.0, 2.0, 3.5)])
def test_tiles_of_volumes_give_the_whole(network, resample, mode, scale):
    volume = torch.rand(1, 1, 9, 14, 11, dtype=torch.float64)
    tiled = SuperResolutionInferer(tile_size=8)(volume, network(3), scale=scale)
    torch.testing.assert_close(tiled, network(3)(volume, scale), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.1, 2.3, 4.0])
def test_linear_interpolation_stays_within_the_range_of_the_image(scale):
    image = torch.rand(1, 1, 9, 7, dtype=torch.float64).round()
    fine = Linear()(image, scale)
    assert fine.min() >= 0.0 and fine.max() <= 1.0


@BOTH
def test_networks_have_nothing_to_load(network, resample, mode):
    assert not network().state_dict()
