import math

import pytest
import torch
import torch.nn.functional as F
from make import small_trunk

from miassr_monai.networks import EDSR, SubPixelGenerator


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(scales=(2, 3, 4), skip=None, **options):
    network = SubPixelGenerator(small_trunk(**options), scales=scales, skip=skip).double()
    for tail in network.tails:
        torch.nn.init.normal_(tail.layers[-1].weight)
    return network


def test_attributes_say_which_scales_it_can_do():
    network = small(scales=[2, 3], in_channels=3)
    assert (network.spatial_dims, network.in_channels, network.anisotropic, network.max_scale) == (2, 3, True, 3.0)


@torch.no_grad()
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_at_a_whole_scale_the_image_is_that_of_its_tail(scale):
    network, x = small(), torch.rand(2, 1, 5, 4, dtype=torch.float64)
    expected = network.tails[scale - 2](network.trunk(x))
    assert torch.equal(network(x, float(scale)), expected)
    assert expected.shape == (2, 1, 5 * scale, 4 * scale)


@torch.no_grad()
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_on_request_it_is_added_to_bicubic_interpolation_as_pytorch_does_it(scale):
    network, x = small(skip="bicubic"), torch.rand(2, 1, 5, 4, dtype=torch.float64)
    bicubic = F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    expected = bicubic + network.tails[scale - 2](network.trunk(x))
    torch.testing.assert_close(network(x, float(scale)), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_added_to_bicubic_interpolation_it_starts_as_that(scale):
    x = torch.rand(2, 1, 5, 4)
    bicubic = F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    torch.testing.assert_close(SubPixelGenerator(small_trunk(), skip="bicubic")(x, float(scale)), bicubic)


@torch.no_grad()
@pytest.mark.parametrize(
    ("scale", "whole"), [(1.0, 2), (1.5, 2), (2.5, 3), (3.5, 4), ((2.0, 3.5), 4), ((3.0, 1.5), 3)], ids=str
)
def test_other_scales_are_the_next_whole_one_brought_down_as_pytorch_does(scale, whole):
    network, x = small(), torch.rand(1, 1, 6, 8, dtype=torch.float64)
    factors = scale if isinstance(scale, tuple) else (scale, scale)
    # The sizes fit the scale, so the convention of PyTorch is that of the package.
    size = [int(n * s) for n, s in zip((6, 8), factors, strict=True)]
    fine = network.tails[whole - 2](network.trunk(x))
    expected = F.interpolate(fine, size=size, mode="bicubic", align_corners=False)
    torch.testing.assert_close(network(x, scale), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_next_whole_scale_is_among_those_that_there_are():
    network, x = small(scales=[2, 4]), torch.rand(1, 1, 4, 6, dtype=torch.float64)
    fine = network.tails[1](network.trunk(x))
    expected = F.interpolate(fine, size=(10, 15), mode="bicubic", align_corners=False)
    torch.testing.assert_close(network(x, 2.5), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("skip", [None, "bicubic"])
@pytest.mark.parametrize("scale", [1.0, 1.01, 1.5, 2.0, 2.3, 3.0, 3.7, 4.0, (1.0, 3.3), (4.0, 1.2)], ids=str)
def test_a_part_is_that_of_the_whole_the_halo_off_the_cut(scale, skip):
    network = small(skip=skip)
    halo, (begin, end) = network.halo, (7, 33)
    x = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    whole, part = network(x, scale), network(x[..., begin:end, begin:end], scale, origin=(begin, begin))
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    # First HR pixels that begin in the LR pixels from which on, and up to which, the part knows enough.
    kept = [[math.ceil(n * s - 1e-9) for n in (begin, begin + halo, end - halo)] for s in (rows, columns)]
    (top, first_row, end_row), (left, first_column, end_column) = kept
    torch.testing.assert_close(
        part[..., first_row - top : end_row - top, first_column - left : end_column - left],
        whole[..., first_row:end_row, first_column:end_column],
        rtol=0,
        atol=1e-12,
    )


def test_the_halo_is_not_larger_than_it_has_to_be():
    network, x = small(), torch.rand(1, 1, 31, 31, dtype=torch.float64, requires_grad=True)
    # The last HR pixel that begins in LR pixel 15.
    network(x, 1.01)[0, 0, 15, 15].backward()
    reach = (x.grad[0, 0].abs() > 0).nonzero().sub(15).abs().max()
    assert network.halo - 1 <= reach <= network.halo


@torch.no_grad()
@pytest.mark.parametrize(("scales", "skip"), [((2, 3, 4), None), ((3,), "bicubic")], ids=str)
def test_scripted_generator_gives_the_same_values(scales, skip):
    network = small(scales, skip, name="SRResNet")
    scripted = torch.jit.script(network)
    x = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(scripted(x), network(x, 2.0), rtol=0, atol=1e-12)
    for scale in (1.0, 1.7, 2.5, 3.0, (2.0, 3.0)):
        torch.testing.assert_close(scripted(x, scale), network(x, scale), rtol=0, atol=1e-12)


def test_gradients_pass_the_interpolation():
    network, x = small(width=2, depth=1), torch.rand(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda images: network(images, (1.5, 2.5)), (x,))


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 2.3, 4.0])
def test_a_single_pixel_is_super_resolved(scale):
    assert small()(torch.rand(1, 1, 1, 1, dtype=torch.float64), scale).shape == (1, 1, int(scale), int(scale))


@pytest.mark.parametrize("scale", [4.01, (2.0, 5.0), math.nan, math.inf])
def test_scales_beyond_the_last_tail_are_refused(scale):
    with pytest.raises(ValueError, match=r"makes scales up to 4\.0, got"):
        small()(torch.zeros(1, 1, 4, 4, dtype=torch.float64), scale)


def test_scales_below_one_are_refused():
    with pytest.raises(ValueError, match="scale must be a finite number"):
        small()(torch.zeros(1, 1, 4, 4, dtype=torch.float64), 0.5)


@pytest.mark.parametrize("scales", [(), (1, 2), (3, 2), (2, 2), (2.5,), [2, 3.5]], ids=str)
def test_scales_that_are_not_whole_or_not_in_order_are_refused(scales):
    with pytest.raises(ValueError, match="scales must be whole numbers of at least 2 in ascending order"):
        small(scales)


def test_a_trunk_for_volumes_is_refused():
    with pytest.raises(ValueError, match="works on slices: give a trunk with spatial_dims=2"):
        SubPixelGenerator(EDSR(3, width=4, depth=1))


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4), (1, 1, 4, 4, 4)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 1, h, w\)"):
        small()(torch.zeros(shape, dtype=torch.float64), 2.0)
