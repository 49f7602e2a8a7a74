import inspect
import json
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from make import SMALL_TRUNKS, small_generator, small_trunk

from miassr_monai import networks
from miassr_monai.networks import EDSR, MetaSRGenerator, SubPixelGenerator, Trunk, load_network
from miassr_monai.networks.network import read_definition

GENERATORS = {
    "meta-upscale": lambda trunk: MetaSRGenerator(trunk, hidden_channels=8, skip="bicubic"),
    "sub-pixel": lambda trunk: SubPixelGenerator(trunk, scales=[2]),
}
EACH_TRUNK = pytest.mark.parametrize("name", SMALL_TRUNKS)
EACH_GENERATOR = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
EXPECTED = {
    "network": "MetaSRGenerator",
    "trunk": {
        "network": "EDSR",
        "spatial_dims": 2,
        "in_channels": 3,
        "width": 5,
        "depth": 1,
        "negative_slope": 0.2,
        "residual_scale": 1.0,
    },
    "hidden_channels": 7,
    "projection": "corner",
    "anisotropic": True,
    "skip": None,
}


def test_a_definition_has_all_arguments_with_their_defaults_and_the_trunk_in_it():
    trunk = EDSR(2, 3, width=5, depth=1)
    network = MetaSRGenerator(trunk, hidden_channels=7, projection="corner", anisotropic=True)
    assert network.definition() == EXPECTED
    assert trunk.definition() == EXPECTED["trunk"]
    assert deepcopy(network).definition() == EXPECTED


def test_a_signature_is_that_of_the_class_and_wrong_arguments_are_named():
    assert list(inspect.signature(EDSR).parameters) == list(EXPECTED["trunk"])[1:]
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        EDSR(widht=4)


def test_the_definition_is_in_the_state_dictionary_as_json(tmp_path):
    network = MetaSRGenerator(EDSR(2, 3, width=5, depth=1), hidden_channels=7, projection="corner", anisotropic=True)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)["_extra_state"]
    assert json.loads(state.numpy().tobytes()) == EXPECTED
    assert read_definition(state) == EXPECTED


@pytest.mark.parametrize("state", [None, torch.tensor(True), torch.zeros(3), torch.tensor(list(b"[1]")).byte()])
def test_what_is_no_definition_is_refused(state):
    with pytest.raises(ValueError, match="do not say which network they belong to"):
        read_definition(state)


def test_attributes_say_how_a_network_is_to_be_used():
    network = small_generator(3, depth=4, anisotropic=True)
    assert (network.spatial_dims, network.in_channels, network.anisotropic) == (2, 3, True)
    assert network.max_scale == float("inf")
    assert network.halo == network.trunk.halo + 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 .slices. or 3 .volumes., got 1"),
        ({"in_channels": 0}, "a trunk needs at least one channel, got 0 and 64"),
        ({"width": 0}, "a trunk needs at least one channel, got 1 and 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
    ],
)
def test_a_trunk_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EDSR(**arguments)


def test_every_trunk_is_tested_here():
    trunks = {
        name
        for name in networks.__all__
        if isinstance(value := getattr(networks, name), type) and value is not Trunk and issubclass(value, Trunk)
    }
    assert trunks == set(SMALL_TRUNKS)


@EACH_TRUNK
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_feature_depends_on_what_the_halo_reaches_and_on_no_less(name, spatial_dims):
    torch.manual_seed(0)
    trunk = small_trunk(name, spatial_dims, 2).double()
    middle, size = trunk.halo + 1, [2 * trunk.halo + 3] + [3] * (spatial_dims - 1)
    x = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
    features = trunk(x)
    assert features.shape == (1, trunk.out_channels, *size)
    before, after = [], []
    # The first pixel of a cell sees farther on, the last one farther back.
    for place in range(middle - trunk.cell_size + 1, middle + 1):
        weighted = features[0, :, place] * torch.randn_like(features[0, :, place])
        (gradient,) = torch.autograd.grad(weighted.sum(), x, retain_graph=True)
        seen = (gradient != 0).flatten(3).any(3).flatten(0, 1).any(0).nonzero().flatten()
        before.append(place - int(seen.min()))
        after.append(int(seen.max()) - place)
    assert (max(before), max(after)) == (trunk.halo, trunk.halo)


@EACH_TRUNK
@EACH_GENERATOR
@torch.no_grad()
def test_a_part_is_that_of_the_whole_the_halo_off_the_cut(name, make):
    torch.manual_seed(0)
    network = make(small_trunk(name)).double().eval()
    halo, begin, size = network.halo, 3, 2 * network.halo + 6
    x = torch.rand(1, 1, size + 5, size, dtype=torch.float64)
    part = network(x[:, :, begin : begin + size], 2.0, origin=(begin, 0))
    expected = network(x, 2.0)[:, :, 2 * (begin + halo) : 2 * (begin + size - halo)]
    torch.testing.assert_close(part[:, :, 2 * halo : -2 * halo], expected, rtol=0, atol=1e-12)


@EACH_TRUNK
@EACH_GENERATOR
@torch.no_grad()
def test_a_file_is_enough_to_make_the_network_again_and_to_script_it(tmp_path, name, make):
    torch.manual_seed(0)
    network = make(small_trunk(name, in_channels=2)).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt").eval()
    assert type(loaded) is type(network) and type(loaded.trunk) is type(network.trunk)
    scripted, x = torch.jit.script(loaded), torch.rand(1, 2, 6, 5)
    for scale in (1.0, 1.7, 2.0):
        expected = network(x, scale)
        assert torch.equal(loaded(x, scale), expected)
        torch.testing.assert_close(scripted(x, scale), expected, rtol=0, atol=1e-6)


@EACH_TRUNK
@EACH_GENERATOR
def test_a_few_steps_of_training_learn_to_sharpen(name, make):
    torch.manual_seed(0)
    network = make(small_trunk(name)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    target = F.interpolate(torch.rand(4, 1, 6, 6), scale_factor=4, mode="bicubic")
    image = F.avg_pool2d(target, 2)
    losses = []
    for _ in range(40):
        loss = F.l1_loss(network(image, 2.0), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < 0.7 * losses[0]
