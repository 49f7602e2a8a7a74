import math
from copy import deepcopy
from fractions import Fraction
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import ImplicitUpscale
from miassr_monai.networks.upscalers import implicit

COORDINATES = pytest.mark.parametrize("coordinates", ["relative", "global"])
SCALES = [1, 1.5, 2, 2.37, math.pi, (1.0, 1.0, 3.3), (2.5, 1.2, 2.0)]
SIZE = (2, 3, 2)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(in_channels=3, out_channels=2, **options):
    """A module whose biases are as large as its weights, so that units are on here and off there."""
    module = ImplicitUpscale(in_channels, out_channels, **{"depth": 6, "width": 7, "anisotropic": True, **options})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.double()


def random_features(module, size=SIZE, n=2):
    return torch.randn(n, module.in_channels, *size, dtype=torch.float64)


def exact(scale):
    return [Fraction(s).limit_denominator(10_000) for s in (scale if isinstance(scale, tuple) else (scale,) * 3)]


def interpolated(volume, point, border):
    """Trilinear interpolation of ``(C, *size)`` at one point in LR voxels, by its definition."""
    total = torch.zeros_like(volume[:, 0, 0, 0])
    for corner in product(*[(math.floor(u), math.floor(u) + 1) for u in point]):
        share = math.prod(float(1 - abs(u - k)) for u, k in zip(point, corner, strict=True))
        inside = [min(max(k, 0), n - 1) for k, n in zip(corner, volume.shape[1:], strict=True)]
        if border == "repeated" or list(corner) == inside:
            total = total + share * volume[(slice(None), *inside)]
    return total


def network(module, v):
    """Both stages on ``v``, with no thought of speed."""
    h = v
    for layer in module.first:
        h = (h @ layer.weight.t() + layer.bias).clamp(min=0)
    h = v + h
    for layer in module.second[:-1]:
        h = (h @ layer.weight.t() + layer.bias).clamp(min=0)
    last = module.second[-1]
    result = h @ last.weight.t() + last.bias
    return result.clamp(min=0) if module.positive else result


def evaluate(module, features, scale):
    """One voxel after the other."""
    scales, size = exact(scale), features.shape[2:]
    shape = [math.floor(n * s) for n, s in zip(size, scales, strict=True)]
    image = torch.zeros(len(features), module.out_channels, *shape, dtype=features.dtype)
    for place in product(*map(range, shape)):
        faces = [(i + Fraction(1, 2)) / s for i, s in zip(place, scales, strict=True)]
        point = [face - Fraction(1, 2) for face in faces]
        if module.sees_whole:
            coordinates = [2 * face / n - 1 for face, n in zip(faces, size, strict=True)]
        else:
            coordinates = [2 * (face - math.floor(face)) - 1 for face in faces]
            coordinates += [1 / s for s in (scales if module.anisotropic else scales[:1])]
        coordinates = torch.tensor([float(c) for c in coordinates], dtype=features.dtype)
        border = "zero" if module.sees_whole else "repeated"
        for index, volume in enumerate(features):
            v = torch.cat([interpolated(volume, point, border), coordinates])
            image[(index, slice(None), *place)] = network(module, v)
    return image


def test_published_decoder_has_364_676_parameters():
    assert sum(p.numel() for p in ImplicitUpscale(128, coordinates="global").parameters()) == 364_676


@torch.no_grad()
@COORDINATES
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_every_voxel_is_the_direct_evaluation(coordinates, scale):
    module = small(coordinates=coordinates, positive=coordinates == "global")
    features = random_features(module)
    torch.testing.assert_close(module(features, scale), evaluate(module, features, scale), rtol=1e-12, atol=1e-10)


@torch.no_grad()
@COORDINATES
def test_a_network_for_equal_scales_sees_one_size(coordinates):
    module = small(coordinates=coordinates, anisotropic=False)
    assert module.first[0].in_features == 3 + 3 + (coordinates == "relative")
    features = random_features(module)
    torch.testing.assert_close(module(features, 2.5), evaluate(module, features, 2.5), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(module(features, (2.5,) * 3), module(features, 2.5), rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("scale", [2.0, 2.5])
def test_global_coordinates_are_those_of_grid_sample(scale):
    """As the original evaluates it, which is right where the sizes fit the scale."""
    module = small(coordinates="global")
    features = random_features(module, size=(4, 2, 6))
    axes = [(2 * torch.arange(int(n * scale), dtype=torch.float64) + 1) / int(n * scale) - 1 for n in (4, 2, 6)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).expand(2, -1, -1, -1, -1)
    sampled = F.grid_sample(features, grid.flip(-1), align_corners=False).movedim(1, -1)
    expected = network(module, torch.cat([sampled, grid], -1)).movedim(-1, 1)
    torch.testing.assert_close(module(features, scale), expected, rtol=1e-12, atol=1e-10)


@COORDINATES
@pytest.mark.parametrize("scale", [2.37, (3.0, 1.0, 1.7)], ids=str)
def test_boxes_are_the_whole(monkeypatch, coordinates, scale):
    module = small(coordinates=coordinates)
    features = random_features(module, size=(5, 3, 7))
    whole = module(features, scale).detach()
    for slab, voxels in ((1, 1), (2, 5), (3, 50), (100, 10_000)):
        monkeypatch.setattr(implicit, "SLAB", slab)
        monkeypatch.setattr(implicit, "VALUES_ON_CPU", voxels * slab * module.first[0].out_features)
        with torch.no_grad():
            torch.testing.assert_close(module(features, scale), whole, rtol=1e-12, atol=1e-10)


@COORDINATES
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("scale", [2.37, (3.0, 1.0, 1.7)], ids=str)
def test_what_is_wanted_is_that_part_of_the_whole(coordinates, grad, scale):
    module = small(coordinates=coordinates)
    features = random_features(module, size=(5, 6, 7))
    with torch.set_grad_enabled(grad):
        whole = module(features, scale)
        for wanted in ([slice(0, 3), slice(1, 5), slice(4, 11)], [slice(2, n) for n in whole.shape[2:]]):
            part = module(features, scale, wanted=wanted)
            torch.testing.assert_close(part, whole[(..., *wanted)], rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("scale", [2.37, (3.0, 1.0, 1.7)], ids=str)
def test_samples_are_voxels_of_the_whole(scale, grad):
    module = small()
    features = random_features(module)
    with torch.set_grad_enabled(grad):
        whole = module(features, scale).flatten(2)
        samples = torch.randint(whole.size(2), (2, 9))
        wanted = module(features, scale, samples=samples)
    expected = torch.stack([whole[n][:, samples[n]] for n in range(2)])
    torch.testing.assert_close(wanted, expected, rtol=1e-12, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 1.3, 2.37, 3.0, (3.0, 1.0, 1.7)], ids=str)
def test_a_part_is_that_of_the_whole_one_voxel_off_the_cut(scale):
    module = small()
    features = random_features(module, size=(7, 5, 6))
    whole = module(features, scale)
    origin, scales = (2, 1, 3), exact(scale)
    part = module(features[..., 2:6, 1:5, 3:6], scale, origin)
    # The HR voxels that are within the part, and those of them that are a voxel off the cuts; at the end there is none.
    first = [math.ceil(o * s) for o, s in zip(origin, scales, strict=True)]
    kept = [
        slice(math.ceil((o + 1) * s), math.floor((e - cut) * s))
        for o, e, cut, s in zip(origin, (6, 5, 6), (1, 0, 0), scales, strict=True)
    ]
    inner = part[(..., *[slice(k.start - f, k.stop - f) for k, f in zip(kept, first, strict=True)])]
    assert inner.numel() > 0
    torch.testing.assert_close(inner, whole[(..., *kept)], rtol=1e-12, atol=1e-10)


@COORDINATES
def test_gradients_are_those_of_the_direct_evaluation(coordinates):
    module = small(coordinates=coordinates)
    copy, features = deepcopy(module), random_features(module).requires_grad_()
    same = features.detach().clone().requires_grad_()
    module(features, 1.5).square().sum().backward()
    evaluate(copy, same, 1.5).square().sum().backward()
    torch.testing.assert_close(features.grad, same.grad, rtol=1e-10, atol=1e-9)
    for parameter, expected in zip(module.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-10, atol=1e-9)


@torch.no_grad()
def test_layers_whose_units_are_all_off_leave_their_biases():
    module = small()
    module.first[0].bias.fill_(-1e6)
    module.second[1].bias.fill_(-1e6)
    features = random_features(module)
    torch.testing.assert_close(module(features, 2.0), evaluate(module, features, 2.0), rtol=1e-12, atol=1e-10)
    expected = module.second[-1].bias.view(1, -1, 1, 1, 1).expand(2, -1, 4, 6, 4)
    torch.testing.assert_close(module(features, 2.0), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_what_is_no_number_is_not_left_out():
    module = small()
    features = random_features(module)
    features[0, 0, 0, 0, 0] = math.nan
    image = module(features, 2.0)
    assert image[0, :, 0, 0, 0].isnan().all()
    assert image[1].isfinite().all() and image[0, :, -1, -1, -1].isfinite().all()


@torch.no_grad()
def test_single_precision_and_autocast_are_close():
    module = ImplicitUpscale(anisotropic=True)
    features = torch.randn(1, 128, 3, 4, 3)
    expected = evaluate(deepcopy(module).double(), features.double(), 2.3)
    torch.testing.assert_close(module(features, 2.3).double(), expected, rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(features, 2.3).double(), expected, rtol=0, atol=5e-3)


@torch.no_grad()
def test_a_single_voxel_is_upscaled():
    module = small()
    features = random_features(module, size=(1, 1, 1))
    torch.testing.assert_close(module(features, 2.5), evaluate(module, features, 2.5), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 7}, "even number of layers of at least 4, got 7"),
        ({"depth": 2}, "even number of layers of at least 4, got 2"),
        ({"coordinates": "local"}, "local"),
    ],
)
def test_networks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImplicitUpscale(**options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 3, 4, 4), {}, r"needs features of shape \(N, 3, h, w, d\), got \[1, 3, 4, 4\]"),
        ((1, 2, 4, 4, 4), {}, r"needs features of shape \(N, 3, h, w, d\)"),
        ((1, 3, 4, 4, 4), {"scale": 0.5}, "scale must be a finite number"),
        ((1, 3, 4, 4, 4), {"scale": math.nan}, "scale must be a finite number"),
        ((1, 3, 4, 4, 4), {"scale": (2.0, 2.0)}, "has 2 axes, but 3 are needed"),
        ((1, 3, 4, 4, 4), {"scale": (2.0, 2.0, 3.0)}, "differ: build the network with anisotropic=True"),
    ],
)
def test_what_cannot_be_upscaled_is_refused(shape, options, message):
    module = ImplicitUpscale(3, depth=4, width=4)
    with pytest.raises(ValueError, match=message):
        module(torch.zeros(shape), **{"scale": 2.0, **options})


def test_a_part_is_refused_where_coordinates_are_global():
    module = ImplicitUpscale(3, depth=4, width=4, coordinates="global")
    with pytest.raises(ValueError, match="give its size with a part of it"):
        module(torch.zeros(1, 3, 4, 4, 4), 2.0, (0, 1, 0))
