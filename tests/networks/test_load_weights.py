from copy import deepcopy

import pytest
import torch

from miassr_monai.networks import MetaSRGenerator, load_weights

SMALL = {"width": 4, "depth": 2, "hidden_channels": 8}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_weights_to_start_from_are_those_of_the_file(tmp_path):
    trained, network = MetaSRGenerator(**SMALL), MetaSRGenerator(**SMALL)
    untouched = deepcopy(network.state_dict())
    assert load_weights(network, None) is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, untouched[name])
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    assert load_weights(network, tmp_path / "model.pt") is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_weights_of_another_network_or_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no weights at .*missing\.pt to start from"):
        load_weights(MetaSRGenerator(**SMALL), tmp_path / "missing.pt")
    for options in ({"width": 6}, {"skip": "bicubic"}, {"projection": "corner"}):
        torch.save(MetaSRGenerator(**{**SMALL, **options}).state_dict(), tmp_path / "model.pt")
        with pytest.raises(ValueError, match=r"model\.pt does not hold weights of the network that is to be trained"):
            load_weights(MetaSRGenerator(**SMALL), tmp_path / "model.pt")


@torch.no_grad()
def test_weights_of_a_smaller_network_grow(tmp_path):
    form = {"hidden_channels": 8, "projection": "corner", "skip": "bicubic"}
    smaller, network = MetaSRGenerator(width=3, depth=1, **form), MetaSRGenerator(width=5, depth=2, **form)
    torch.save(smaller.state_dict(), tmp_path / "model.pt")
    assert load_weights(network, tmp_path / "model.pt", grow=True) is network
    x = torch.rand(1, 1, 5, 6)
    for scale in (2.0, 2.37):
        torch.testing.assert_close(network(x, scale), smaller(x, scale), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="or grow=True"):
        load_weights(network, tmp_path / "model.pt")


@pytest.mark.parametrize("options", [{"width": 6}, {"depth": 3}], ids=["wider", "deeper"])
def test_weights_of_a_larger_network_do_not_grow(tmp_path, options):
    torch.save(MetaSRGenerator(**{**SMALL, **options}).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="can only grow from one with as many channels and blocks or fewer"):
        load_weights(MetaSRGenerator(**SMALL), tmp_path / "model.pt", grow=True)


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize("content", [b"", b"not weights", torch.zeros(3), {"weight": torch.zeros(1)}])
def test_what_is_not_weights_of_a_generator_is_refused(tmp_path, content, grow):
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pt does not hold weights of the network"):
        load_weights(MetaSRGenerator(**SMALL), path, grow=grow)
