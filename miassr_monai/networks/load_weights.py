"""Weights to start a training from."""

from __future__ import annotations

import os
from pickle import UnpicklingError

import torch
from torch import nn

from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.grow import grow as grow_from

__all__ = ["load_weights"]


def load_weights(network: nn.Module, path: str | os.PathLike | None, *, grow: bool = False) -> nn.Module:
    """Give a network the weights in a file, to go on from there; without a path it stays as it is.

    Args:
        network: where they go.
        path: bare state dictionary, such as ``model.pt`` of the bundle; ``None`` for none.
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
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if grow:
            return grow_from(network, MetaSRGenerator.from_weights(weights))
        network.load_state_dict(weights)
    except (AttributeError, EOFError, RuntimeError, TypeError, UnpicklingError, ValueError) as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path} does not hold weights of the network that is to be trained ({reason[0]}): "
            "give its width, depth, projection, skip and so on as they were, or grow=True where they are smaller."
        ) from error
    return network
