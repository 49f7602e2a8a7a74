import pytest
import torch
import torch.nn.functional as F
from make import convolve

from miassr_monai.networks import EDSR, SubPixelGenerator


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def evaluate(trunk, x, depth, negative_slope, residual_scale):
    weights = trunk.state_dict()
    first = features = convolve(x, weights, "head")
    for block in range(depth):
        residual = convolve(features, weights, f"body.{block}.body.0")
        residual = torch.where(residual > 0, residual, negative_slope * residual)
        features = features + residual_scale * convolve(residual, weights, f"body.{block}.body.2")
    return first + convolve(features, weights, f"body.{depth}")


@pytest.mark.parametrize("options", [{}, {"negative_slope": 0.0, "residual_scale": 0.1}], ids=["MIASSR", "published"])
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (7, 5)), (3, (4, 5, 3)), (2, (1, 1))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size, options):
    trunk = EDSR(spatial_dims, 2, width=5, depth=2, **options).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    given = x.clone()
    slope, residual_scale = options.get("negative_slope", 0.2), options.get("residual_scale", 1.0)
    expected = evaluate(trunk, x, 2, slope, residual_scale)
    with torch.no_grad():
        torch.testing.assert_close(trunk(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(x, given)


def test_gradients_pass_the_activations_in_place():
    trunk = EDSR(2, 1, width=2, depth=1).double()
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(trunk, (x,))


def test_published_trunk_has_1_219_264_parameters():
    assert sum(p.numel() for p in EDSR(width=64, depth=16).parameters()) == 1_219_264
    assert sum(p.numel() for p in EDSR().parameters()) == 1_219_264


def test_features_start_at_the_size_of_the_first_convolution():
    trunk = EDSR()
    with torch.no_grad():
        x = torch.rand(1, 1, 16, 16)
        assert 0.5 < trunk(x).std() / trunk.head(x).std() < 2


def test_under_autocast_the_finest_details_of_a_bright_image_survive():
    # Stripes of 1e-3 around 0.75 vanish in bfloat16, whose steps are 4e-3 there.
    trunk = EDSR(2, 1, width=4, depth=1)
    flat = torch.full((1, 1, 12, 12), 0.75)
    stripes = flat + 1e-3 * (torch.arange(12) % 2 - 0.5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        difference = trunk.see(stripes) - trunk.see(flat)
        assert torch.equal(stripes.bfloat16(), flat.bfloat16())
    expected = F.conv2d(stripes - flat, trunk.head.weight, padding=1)
    torch.testing.assert_close(difference, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scale", "parameters"), [(2, 40_720_385), (3, 43_670_785), (4, 43_080_705)])
def test_published_network_has_the_published_number_of_parameters(scale, parameters):
    with torch.device("meta"):
        network = SubPixelGenerator(EDSR(width=256, depth=32), scales=[scale])
    assert sum(p.numel() for p in network.parameters()) == parameters
