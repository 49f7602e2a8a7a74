"""A trained model and what it was trained for."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from miassr_monai.networks import Bicubic, MetaSRGenerator

__all__ = ["TrainedModel", "default_bundle", "find_model", "load_model"]

WEIGHTS = Path("models") / "model.pt"
METADATA = Path("configs") / "metadata.json"
BICUBIC = "bicubic"


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
        """What the weights were trained for, as far as the bundle says: ``scales``, ``spacing_mm`` (ranges),
        ``modalities`` and ``degradation``."""
        return self.metadata.get("trained_for", {})


def default_bundle() -> Path:
    """The bundle that comes with this package.

    Raises:
        FileNotFoundError: when it was not installed with the package.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "bundle", package.parent / "bundle"):
        if (folder / METADATA).is_file():
            return folder
    raise FileNotFoundError("the bundle was not installed with miassr_monai: give the path of a bundle or of weights.")


def find_model(source: str | os.PathLike | None) -> tuple[Path, dict[str, Any]]:
    """Weights of a bundle folder, or weights given themselves, and the metadata of the bundle that they are in.

    Raises:
        FileNotFoundError: when there are no weights.
    """
    path = default_bundle() if source is None else Path(source)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"there is no model at {path}: give a bundle folder with {WEIGHTS}, or a weights file.")
    metadata = path.resolve().parent.parent / METADATA
    return path, json.loads(metadata.read_text()) if metadata.is_file() else {}


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_model(
    source: str | os.PathLike | nn.Module | None = None, device: str | torch.device | None = None
) -> TrainedModel:
    """Load a model for inference.

    Args:
        source: bundle folder; weights file; ``"bicubic"`` for the baseline; a network; or ``None`` for the bundle that
            comes with this package.
        device: where to put it; the first GPU, or the CPU where there is none, unless given.

    Raises:
        FileNotFoundError: when there are no weights.
        ValueError: when the weights are not of a generator of this package.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(source, nn.Module):
        return TrainedModel(source.to(device).eval(), type(source).__name__)
    if source == BICUBIC:
        return TrainedModel(Bicubic(), BICUBIC)
    path, metadata = find_model(source)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network = MetaSRGenerator.from_weights(weights)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold the weights of a generator of miassr_monai ({reason}).") from error
    name = metadata.get("name", path.name)
    return TrainedModel(network.to(device).eval(), name, path, file_hash(path), metadata)
