import pytest
import torch
from make import small_trunk
from torch.nn import functional

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, MDSR, MetaSRGenerator, SpaceToDepth
from miassr_monai.networks.network import Trunk


class Same(Trunk):
    """Features that are the image."""

    def __init__(self, spatial_dims, channels):
        super().__init__(spatial_dims, channels, channels, halo=0)

    def forward(self, x):
        self.seen = x
        return x


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (7, 5)), (2, (1, 1)), (3, (4, 3, 5))])
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("begin", [0, 4])
def test_without_a_trunk_an_image_comes_back_whatever_its_size_and_place(spatial_dims, size, factor, begin):
    x = torch.rand(2, 3, *size)
    trunk = SpaceToDepth(Same(spatial_dims, 3 * factor**spatial_dims), factor=factor)
    assert torch.equal(trunk(x, [begin] * spatial_dims), x)


def test_the_trunk_sees_the_pixels_of_each_cell_as_channels_and_the_border_again_where_there_are_none():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    trunk = SpaceToDepth(Same(2, 4))
    trunk(x)
    padded = functional.pad(x, [0, 1, 0, 1], mode="replicate")
    assert torch.equal(trunk.trunk.seen, functional.pixel_unshuffle(padded, 2))
    trunk(x, [1, 2])
    padded = functional.pad(x, [0, 1, 1, 0], mode="replicate")
    assert torch.equal(trunk.trunk.seen, functional.pixel_unshuffle(padded, 2))


@torch.no_grad()
def test_the_first_convolution_is_one_of_stride_2_and_each_pixel_has_its_part_of_the_cells_features():
    torch.manual_seed(0)
    trunk, x = small_trunk("SpaceToDepth").double(), torch.rand(2, 1, 8, 6, dtype=torch.float64)
    head, body = trunk.trunk.head, trunk.trunk.body
    kernel = functional.pixel_shuffle(head.weight, 2)
    cells = functional.conv2d(x, kernel, head.bias, stride=2, padding=2)
    cells = cells + body(cells)
    features = trunk(x)
    for row in (0, 1):
        for column in (0, 1):
            expected = cells[:, 2 * row + column :: 4]
            torch.testing.assert_close(features[:, :, row::2, column::2], expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_tiles_from_any_pixel_on_are_those_of_the_whole(scale):
    torch.manual_seed(0)
    network = MetaSRGenerator(small_trunk("SpaceToDepth"), hidden_channels=8, projection="center").double().eval()
    inferer = SuperResolutionInferer(tile_size=9)
    x = torch.rand(1, 1, 41, 38, dtype=torch.float64)
    torch.testing.assert_close(inferer(x, network, scale=scale), network(x, scale), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpaceToDepth(EDSR(width=8, depth=1)), "cells of 4 pixels .* got in_channels=1 and 8 features"),
        (lambda: SpaceToDepth(EDSR(2, 4, width=6, depth=1)), "got in_channels=4 and 6 features"),
        (lambda: SpaceToDepth(EDSR(2, 4, width=8, depth=1), factor=0), "factor must be at least 1, got 0"),
        (lambda: SpaceToDepth(MDSR(2, 4, width=8, depth=1, scales=(2,))), r"give a trunk with scales=\(\)"),
    ],
)
def test_trunks_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
