import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import small_generator

from miassr_monai.inferers import SuperResolutionInferer, cut_tiles
from miassr_monai.networks import Bicubic, Linear

SCALES = st.one_of(st.floats(1.0, 4.0), st.sampled_from([1.0, 1.1, 1.5, 2.0, 2.3, 2.5, math.pi, 3.7, 4.0]))


@settings(deadline=None)
@given(
    size=st.integers(1, 300),
    scale=SCALES,
    tile_size=st.none() | st.integers(1, 80),
    halo=st.integers(2, 20),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_tiles_of_a_part_make_every_output_that_begins_in_it_once(size, scale, tile_size, halo, ends):
    exact = Fraction(scale).limit_denominator(10_000)
    begin, end = sorted(round(size * share) for share in ends)
    done = math.ceil(begin * exact)
    for (seen,), (made,), (place,) in cut_tiles(
        [size], [scale], tile_size=tile_size, halo=halo, part=[slice(begin, end)]
    ):
        assert made.start == done and 0 <= seen.start < seen.stop <= size
        assert seen.stop - seen.start <= (tile_size or size) + 2 * halo
        # The first HR pixel that lies wholly within the tile's LR pixels stands first in the network's output.
        assert made.start - place.start == math.ceil(seen.start * exact)
        assert place.stop - place.start == made.stop - made.start
        assert made.stop <= math.floor(seen.stop * exact)
        done = made.stop
    assert done == (math.floor(size * exact) if begin < end == size else math.ceil(end * exact))


@pytest.mark.parametrize("size", [(7,), (7, 5), (4, 5, 6)])
def test_the_tiles_of_an_image_make_every_output_once_and_know_where_they_begin(size):
    scales = [1.5, 2.37, 1.0][: len(size)]
    count = torch.zeros([math.floor(n * s) for n, s in zip(size, scales, strict=True)])
    for tile in cut_tiles(size, scales, tile_size=2, halo=1):
        count[tile.made] += 1
        assert tile.origin == tuple(axis.start for axis in tile.seen)
    assert (count == 1).all()


@pytest.mark.parametrize("network", [Bicubic(), Linear()], ids=["bicubic", "linear"])
@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 40), w=st.integers(1, 40), rows=SCALES, columns=SCALES, tile_size=st.integers(1, 20))
def test_interpolation_in_tiles_is_that_of_the_whole(network, h, w, rows, columns, tile_size):
    image = torch.rand(1, 2, h, w, dtype=torch.float64)
    tiled = SuperResolutionInferer(tile_size=tile_size)(image, network, scale=(rows, columns))
    torch.testing.assert_close(tiled, network(image, (rows, columns)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("projection", ["center", "corner"])
@pytest.mark.parametrize("scale", [1.1, 1.5, 2.0, 2.37, 2.5, math.pi, 4.0])
def test_a_generator_in_tiles_gives_the_image_of_the_whole(projection, scale):
    torch.manual_seed(0)
    network = small_generator(width=8, depth=2, hidden_channels=16, projection=projection, skip="bicubic").eval()
    image = torch.rand(1, 1, 61, 45)
    with torch.no_grad():
        whole = network(image, scale)
        tiled = SuperResolutionInferer(tile_size=17)(image, network, scale=scale)
    assert network.halo == 8
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_a_generator_of_full_depth_sees_no_further_than_its_halo():
    torch.manual_seed(0)
    network = small_generator(depth=16, anisotropic=True).eval()
    image = torch.rand(1, 1, 100, 20)
    with torch.no_grad():
        whole = network(image, (2.3, 1.7))
        tiled = SuperResolutionInferer(tile_size=24)(image, network, scale=(2.3, 1.7))
    assert network.halo == 36 and network.trunk.halo == 34
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_tiles_of_a_network_without_a_halo_are_refused():
    with pytest.raises(ValueError, match="tile_size to None"):
        SuperResolutionInferer(tile_size=2)(torch.zeros(1, 1, 3, 3), lambda x, scale: x, scale=1.0)
