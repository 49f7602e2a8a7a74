import pytest
import torch
import torch.nn.functional as F
from make import convolve, small_trunk

from miassr_monai.networks import SPAN
from miassr_monai.networks.trunks.span import ReparameterizedConv


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def branches(x, weights, name):
    """The convolutions that a re-parameterised one stands for, one after the other."""
    conv = F.conv2d if x.dim() == 4 else F.conv3d
    value = conv(x, weights[f"{name}first.weight"])
    value = conv(value, weights[f"{name}middle.weight"], padding=1)
    return conv(value, weights[f"{name}last.weight"]) + convolve(x, weights, f"{name}skip")


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (5, 4)), (3, (4, 3, 5))])
def test_one_convolution_has_the_values_and_gradients_of_all(spatial_dims, size):
    layer = ReparameterizedConv(spatial_dims, 3, 4, 2).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    given, expected = layer(x), branches(x, dict(layer.named_parameters()), "")
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-12)
    parameters = list(layer.parameters())
    for gradient, wanted in zip(
        torch.autograd.grad(given.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_under_autocast_the_kernel_is_made_in_single_precision():
    layer, x = ReparameterizedConv(2, 3, 4, 2), torch.randn(1, 3, 6, 6)
    kernel = layer.kernel()
    with torch.autocast("cpu", torch.bfloat16):
        given = layer(x)
        expected = F.conv2d(x, kernel, layer.skip.bias, padding=1)
    assert given.dtype == torch.bfloat16
    assert torch.equal(given, expected)


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size):
    trunk = small_trunk("SPAN", spatial_dims, 2, depth=3, input_range=5.0, output_scale=0.25).double()
    weights, x = trunk.state_dict(), torch.rand(2, 2, *size, dtype=torch.float64)
    first = features = branches(5.0 * x, weights, "head.")
    outputs, activations = [], []
    for block in range(3):
        hidden = branches(features, weights, f"body.{block}.first.")
        activations.append(hidden * hidden.sigmoid())
        hidden = branches(activations[-1], weights, f"body.{block}.second.")
        hidden = branches(hidden * hidden.sigmoid(), weights, f"body.{block}.third.")
        features = (features + hidden) * (hidden.sigmoid() - 0.5)
        outputs.append(features)
    parts = [first, branches(features, weights, "last."), outputs[0], activations[-1]]
    expected = 0.25 * convolve(torch.cat(parts, 1), weights, "fusion")
    torch.testing.assert_close(trunk(x), expected, rtol=1e-12, atol=1e-12)


def test_its_kernels_have_a_quarter_of_the_parameters_that_they_are_trained_by():
    with torch.device("meta"):
        trunk = SPAN()
    layers = [module for module in trunk.modules() if isinstance(module, ReparameterizedConv)]
    # A kernel of 48 to 48 channels has 20,736, of 1 to 48 432.
    assert len(layers) == 20
    assert sum(layer.kernel().numel() for layer in layers) == 19 * 20_736 + 432
    # As they are trained, 94,464 and 6,386, with a bias each; the fusion has 9,264.
    assert sum(p.numel() for p in trunk.parameters()) == 19 * 94_464 + 6_386 + 20 * 48 + 9_264
