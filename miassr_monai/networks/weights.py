"""Weights files: which network is in them, and what a training starts from."""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.grow import grow as grow_from
from miassr_monai.networks.network import Generator, Network, read_definition
from miassr_monai.networks.transfer import freeze_trunk as freeze
from miassr_monai.networks.transfer import reuse_layers
from miassr_monai.networks.trunks import EDSR

__all__ = ["cpu_weights", "load_critic", "load_network", "load_weights"]

logger = logging.getLogger(__name__)

# Root entry of a state dictionary, where a generator's definition is.
DEFINITION = "_extra_state"
# Where a training's checkpoint has the averaged generator, and the critic.
AVERAGED, CRITIC = "ema_network", "discriminator"
# No network of this package has so many channels or blocks; building one would take forever.
LARGEST_ARGUMENT = 4096


def cpu_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state dictionary of a network on the CPU, so that what was trained on a GPU loads where there is none."""
    return {name: values.cpu() for name, values in network.state_dict().items()}


def load_network(path: str | os.PathLike, *, from_checkpoint: bool = False) -> Generator:
    """The network that a weights file holds, with its weights in float32.

    The file says which class of this package it is and with what arguments; no other class is ever made of it.

    Args:
        path: bare state dictionary of a generator, as ``model.pt`` of the bundle.
        from_checkpoint: whether it may be the checkpoint of a training, too, of which the averaged generator is taken.

    Raises:
        OSError: when the file is missing or cannot be read.
        ValueError: when it does not hold a generator of this package, or values that are not finite.
    """
    refusal = f"{os.fspath(path)} does not hold the weights of a generator of miassr_monai"
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network = build(weights[AVERAGED] if from_checkpoint and AVERAGED in weights else weights)
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
    if any(number > LARGEST_ARGUMENT for number in numbers_in(list(arguments.values()))):
        raise ValueError(f"a {name} of that size is not to be had.")
    for parameter in inspect.signature(classes[name]).parameters.values():
        value = arguments.get(parameter.name, 0.0)
        # No shape depends on these, so weights would fit whatever they are.
        if isinstance(parameter.default, float) and not (type(value) in (int, float) and math.isfinite(value)):
            raise ValueError(f"{parameter.name} must be a finite number, got {value!r}.")
    return classes[name](**arguments)


def numbers_in(value: Any) -> Iterator[float]:
    """The numbers in lists of lists."""
    if isinstance(value, list):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, (int, float)):
        yield value


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


def load_weights(
    network: nn.Module,
    path: str | os.PathLike | None,
    *,
    grow: bool = False,
    partial: bool = False,
    freeze_trunk: bool = False,
) -> nn.Module:
    """Give a network the weights in a file, to go on from there; without a path it stays as it is.

    Args:
        network: where they go.
        path: weights of the same network, as ``model.pt`` of the bundle, or the checkpoint of its training; ``None``
            for none.
        grow: whether they may be those of a generator with fewer channels or blocks, see :func:`grow`.
        partial: whether they may be those of another generator, such as one for images of other channels: all layers
            that fit are reused, and a warning names the others, which start anew; see :func:`reuse_layers`.
        freeze_trunk: whether what the trunk takes over stays as it is in the training that follows.

    Returns:
        ``network``.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: when its weights are those of another network, or the options exclude one another.
    """
    if grow and partial:
        raise ValueError("grow and partial are two ways to start from another network: give one of them.")
    if freeze_trunk and (grow or path is None):
        raise ValueError("freeze_trunk keeps the trunk of given weights: give initial_weights, and not grow.")
    if path is None:
        return network
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no weights at {path} to start from: give a model.pt.")
    try:
        trained = load_network(path, from_checkpoint=True)
        if grow:
            return grow_from(network, trained)
        if not partial:
            network.load_state_dict(trained.state_dict())
        # Where all is the same, all layers are reused.
        reused, others = reuse_layers(network, trained.state_dict())
    except (RuntimeError, ValueError) as error:
        reason = (str(error.__cause__ or error).splitlines() or [type(error.__cause__).__name__])[0].rstrip(".")
        raise ValueError(
            f"{path} does not hold weights of the network that is to be trained ({reason}): "
            "give its width, depth, projection, skip and so on as they were, or grow=True where they are smaller, or "
            "partial=True to reuse the layers that fit."
        ) from error
    tell_of(others, path)
    if freeze_trunk:
        freeze(network, reused)
    return network


def load_critic(critic: nn.Module, path: str | os.PathLike | None, *, partial: bool = False) -> nn.Module:
    """Give a critic the weights in a file; without a path it stays as it is.

    Args:
        critic: where they go.
        path: weights of the same critic, ``critic.pt`` or ``gan_checkpoint.pt`` of a training; ``None`` for none.
        partial: see :func:`load_weights`.

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
        weights = torch.load(path, map_location="cpu", weights_only=True)
        weights = weights.get(CRITIC, weights)
        if not partial:
            critic.load_state_dict(weights)
        _, others = reuse_layers(critic, weights)
    # On a file of another kind the unpickler raises nearly anything.
    except Exception as error:
        raise ValueError(
            f"{path} does not hold weights of the critic that is to be trained: give its width, dense channels and "
            "so on as they were, or partial=True to reuse the layers that fit."
        ) from error
    tell_of(others, path)
    return critic


def tell_of(layers: list[str], path: str | os.PathLike) -> None:
    """Warn of layers that start anew."""
    if layers:
        logger.warning(f"of {path} all layers are reused but {', '.join(layers)}, which do not fit and start anew.")
