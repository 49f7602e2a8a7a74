import pytest
import torch
from make import small_generator

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.inferers.constant_border import content_parts

HALO = 6


@pytest.fixture(scope="module")
def network():
    """Generator that sees 6 pixels far, with everything that a trained one has."""
    torch.manual_seed(0)
    network = small_generator(2, width=6, depth=1, hidden_channels=12, anisotropic=True, skip="bicubic").eval()
    assert network.halo == HALO
    return network


@pytest.fixture
def seen(network):
    """Shapes of what the network sees."""
    shapes = []
    handle = network.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    yield shapes
    handle.remove()


def head(slices, size=(50, 60), box=(slice(20, 31), slice(24, 29)), air=(0.0, 0.25)):
    """Slices ``(N, 2, h, w)`` with content in a box within air, which has another value in each channel."""
    images = torch.tensor(air).view(1, 2, 1, 1).repeat(slices, 1, *size)
    generator = torch.Generator().manual_seed(1)
    images[(..., *box)] = torch.rand(images[(..., *box)].shape, generator=generator)
    return images


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 2.37, 4.0, (1.0, 2.0), (3.1, 1.25)])
@pytest.mark.parametrize("tile_size", [None, 9])
@pytest.mark.parametrize(
    "box",
    [(slice(20, 31), slice(24, 29)), (slice(1, 2), slice(1, 50)), (slice(40, 50), slice(50, 60))],
    ids=["middle", "one row", "corner"],
)
@torch.no_grad()
def test_what_is_left_out_makes_no_difference(network, seen, scale, tile_size, box):
    images = head(6, box=box)
    images[4] = images[0, :, :1, :1]
    whole = network(images, scale)
    seen.clear()
    fine = SuperResolutionInferer(1, tile_size=tile_size)(images, network, scale=scale)
    torch.testing.assert_close(fine, whole, rtol=0, atol=1e-5)
    pixels = sum(n * h * w for n, _, h, w in seen)
    if tile_size is None:
        # The air on its own, and of five slices the box and what depends on it and on what that depends.
        part = [min(n, b.stop + 2 * HALO) - max(0, b.start - 2 * HALO) for n, b in zip((50, 60), box, strict=True)]
        assert pixels == 50 * 60 + 5 * part[0] * part[1]


@torch.no_grad()
def test_volumes_have_air_of_their_own(network, seen):
    volumes = torch.stack([head(5), head(5, air=(0.5, 0.0), box=(slice(0, 4), slice(20, 25)))]).movedim(1, -1)
    volumes[0, 0, 0, 0, 0] = 0.3
    fine = SuperResolutionInferer(2)(volumes, network, scale=2.37)
    # The first sample of the first volume is nobody's air, and so that volume is upscaled whole.
    assert sum(n * h * w for n, _, h, w in seen[:3]) == 5 * 50 * 60
    assert sum(n * h * w for n, _, h, w in seen[3:]) < 4 * 50 * 60
    for volume, result in zip(volumes, fine, strict=True):
        expected = network(volume.movedim(-1, 0), 2.37).movedim(0, -1)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_slices_of_air_alone_are_made_once(network, seen):
    images = head(1).expand(7, -1, -1, -1)[..., :10]
    assert (images == images[0, :, :1, :1]).all()
    fine = SuperResolutionInferer(3)(images, network, scale=2.0)
    assert seen == [(1, 2, 50, 10)]
    torch.testing.assert_close(fine, network(images, 2.0), rtol=0, atol=1e-5)


@torch.no_grad()
def test_where_nothing_is_saved_the_network_sees_the_whole_once(network, seen):
    for images in (head(1), head(8, size=(24, 24), box=(slice(8, 16), slice(8, 16))), torch.rand(8, 2, 24, 24)):
        seen.clear()
        SuperResolutionInferer(4)(images, network, scale=2.0)
        assert sum(n * h * w for n, _, h, w in seen) == images[:, 0].numel()


def test_training_sees_everything(network, seen):
    SuperResolutionInferer(4)(head(4), network, scale=2.0)
    assert seen == [(4, 2, 50, 60)]


def test_the_parts_are_the_content_and_the_halo_around_it():
    images = head(4)
    images[2] = images[0, :, :1, :1]
    images[3, 1, 40, 2] = 1.0
    border, parts = content_parts(images.split(1), 7)
    assert border.shape == (1, 2, 50, 60) and border[0, 0].unique() == 0.0 and border[0, 1].unique() == 0.25
    middle = [slice(13, 38), slice(17, 36)]
    # The last has a spot in the corner too, and then there is nothing left to leave out.
    assert parts == [middle, middle, [slice(0, 0)] * 2, [slice(13, 48), slice(0, 36)]]
    assert content_parts(images[3:].split(1), 7) is None
