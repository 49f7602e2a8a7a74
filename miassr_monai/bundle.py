"""Where a bundle's weights are and what it says of itself; imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "INTERPOLATIONS",
    "METADATA",
    "UNTRAINED",
    "WEIGHTS",
    "built_in_models",
    "default_bundle",
    "file_hash",
    "find_model",
    "named_models",
]

# Models without weights: interpolation, and a network that is yet to learn from a scan.
INTERPOLATIONS = ("bicubic", "linear")
UNTRAINED = "none"
WEIGHTS = Path("models") / "model.pt"
METADATA = Path("configs") / "metadata.json"


def default_bundle() -> Path:
    """The bundle that comes with this package.

    Raises:
        FileNotFoundError: when it was not installed with the package.
    """
    package = Path(__file__).parent
    # In a checkout it lies beside the package; setup.py puts it inside; and MONAI's Model Zoo has the package in it.
    for folder in (package.parent / "bundle", package / "built_in", package.parent.parent):
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


def named_models() -> str:
    """The models that have a name, as help texts list them: ``'small', 'bicubic', 'linear'``."""
    return ", ".join(f"{name!r}" for name in (*built_in_models(), *INTERPOLATIONS))


def find_model(source: str | os.PathLike | None = None) -> tuple[Path, dict[str, Any]]:
    """Weights, and the metadata of the bundle that they are in; empty for weights on their own.

    Args:
        source: bundle folder; weights file; one of :func:`built_in_models` by its name (``./small`` is a
            folder); ``None`` for the bundle that comes with this package.

    Raises:
        FileNotFoundError: when there are no weights.
        ValueError: when the bundle's metadata cannot be read, see :func:`read_metadata`.
    """
    named = built_in_models()
    if source is None:
        path = default_bundle()
    else:
        path = named[source] if isinstance(source, str) and source in named else Path(source)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        names = ", or one of " + ", ".join(named) if named else ""
        raise FileNotFoundError(
            f"there is no model at {path}: give a bundle folder with {WEIGHTS}, a weights file{names}."
        )
    folder = path.resolve().parent
    metadata = folder.parent / METADATA
    # Weights that a training left elsewhere in a bundle's folder are not those that its metadata describes.
    if folder.name != WEIGHTS.parent.name or not metadata.is_file():
        return path, {}
    return path, read_metadata(metadata, path.resolve().name)


def is_text(value: Any) -> bool:
    """Whether it is text."""
    return isinstance(value, str)


def are_texts(value: Any) -> bool:
    """Whether it is a list of text."""
    return isinstance(value, list) and all(map(is_text, value))


def is_range(value: Any) -> bool:
    """Whether it is two finite numbers, the lower one first."""
    # A truth value is an integer to Python, and an integer may be beyond every float.
    numbers = isinstance(value, list) and all(type(v) in (int, float) and abs(v) <= sys.float_info.max for v in value)
    return numbers and len(value) == 2 and value[0] <= value[1]


# What is read of a bundle's metadata, and what it must be.
FIELDS = {"name": is_text, "version": is_text, "intended_use": is_text, "weights_sha256": is_text}
TRAINED_FOR = {
    "scales": is_range,
    "one_axis_scales": is_range,
    "spacing_mm": is_range,
    "modalities": are_texts,
    "planes": are_texts,
    "degradations": are_texts,
    "noise": is_range,
    "consistency": is_text,
    "license": is_text,
}
SHOWN: dict[Callable[[Any], bool], str] = {
    is_text: "text",
    are_texts: "a list of texts",
    is_range: "two numbers, the lower one first",
}


def read_metadata(path: Path, weights: str = WEIGHTS.name) -> dict[str, Any]:
    """The metadata of a bundle, as they are for one of its weights files.

    What differs from the bundle's ``trained_for`` stands under ``weights`` and the file's name; both are merged.

    Raises:
        ValueError: when the file is not valid JSON, or what is read of it is of another kind.
    """
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): restore it.") from error
    check_fields(path, metadata, FIELDS)
    check_fields(path, metadata.get("trained_for", {}), TRAINED_FOR)
    check_fields(path, metadata.get("weights", {}), {})
    differing = metadata.get("weights", {}).get(weights, {})
    check_fields(path, differing, TRAINED_FOR)
    return {**metadata, "trained_for": {**metadata.get("trained_for", {}), **differing}} if differing else metadata


def check_fields(path: Path, values: Any, fields: Mapping[str, Callable[[Any], bool]]) -> None:
    """Refuse metadata that are no dictionary or hold a value of the wrong kind."""
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {json.dumps(values)[:40]} where names and values belong: restore it.")
    for name, check in fields.items():
        if name in values and not check(values[name]):
            shown = json.dumps(values[name])[:40]
            raise ValueError(f"{path} has the value {shown} for {name!r}, which must be {SHOWN[check]}: restore it.")


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
