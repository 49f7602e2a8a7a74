import itertools
import json
from copy import deepcopy

import pytest
import torch
from make import small_generator, small_trunk

from miassr_monai.networks import (
    EDSR,
    Critic,
    MetaSRGenerator,
    SubPixelGenerator,
    load_critic,
    load_network,
    load_weights,
)
from miassr_monai.networks.weights import construct

SMALL = {"width": 4, "depth": 2, "hidden_channels": 8}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def perturbed(network):
    """None of the weights is what a new network's may be."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network.eval()


def saved(network, path, **changes):
    torch.save({**network.state_dict(), **changes}, path)
    return path


FORMS = list(itertools.product([1, 3], [None, "bicubic"], ["center", "corner"], [False, True]))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("channels", "skip", "projection", "anisotropic"), FORMS)
def test_a_file_makes_the_network_that_it_is_of(tmp_path, channels, skip, projection, anisotropic, legacy):
    form = {"width": 6, "depth": 2, "hidden_channels": 5}
    network = perturbed(small_generator(channels, skip=skip, projection=projection, anisotropic=anisotropic, **form))
    weights = network.state_dict()
    if legacy:
        # As version 0.3.0 wrote them.
        offset = {"corner": 0, "center": 1}[projection]
        weights["meta_upscale._extra_state"] = torch.tensor(offset, dtype=torch.uint8)
        weights["_extra_state"] = torch.tensor(skip == "bicubic")
    torch.save(weights, tmp_path / "model.pt")
    rebuilt = load_network(tmp_path / "model.pt").eval()
    assert rebuilt.definition() == network.definition()
    assert all(parameter.requires_grad for parameter in rebuilt.parameters())
    image, scale = torch.rand(1, channels, 9, 8), (1.7, 2.5) if anisotropic else 2.37
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(image, scale), network(image, scale), rtol=0, atol=0)


def test_weights_of_less_precision_become_float32(tmp_path):
    network = perturbed(small_generator()).half()
    rebuilt = load_network(saved(network, tmp_path / "model.pt"))
    assert {parameter.dtype for parameter in rebuilt.parameters()} == {torch.float32}
    torch.testing.assert_close(rebuilt.trunk.head.weight, network.trunk.head.weight.float(), rtol=0, atol=0)


def definition(**changes):
    content = {**small_generator().definition(), **changes}
    return torch.tensor(list(json.dumps(content).encode()), dtype=torch.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {"trunk.head.bias": None},
        {"more": torch.zeros(1)},
        {"trunk.head.bias": torch.zeros(99)},
        {"trunk.head.bias": "text"},
        {"_extra_state": torch.tensor(list(b"no json"), dtype=torch.uint8)},
        {"_extra_state": definition(network="Sequential")},
        {"_extra_state": definition(network="Critic")},
        {"_extra_state": definition(network="EDSR")},
        {"_extra_state": definition(unknown=1)},
        {"_extra_state": definition(hidden_channels=10**9)},
        {"_extra_state": definition(trunk={**EDSR().definition(), "depth": 10**9})},
        {"_extra_state": definition(trunk=3)},
        {"_extra_state": definition(trunk={**EDSR(width=4, depth=2).definition(), "residual_scale": "x"})},
        {"_extra_state": definition(trunk={**EDSR(width=4, depth=2).definition(), "residual_scale": True})},
        {"_extra_state": definition(trunk={**EDSR(width=4, depth=2).definition(), "negative_slope": float("inf")})},
        {"_extra_state": definition(network="SubPixelGenerator", scales=[10**9])},
        {"_extra_state": torch.tensor(True)},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_files_of_something_else_are_refused_in_one_sentence(tmp_path, changes):
    weights = {k: v for k, v in {**small_generator().state_dict(), **changes}.items() if v is not None}
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(ValueError) as caught:
        load_network(tmp_path / "model.pt")
    path = tmp_path / "model.pt"
    message = f"{path} does not hold the weights of a generator of miassr_monai: give a model.pt, not a checkpoint."
    assert str(caught.value) == message


@pytest.mark.parametrize("scale", [4099, 4099.0, [4099]])
def test_numbers_beyond_any_network_s_are_refused_before_anything_is_made_of_them(scale):
    # The factors of a large prime would take days to find.
    definition = {**SubPixelGenerator(EDSR(width=4, depth=1), scales=[2]).definition(), "scales": [scale]}
    with pytest.raises(ValueError, match="a SubPixelGenerator of that size is not to be had"):
        construct(definition)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.int(),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        # One number that stands for all: a small file that could ask for any amount of memory.
        lambda tensor: tensor[:1].half().expand_as(tensor),
    ],
    ids=["sparse", "meta", "complex", "whole", "quantised", "expanded"],
)
@pytest.mark.parametrize("name", ["trunk.head.bias", "trunk.body.0.body.1.running_var"])
def test_tensors_that_are_not_stored_number_by_number_are_refused(tmp_path, name, change):
    network = SubPixelGenerator(small_trunk("SRResNet"), scales=[2])
    path = saved(network, tmp_path / "model.pt", **{name: change(network.state_dict()[name])})
    with pytest.raises(ValueError, match=r"does not hold the weights of a generator of miassr_monai: give a model\.pt"):
        load_network(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    network = small_generator()
    with torch.no_grad():
        network.meta_upscale.kernel.bias[0] = value
    with pytest.raises(ValueError, match="some of them are NaN or infinite"):
        load_network(saved(network, tmp_path / "model.pt"))


def test_running_statistics_that_are_not_finite_are_refused(tmp_path):
    network = SubPixelGenerator(small_trunk("SRResNet"), scales=[2])
    network.trunk.body[0].body[1].running_var[0] = float("nan")
    with pytest.raises(ValueError, match="some of them are NaN or infinite"):
        load_network(saved(network, tmp_path / "model.pt"))


def test_classes_of_others_are_not_made(tmp_path):
    class Foreign(MetaSRGenerator):
        """Of another package."""

    network = Foreign(EDSR(width=4, depth=1))
    with pytest.raises(ValueError, match="does not hold the weights of a generator of miassr_monai"):
        load_network(saved(network, tmp_path / "model.pt"))


def test_weights_to_start_from_are_those_of_the_file(tmp_path):
    trained, network = small_generator(**SMALL), small_generator(**SMALL)
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
        load_weights(small_generator(**SMALL), tmp_path / "missing.pt")
    for options in ({"width": 6}, {"skip": "bicubic"}, {"projection": "corner"}):
        torch.save(small_generator(**{**SMALL, **options}).state_dict(), tmp_path / "model.pt")
        with pytest.raises(ValueError, match=r"model\.pt does not hold weights of the network that is to be trained"):
            load_weights(small_generator(**SMALL), tmp_path / "model.pt")


@torch.no_grad()
def test_weights_of_a_smaller_network_grow(tmp_path):
    form = {"hidden_channels": 8, "projection": "corner", "skip": "bicubic"}
    smaller, network = small_generator(width=3, depth=1, **form), small_generator(width=5, depth=2, **form)
    torch.save(smaller.state_dict(), tmp_path / "model.pt")
    assert load_weights(network, tmp_path / "model.pt", grow=True) is network
    x = torch.rand(1, 1, 5, 6)
    for scale in (2.0, 2.37):
        torch.testing.assert_close(network(x, scale), smaller(x, scale), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="or grow=True"):
        load_weights(network, tmp_path / "model.pt")


@pytest.mark.parametrize("options", [{"width": 6}, {"depth": 3}], ids=["wider", "deeper"])
def test_weights_of_a_larger_network_do_not_grow(tmp_path, options):
    torch.save(small_generator(**{**SMALL, **options}).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="can only grow from one with as many channels and blocks or fewer"):
        load_weights(small_generator(**SMALL), tmp_path / "model.pt", grow=True)


def test_weights_of_another_kind_of_network_do_not_grow(tmp_path):
    torch.save(SubPixelGenerator(small_trunk()).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="only a MetaSRGenerator with an EDSR trunk can grow"):
        load_weights(small_generator(**SMALL), tmp_path / "model.pt", grow=True)


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize("content", [b"", b"not weights", torch.zeros(3), {"weight": torch.zeros(1)}])
def test_what_is_not_weights_of_a_generator_is_refused(tmp_path, content, grow):
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pt does not hold weights of the network"):
        load_weights(small_generator(**SMALL), path, grow=grow)


def test_a_critic_goes_on_from_its_weights(tmp_path):
    trained = perturbed(Critic(width=2))
    path = saved(trained, tmp_path / "critic.pt")
    image = torch.rand(1, 1, 24, 24)
    fresh = Critic(width=2)
    assert load_critic(fresh, None) is fresh and not torch.equal(fresh(image), trained(image))
    assert torch.equal(load_critic(fresh, path)(image), trained(image))


def test_weights_of_no_such_critic_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights of a critic at .*none.pt to start from: give a critic.pt"):
        load_critic(Critic(width=2), tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    for path in (saved(Critic(width=4), tmp_path / "wide.pt"), tmp_path / "text.pt"):
        with pytest.raises(ValueError, match="does not hold weights of the critic that is to be trained"):
            load_critic(Critic(width=2), path)


def test_weights_to_start_from_may_be_in_the_checkpoint_of_a_training(tmp_path):
    trained, averaged, critic = small_generator(**SMALL), small_generator(**SMALL), Critic(width=2)
    content = {"network": trained, "ema_network": averaged, "discriminator": critic}
    torch.save({name: module.state_dict() for name, module in content.items()}, tmp_path / "gan_checkpoint.pt")
    network = load_weights(small_generator(**SMALL), tmp_path / "gan_checkpoint.pt")
    assert torch.equal(network.trunk.head.weight, averaged.trunk.head.weight)
    started = load_critic(Critic(width=2), tmp_path / "gan_checkpoint.pt")
    torch.testing.assert_close(started.state_dict(), critic.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"give a model\.pt, not a checkpoint"):
        load_network(tmp_path / "gan_checkpoint.pt")


def test_layers_that_do_not_fit_are_told_and_the_others_reused_on_request(tmp_path, caplog):
    trained, critic = small_generator(**SMALL), Critic(width=2)
    path = tmp_path / "gan_checkpoint.pt"
    torch.save({"ema_network": trained.state_dict(), "discriminator": critic.state_dict()}, path)
    with pytest.raises(ValueError, match="or partial=True to reuse the layers that fit"):
        load_weights(small_generator(4, **SMALL), path)
    network = load_weights(small_generator(4, **SMALL), path, partial=True, freeze_trunk=True)
    assert caplog.messages[-1] == (
        f"of {path} all layers are reused but trunk.head, meta_upscale.kernel, which do not fit and start anew."
    )
    assert network.trunk.head.weight.requires_grad and not network.trunk.body[0].body[0].weight.requires_grad
    with pytest.raises(ValueError, match="or partial=True to reuse the layers that fit"):
        load_critic(Critic(4, width=2), path)
    started = load_critic(Critic(4, width=2), path, partial=True)
    assert "but features.0, which" in caplog.messages[-1]
    assert torch.equal(started.head[1].weight, critic.head[1].weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grow": True, "partial": True}, "grow and partial are two ways"),
        ({"grow": True, "freeze_trunk": True}, "freeze_trunk keeps the trunk of given weights"),
    ],
)
def test_options_that_exclude_one_another_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load_weights(small_generator(), tmp_path / "model.pt", **options)
    with pytest.raises(ValueError, match="freeze_trunk keeps the trunk of given weights"):
        load_weights(small_generator(), None, freeze_trunk=True)
