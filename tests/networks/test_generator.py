import math
from copy import deepcopy
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from make import small_generator

from miassr_monai.networks import EDSR, MetaSRGenerator
from miassr_monai.resampling import bicubic_upscale

SMALL = {"width": 4, "depth": 2, "hidden_channels": 8}
SKIPS = pytest.mark.parametrize("skip", [None, "bicubic"])
OFFSETS = {"center": Fraction(1, 2), "corner": Fraction(0)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def coordinates(size, s, offset):
    """Whole and fractional parts of the output pixels' projections onto ``size`` LR pixels."""
    u = [(i + offset) / s for i in range(math.floor(size * s))]
    return [math.floor(v) for v in u], torch.tensor([float(v - math.floor(v)) for v in u], dtype=torch.float64)


@torch.no_grad()
def evaluate(generator, x, scale):
    """The trunk, then the product of each pixel's neighbourhood with the kernel predicted for it, in float64."""
    generator, s = deepcopy(generator).double(), Fraction(scale).limit_denominator(10_000)
    m = generator.meta_upscale
    features = generator.trunk(x.double())
    (rows, r), (columns, c) = (coordinates(size, s, OFFSETS[m.projection]) for size in features.shape[2:])
    r, c = torch.meshgrid(r, c, indexing="ij")
    query = torch.stack([torch.full_like(r, float(1 / s)), r, c], -1)
    kernels = m.kernel(m.hidden(query).relu()).unflatten(-1, (m.out_channels, m.in_channels, 9))
    patches = F.unfold(features, 3, padding=1).view(len(x), m.in_channels, 9, *features.shape[2:])
    patches = patches[:, :, :, rows][..., columns]
    return torch.einsum("nckij,ijock->noij", patches, kernels)


def test_published_generator_has_1_368_320_parameters():
    assert sum(p.numel() for p in MetaSRGenerator(EDSR()).parameters()) == 1_368_320


@pytest.mark.parametrize("projection", OFFSETS)
@pytest.mark.parametrize("scale", [1.0, 2.0, 2.3, 2.5, math.pi, 4.0])
@pytest.mark.parametrize(("channels", "h", "w"), [(1, 5, 6), (3, 4, 3)])
def test_image_is_the_direct_evaluation_after_the_trunk(projection, scale, channels, h, w):
    generator = small_generator(channels, projection=projection, **SMALL).double()
    x = torch.rand(2, channels, h, w, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(generator(x, scale), evaluate(generator, x, scale), rtol=0, atol=1e-12)


def test_default_generator_is_exact_to_single_precision():
    generator, x = MetaSRGenerator(EDSR()), torch.rand(1, 1, 5, 4)
    with torch.no_grad():
        torch.testing.assert_close(generator(x, 2.3).double(), evaluate(generator, x, 2.3), rtol=0, atol=1e-5)
        torch.testing.assert_close(generator(x), generator(x, 2.0), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 2.3, 4.0])
def test_skip_adds_the_output_over_the_hidden_channels_to_bicubic_interpolation(scale):
    plain, skipping = small_generator(2, **SMALL), small_generator(2, skip="bicubic", **SMALL)
    plain.trunk.load_state_dict(skipping.trunk.state_dict())
    plain.meta_upscale.load_state_dict(skipping.meta_upscale.state_dict())
    x = torch.rand(2, 2, 5, 7)
    with torch.no_grad():
        expected = bicubic_upscale(x, scale) + plain(x, scale) / SMALL["hidden_channels"]
        torch.testing.assert_close(skipping(x, scale), expected, rtol=0, atol=1e-6)


@SKIPS
def test_weights_load_under_their_own_skip_only(skip):
    generator, same = small_generator(skip=skip, **SMALL), small_generator(skip=skip, **SMALL)
    same.load_state_dict(generator.state_dict())
    x = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(same(x, 2.3), generator(x, 2.3), rtol=0, atol=0)
    other = small_generator(skip=None if skip else "bicubic", **SMALL)
    with pytest.raises(
        ValueError, match=f"trained with skip={skip!r}, but the network was built with skip={other.skip!r}"
    ):
        other.load_state_dict(generator.state_dict())


@pytest.mark.parametrize(
    ("options", "shown"), [({"projection": "corner"}, "projection='corner'"), ({"width": 6}, "trunk.width=6")]
)
def test_weights_of_another_form_are_refused(options, shown):
    with pytest.raises(ValueError, match=f"trained with {shown}, but the network was built with"):
        small_generator().load_state_dict(small_generator(**options).state_dict())


def test_a_trunk_for_volumes_is_refused():
    with pytest.raises(ValueError, match="works on slices: give a trunk with spatial_dims=2"):
        MetaSRGenerator(EDSR(3, width=4, depth=1))


@SKIPS
@pytest.mark.parametrize("scale", [1.0, 2.3, math.pi, 8.0])
def test_a_single_pixel_is_super_resolved(skip, scale):
    generator, x = small_generator(skip=skip, **SMALL), torch.rand(1, 1, 1, 1)
    with torch.no_grad():
        expected = evaluate(generator, x, scale)
        if skip:
            expected = x.double() + expected / SMALL["hidden_channels"]
        torch.testing.assert_close(generator(x, scale).double(), expected, rtol=0, atol=1e-6)
    assert expected.shape[2:] == (math.floor(scale), math.floor(scale))


@SKIPS
@pytest.mark.parametrize("projection", OFFSETS)
def test_scripted_generator_gives_the_same_values(skip, projection):
    generator = small_generator(projection=projection, skip=skip, **SMALL)
    scripted = torch.jit.script(generator)
    x = torch.rand(1, 1, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), generator(x, 2.0), rtol=0, atol=1e-6)
        for scale in (1.0, 1.5, 2.3, math.pi, 4.0):
            torch.testing.assert_close(scripted(x, scale), generator(x, scale), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4), (4, 4), (1, 1, 4, 4, 4)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 1, h, w\)"):
        small_generator(**SMALL)(torch.zeros(shape), 2.0)


@pytest.mark.parametrize("scale", [0.5, math.nan, math.inf])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        small_generator(**SMALL)(torch.zeros(1, 1, 4, 4), scale)


@pytest.mark.parametrize("options", [{"skip": "nearest"}, {"projection": "centre"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        small_generator(**SMALL, **options)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a")
def test_compiled_generator_gives_the_same_values_and_gradients():
    torch.manual_seed(0)
    scale = 2.3
    plain = small_generator(width=4, depth=1, hidden_channels=8, skip="bicubic")
    images = torch.rand(2, 1, 7, 6)
    expected = plain(images, scale)
    expected.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in plain.parameters()]
    plain.zero_grad()
    # Tracing is what could go wrong; the code that a backend makes of it is PyTorch's.
    compiled = torch.compile(plain, backend="aot_eager")
    image = compiled(images, scale)
    image.square().sum().backward()
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)
    for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("scale", [2.0, 2.3])
def test_distributed_training_finds_a_gradient_for_every_parameter(tmp_path, scale):
    torch.manual_seed(0)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        network = small_generator(width=4, depth=1, hidden_channels=8)
        parallel = torch.nn.parallel.DistributedDataParallel(network)
        # A second pass raises where the first left a parameter without a gradient.
        for _ in range(2):
            parallel(torch.rand(2, 1, 7, 6), scale).square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("scale", [2.0, 2.3])
def test_autocast_is_close_to_single_precision(scale):
    torch.manual_seed(0)
    network, images = small_generator(width=8, depth=2, hidden_channels=16, skip="bicubic"), torch.rand(2, 1, 9, 8)
    with torch.no_grad():
        expected = network(images, scale)
        with torch.autocast("cpu", torch.bfloat16):
            image = network(images, scale)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, expected, rtol=0, atol=5e-3)
