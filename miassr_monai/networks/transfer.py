"""What a network can take over from another one, and keep as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from miassr_monai.networks.network import Generator

__all__ = ["freeze_trunk", "reuse_layers"]


def reuse_layers(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[list[str], list[str]]:
    """Give a network the weights of all layers that fit: of the same name, with parameters of the same shapes.

    Args:
        network: where they go; its other layers stay as they are.
        weights: state dictionary of another network.

    Returns:
        The names of the layers that fit, and of those that do not.

    Raises:
        ValueError: when no layer fits.
    """
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, values in (*network.named_parameters(), *network.named_buffers()):
        layers.setdefault(name.rpartition(".")[0], {})[name] = values
    fit: list[str] = []
    others: list[str] = []
    for layer, own in layers.items():
        same = all(name in weights and weights[name].shape == values.shape for name, values in own.items())
        (fit if same else others).append(layer)
    if not fit:
        raise ValueError("none of their layers fits the network: give weights of a network of its kind.")
    network.load_state_dict({name: weights[name] for layer in fit for name in layers[layer]}, strict=False)
    return fit, others


def freeze_trunk(network: Generator, layers: Iterable[str]) -> None:
    """Let the layers of a generator's trunk that are among ``layers`` stay as they are while the rest learns."""
    for name in layers:
        if name.startswith("trunk."):
            layer = network.get_submodule(name)
            layer.requires_grad_(False)
            if isinstance(layer, _BatchNorm):
                # Running statistics are no parameters, but follow the images.
                layer.momentum = 0.0
