"""What to call the volumes of an evaluation and their channels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miassr_monai.data import files_of

__all__ = ["channel_names", "volume_names"]

# Between the names of the files that an image is read from.
SEVERAL = " + "


def volume_names(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Paths of the files below the folder that they have in common; of an image of several they are joined."""
    paths = [[Path(file).absolute() for file in files_of(item)] for item in items]
    folder = os.path.commonpath([path.parent for files in paths for path in files])
    return [SEVERAL.join(path.relative_to(folder).as_posix() for path in files) for files in paths]


def channel_names(volume: str, item: Mapping[str, Any], channels: int) -> list[tuple[str | None, str | None]]:
    """What to call each channel of a volume, ``None`` where it is missing, and its contrast.

    Raises:
        ValueError: when the item has another number of contrasts than the image has channels.
    """
    image, contrast = item["image"], item.get("contrast")
    names: list[str | None]
    if isinstance(image, str):
        names = [volume] if channels == 1 else [f"{volume}, channel {number}" for number in range(channels)]
    else:
        files = iter(volume.split(SEVERAL))
        names = [None if one is None else next(files) for one in image]
    if channels > 1 and (contrast is None or isinstance(contrast, str)):
        prefix = "" if contrast is None else f"{contrast}, "
        contrast = [f"{prefix}channel {number}" for number in range(channels)]
    contrasts = contrast if isinstance(contrast, list) else [contrast]
    if len(contrasts) != channels:
        raise ValueError(
            f"{volume} has {channels} channel(s), but the datalist names {len(contrasts)} contrasts: correct it."
        )
    return list(zip(names, contrasts, strict=True))
