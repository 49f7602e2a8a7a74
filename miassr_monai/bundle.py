"""Where a bundle's weights are and what it says of itself; imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["built_in_models", "default_bundle", "file_hash", "find_model"]

WEIGHTS = Path("models") / "model.pt"
METADATA = Path("configs") / "metadata.json"


def default_bundle() -> Path:
    """The bundle that comes with this package.

    Raises:
        FileNotFoundError: when it was not installed with the package.
    """
    checkout = Path(__file__).parents[1] / "bundle"
    for folder in (checkout, Path(sysconfig.get_path("data")) / "share" / "miassr_monai" / "bundle"):
        if (folder / METADATA).is_file():
            return folder
    raise FileNotFoundError("the bundle was not installed with miassr_monai: give the path of a bundle or of weights.")


def built_in_models() -> dict[str, Path]:
    """Weights beside the default ones in the bundle that comes with this package: ``model_small.pt`` as ``small``.

    Empty where the bundle was not installed.
    """
    try:
        folder = default_bundle() / WEIGHTS.parent
    except FileNotFoundError:
        return {}
    prefix = f"{WEIGHTS.stem}_"
    return {path.stem.removeprefix(prefix): path for path in sorted(folder.glob(f"{prefix}*{WEIGHTS.suffix}"))}


def find_model(source: str | os.PathLike | None = None) -> tuple[Path, dict[str, Any]]:
    """Weights, and the metadata of the bundle that they are in; empty for weights on their own.

    Args:
        source: bundle folder; weights file; one of :func:`built_in_models` by its name (``./small`` is a
            folder); ``None`` for the bundle that comes with this package.

    Raises:
        FileNotFoundError: when there are no weights.
        ValueError: when the bundle's metadata cannot be read.
    """
    named = built_in_models()
    path = default_bundle() if source is None else named.get(source, Path(source))
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        names = "".join(f", or {name!r}" for name in named)
        raise FileNotFoundError(
            f"there is no model at {path}: give a bundle folder with {WEIGHTS}, a weights file{names}."
        )
    folder = path.resolve().parent
    metadata = folder.parent / METADATA
    # Weights that a training left elsewhere in a bundle's folder are not those that its metadata describes.
    if folder.name != WEIGHTS.parent.name or not metadata.is_file():
        return path, {}
    try:
        return path, json.loads(metadata.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{metadata} is not valid JSON ({error}): restore it.") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
