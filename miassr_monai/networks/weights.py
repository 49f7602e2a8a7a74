"""Weights files: which network is in them, and what a training starts from."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.grow import grow as grow_from
from miassr_monai.networks.network import Generator, Network, read_definition
from miassr_monai.networks.trunks import EDSR

__all__ = ["load_critic", "load_network", "load_weights"]

# Root entry of a state dictionary, where a generator's definition is.
DEFINITION = "_extra_state"
# No network of this package has so many channels or blocks; building one would take forever.
LARGEST_ARGUMENT = 4096


def load_network(path: str | os.PathLike) -> Generator:
    """The network that a weights file holds, with its weights in float32.

    The file says which class of this package it is and with what arguments; no other class is ever made of it.

    Args:
        path: bare state dictionary of a generator, as ``model.pt`` of the bundle.

    Raises:
        OSError: when the file is missing or cannot be read.
        ValueError: when it does not hold a generator of this package, or values that are not finite.
    """
    refusal = f"{os.fspath(path)} does not hold the weights of a generator of miassr_monai"
    try:
        network = build(torch.load(path, map_location="cpu", weights_only=True))
    except OSError:
        raise
    # On a file of another kind the unpickler raises nearly anything.
    except Exception as error:
        raise ValueError(f"{refusal}: give a model.pt, not a checkpoint.") from error
    if not all(torch.isfinite(values).all() for values in (*network.parameters(), *network.buffers())):
        raise ValueError(f"{refusal} that can be used, some of them are NaN or infinite: give others.")
    return network


def build(weights: Any) -> Generator:
    """The generator that a state dictionary belongs to.

    Raises:
        ValueError: when it is not the state dictionary of a generator of this package.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(f"these are not the weights of a network (a {type(weights).__name__}).")
    try:
        weights = dict(weights)
        if weights[DEFINITION].dtype != torch.uint8:
            weights = modernise(weights)
        definition = read_definition(weights[DEFINITION])
        # Without memory, which is the file's to give: a definition can ask for any amount.
        with torch.device("meta"):
            network = construct(definition)
        if not isinstance(network, Generator):
            raise ValueError(f"{definition['network']} is no generator.")
        for name, expected in network.state_dict().items():
            if name in weights and not is_stored(weights[name], expected):
                raise ValueError(f"{name} is no array of numbers in memory.")
        network.load_state_dict(weights, assign=True)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"these are not the weights of a network of miassr_monai ({error}).") from error
    return network.float()


def is_stored(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether all values of a tensor are in memory, one by one, and real or whole numbers as is expected.

    Others, such as sparse ones, or one number that stands for many, are nothing that this package saves.
    """
    plain = tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.is_quantized
    whole = plain and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    return whole and tensor.is_floating_point() == expected.is_floating_point() and not tensor.is_complex()


def construct(definition: Mapping[str, Any]) -> Network:
    """The network of a definition, see :meth:`Network.definition`.

    Raises:
        ValueError: when there is no such class in this package, or an argument is beyond any network's.
    """
    arguments = {k: construct(v) if isinstance(v, Mapping) else v for k, v in definition.items() if k != "network"}
    classes = {cls.__name__: cls for cls in subclasses(Network) if cls.__module__.startswith(f"{__package__}.")}
    name = definition["network"]
    if name not in classes:
        raise ValueError(f"there is no network {name!r} in miassr_monai.")
    numbers = [n for value in arguments.values() for n in (value if isinstance(value, list) else [value])]
    if any(isinstance(number, int) and number > LARGEST_ARGUMENT for number in numbers):
        raise ValueError(f"a {name} of that size is not to be had.")
    for parameter in inspect.signature(classes[name]).parameters.values():
        value = arguments.get(parameter.name, 0.0)
        # No shape depends on these, so weights would fit whatever they are.
        if isinstance(parameter.default, float) and not (type(value) in (int, float) and math.isfinite(value)):
            raise ValueError(f"{parameter.name} must be a finite number, got {value!r}.")
    return classes[name](**arguments)


def subclasses(cls: type) -> Iterator[type]:
    """All classes that are derived from one."""
    derived: type
    for derived in cls.__subclasses__():
        yield derived
        yield from subclasses(derived)


def modernise(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of versions up to 0.3.0, which only knew one network, with its definition.

    Their extra states are whether bicubic interpolation is added, and twice the offset of the projection.
    """
    weights = dict(weights)
    width, in_channels = weights["trunk.head.weight"].shape[:2]
    hidden_channels, inputs = weights["meta_upscale.hidden.weight"].shape
    depth = sum(key.startswith("trunk.body.") and key.endswith(".body.0.weight") for key in weights)
    with torch.device("meta"):
        network = MetaSRGenerator(
            EDSR(in_channels=in_channels, width=width, depth=depth),
            hidden_channels=hidden_channels,
            projection="center" if bool(weights.pop("meta_upscale._extra_state")) else "corner",
            anisotropic=inputs == 4,
            skip="bicubic" if bool(weights[DEFINITION]) else None,
        )
    with torch.device("cpu"):
        return {**weights, DEFINITION: network.get_extra_state()}


def load_weights(network: nn.Module, path: str | os.PathLike | None, *, grow: bool = False) -> nn.Module:
    """Give a network the weights in a file, to go on from there; without a path it stays as it is.

    Args:
        network: where they go.
        path: weights of the same network, as ``model.pt`` of the bundle; ``None`` for none.
        grow: whether they may be those of a generator with fewer channels or blocks, see :func:`grow`.

    Returns:
        ``network``.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: when its weights are those of another network.
    """
    if path is None:
        return network
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no weights at {path} to start from: give a model.pt.")
    try:
        trained = load_network(path)
        if grow:
            return grow_from(network, trained)
        network.load_state_dict(trained.state_dict())
    except (RuntimeError, ValueError) as error:
        reason = (str(error.__cause__ or error).splitlines() or [type(error.__cause__).__name__])[0].rstrip(".")
        raise ValueError(
            f"{path} does not hold weights of the network that is to be trained ({reason}): "
            "give its width, depth, projection, skip and so on as they were, or grow=True where they are smaller."
        ) from error
    return network


def load_critic(critic: nn.Module, path: str | os.PathLike | None) -> nn.Module:
    """Give a critic the weights in a file, ``critic.pt`` of a training; without a path it stays as it is.

    Args:
        critic: where they go.
        path: weights of the same critic; ``None`` for none.

    Returns:
        ``critic``.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: when its weights are not those of such a critic.
    """
    if path is None:
        return critic
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no weights of a critic at {path} to start from: give a critic.pt.")
    try:
        critic.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # On a file of another kind the unpickler raises nearly anything.
    except Exception as error:
        raise ValueError(
            f"{path} does not hold weights of the critic that is to be trained: give its width, dense channels and "
            "so on as they were."
        ) from error
    return critic
