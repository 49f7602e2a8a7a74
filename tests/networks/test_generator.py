import math
from copy import deepcopy
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import MetaSRGenerator
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
    assert sum(p.numel() for p in MetaSRGenerator().parameters()) == 1_368_320


@pytest.mark.parametrize("projection", OFFSETS)
@pytest.mark.parametrize("scale", [1.0, 2.0, 2.3, 2.5, math.pi, 4.0])
@pytest.mark.parametrize(("channels", "h", "w"), [(1, 5, 6), (3, 4, 3)])
def test_image_is_the_direct_evaluation_after_the_trunk(projection, scale, channels, h, w):
    generator = MetaSRGenerator(channels, projection=projection, **SMALL).double()
    x = torch.rand(2, channels, h, w, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(generator(x, scale), evaluate(generator, x, scale), rtol=0, atol=1e-12)


def test_default_generator_is_exact_to_single_precision():
    generator, x = MetaSRGenerator(), torch.rand(1, 1, 5, 4)
    with torch.no_grad():
        torch.testing.assert_close(generator(x, 2.3).double(), evaluate(generator, x, 2.3), rtol=0, atol=1e-5)
        torch.testing.assert_close(generator(x), generator(x, 2.0), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 2.3, 4.0])
def test_skip_adds_the_output_over_the_hidden_channels_to_bicubic_interpolation(scale):
    plain, skipping = MetaSRGenerator(2, **SMALL), MetaSRGenerator(2, skip="bicubic", **SMALL)
    plain.trunk.load_state_dict(skipping.trunk.state_dict())
    plain.meta_upscale.load_state_dict(skipping.meta_upscale.state_dict())
    x = torch.rand(2, 2, 5, 7)
    with torch.no_grad():
        expected = bicubic_upscale(x, scale) + plain(x, scale) / SMALL["hidden_channels"]
        torch.testing.assert_close(skipping(x, scale), expected, rtol=0, atol=1e-6)


@SKIPS
def test_weights_load_under_their_own_skip_only(skip):
    generator, same = MetaSRGenerator(skip=skip, **SMALL), MetaSRGenerator(skip=skip, **SMALL)
    same.load_state_dict(generator.state_dict())
    x = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(same(x, 2.3), generator(x, 2.3), rtol=0, atol=0)
    other = MetaSRGenerator(skip=None if skip else "bicubic", **SMALL)
    with pytest.raises(ValueError, match=f"trained with skip={skip!r}"):
        other.load_state_dict(generator.state_dict())


def test_weights_of_another_projection_are_refused():
    with pytest.raises(ValueError, match="trained with projection='corner'"):
        MetaSRGenerator(**SMALL).load_state_dict(MetaSRGenerator(projection="corner", **SMALL).state_dict())


@SKIPS
@pytest.mark.parametrize("scale", [1.0, 2.3, math.pi, 8.0])
def test_a_single_pixel_is_super_resolved(skip, scale):
    generator, x = MetaSRGenerator(skip=skip, **SMALL), torch.rand(1, 1, 1, 1)
    with torch.no_grad():
        expected = evaluate(generator, x, scale)
        if skip:
            expected = x.double() + expected / SMALL["hidden_channels"]
        torch.testing.assert_close(generator(x, scale).double(), expected, rtol=0, atol=1e-6)
    assert expected.shape[2:] == (math.floor(scale), math.floor(scale))


@SKIPS
@pytest.mark.parametrize("projection", OFFSETS)
def test_scripted_generator_gives_the_same_values(skip, projection):
    generator = MetaSRGenerator(projection=projection, skip=skip, **SMALL)
    scripted = torch.jit.script(generator)
    x = torch.rand(1, 1, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), generator(x, 2.0), rtol=0, atol=1e-6)
        for scale in (1.0, 1.5, 2.3, math.pi, 4.0):
            torch.testing.assert_close(scripted(x, scale), generator(x, scale), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4), (4, 4), (1, 1, 4, 4, 4)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 1, h, w\)"):
        MetaSRGenerator(**SMALL)(torch.zeros(shape), 2.0)


@pytest.mark.parametrize("scale", [0.5, math.nan, math.inf])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        MetaSRGenerator(**SMALL)(torch.zeros(1, 1, 4, 4), scale)


@pytest.mark.parametrize("options", [{"skip": "nearest"}, {"projection": "centre"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        MetaSRGenerator(**SMALL, **options)
