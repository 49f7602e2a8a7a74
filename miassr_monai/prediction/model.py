"""A trained model and what it was trained for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from miassr_monai.bundle import UNTRAINED, file_hash, find_model
from miassr_monai.networks import EDSR, Bicubic, Linear, MetaSRGenerator, load_network

__all__ = ["TrainedModel", "load_model", "load_models"]

BASELINES = {"bicubic": Bicubic, "linear": Linear}


@dataclass(frozen=True)
class TrainedModel:
    """A network ready for inference.

    Attributes:
        network: called with images ``(N, C, h, w)`` and a scale.
        name: what to call it in reports.
        path: its weights; ``None`` for a network that was not read from a file.
        sha256: hash of the weights' file.
        metadata: the bundle's ``metadata.json``; empty for weights on their own.
    """

    network: nn.Module
    name: str
    path: Path | None = None
    sha256: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def trained_for(self) -> dict[str, Any]:
        """What the weights were trained for, as far as the bundle says: ``scales``, ``one_axis_scales`` of an axis that
        is upscaled alone, where these are others, ``spacing_mm`` (ranges),
        ``modalities``, ``planes``, ``degradations``, the one of these that ``consistency`` is measured by, and
        ``noise`` (range, as part of that of the intensities)."""
        return self.metadata.get("trained_for", {})


def load_model(
    source: str | os.PathLike | nn.Module | None = None, device: str | torch.device | None = None
) -> TrainedModel:
    """Load a model for inference.

    Args:
        source: bundle folder; weights file; ``"small"`` for the built-in weights of that name; ``"bicubic"`` or
            ``"linear"`` for a baseline; ``"none"`` for a small network that is yet to be adapted to a scan; a network;
            or ``None`` for the bundle that comes with this package. A network is itself put there and set to
            evaluation.
        device: where to put it; the first GPU, or the CPU where there is none, unless given.

    Raises:
        FileNotFoundError: when there are no weights.
        ValueError: when the weights are not of a generator of this package, the bundle's metadata cannot be read, or
            there is no such device.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # What is put on the device "meta" can never be brought back.
        torch.empty(0, device=device).cpu()
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"the device {str(device)!r} cannot be used here: give another, such as 'cpu'.") from error
    if isinstance(source, nn.Module):
        return TrainedModel(source.to(device).eval(), type(source).__name__)
    if source == UNTRAINED:
        return TrainedModel(untrained_network().to(device).eval(), UNTRAINED)
    if isinstance(source, str) and source in BASELINES:
        return TrainedModel(BASELINES[source](), source)
    path, metadata = find_model(source)
    network = load_network(path)
    name = metadata.get("name", path.name)
    return TrainedModel(network.to(device).eval(), name, path, file_hash(path), metadata)


def untrained_network() -> MetaSRGenerator:
    """A small network without weights, the same one each time, that starts as bicubic interpolation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk = EDSR(width=32, depth=8)
        return MetaSRGenerator(trunk, hidden_channels=64, projection="center", anisotropic=True, skip="bicubic")


def load_models(
    sources: Mapping[str, str | os.PathLike | nn.Module | None], device: str | torch.device | None = None
) -> dict[str, TrainedModel]:
    """Load several models by name, see :func:`load_model`; baselines work on volumes where all others do."""
    baselines = {name: source for name, source in sources.items() if isinstance(source, str) and source in BASELINES}
    trained = {name: load_model(source, device) for name, source in sources.items() if name not in baselines}
    seen = {getattr(model.network, "spatial_dims", 2) for model in trained.values()}
    spatial_dims = 3 if seen == {3} else 2
    made = {name: TrainedModel(BASELINES[source](spatial_dims), source) for name, source in baselines.items()}
    return {name: (trained | made)[name] for name in sources}
