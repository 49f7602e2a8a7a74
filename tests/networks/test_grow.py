from copy import deepcopy

import pytest
import torch
from make import small_generator

from miassr_monai.networks import grow

SMALL = {"width": 3, "depth": 1, "hidden_channels": 8}
LARGE = {"width": 5, "depth": 3, "hidden_channels": 8}
SIZES = pytest.mark.parametrize(
    "size",
    [{"width": 5, "depth": 1}, {"width": 3, "depth": 3}, {"width": 5, "depth": 3}],
    ids=["wider", "deeper", "wider and deeper"],
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@torch.no_grad()
def trained(**options):
    """A small generator in float64, none of whose weights are what a new one's may be."""
    generator = small_generator(**{**SMALL, **options}).double()
    for parameter in generator.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return generator


@SIZES
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"in_channels": 2},
        {"projection": "corner"},
        {"skip": "bicubic"},
        {"anisotropic": True},
        {"in_channels": 2, "projection": "corner", "skip": "bicubic", "anisotropic": True},
    ],
    ids=lambda form: ", ".join(form) or "default",
)
@torch.no_grad()
def test_grown_network_makes_the_images_of_the_smaller_one(size, form):
    smaller, network = trained(**form), small_generator(**{**SMALL, **size, **form}).double()
    x = torch.rand(2, form.get("in_channels", 1), 6, 5, dtype=torch.float64)
    scales = [2.0, 2.37] + [(2.0, 2.37)] * form.get("anisotropic", False)
    expected = [smaller(x, scale) for scale in scales]
    assert grow(network, smaller) is network
    for scale, image in zip(scales, expected, strict=True):
        torch.testing.assert_close(network(x, scale), image, rtol=0, atol=1e-12)


@SIZES
def test_every_weight_has_a_gradient_after_one_step(size):
    smaller = trained(in_channels=2)
    # Units of the weight network that are off at every phase have no gradient in the smaller network either.
    torch.nn.init.constant_(smaller.meta_upscale.hidden.bias, 3.0)
    network = grow(small_generator(2, **{**SMALL, **size}).double(), smaller)
    x, target = torch.rand(2, 2, 6, 5, dtype=torch.float64), torch.rand(2, 2, 14, 11, dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        (network(x, 2.37) - target).square().mean().backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        assert (parameter.grad != 0).all(), name


def test_new_channels_and_blocks_start_from_the_initialisation_of_the_network():
    network = small_generator(**LARGE).double()
    before = deepcopy(network.trunk)
    trunk = grow(network, trained()).trunk
    layers = [(trunk.head, before.head), (trunk.body[-1], before.body[-1])]
    layers += [(trunk.body[0].body[i], before.body[0].body[i]) for i in (0, 2)]
    for layer, layer_before in layers:
        assert torch.equal(layer.weight[3:], layer_before.weight[3:])
        assert torch.equal(layer.bias[3:], layer_before.bias[3:])
    for block, block_before in zip(trunk.body[1:-1], before.body[1:-1], strict=True):
        assert torch.equal(block.body[0].weight, block_before.body[0].weight)
        assert torch.equal(block.body[0].bias, block_before.body[0].bias)


def test_a_network_of_the_same_size_gets_the_same_weights():
    form = {"in_channels": 2, "projection": "corner", "skip": "bicubic", "anisotropic": True}
    same = trained(**form)
    expected = deepcopy(same.state_dict())
    network = grow(small_generator(**SMALL, **form).double(), same)
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "options",
    [
        {"width": 6},
        {"depth": 4},
        {"in_channels": 2},
        {"hidden_channels": 4},
        {"projection": "corner"},
        {"skip": "bicubic"},
        {"anisotropic": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_networks_that_are_not_smaller_or_of_another_form_are_refused(options):
    network = small_generator(**LARGE)
    before = deepcopy(network.state_dict())
    with pytest.raises(ValueError, match="can only grow from one with as many channels and blocks or fewer"):
        grow(network, small_generator(**{**SMALL, **options}))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
