import inspect
import json
from copy import deepcopy

import pytest
import torch
from make import small_generator

from miassr_monai.networks import EDSR, MetaSRGenerator
from miassr_monai.networks.network import read_definition

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
        ({"depth": 0}, "depth must be at least 1 residual block, got 0"),
    ],
)
def test_a_trunk_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EDSR(**arguments)
