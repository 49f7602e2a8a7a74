"""Writing of results at the end of a pipeline of transforms."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from miassr_monai.data.datalist import files_of
from miassr_monai.data.picture import SPACING_KNOWN
from miassr_monai.data.volume import cast_voxels, save_volume
from miassr_monai.volume_files import name_of_volume

__all__ = ["SaveVolumed", "without_results"]

logger = logging.getLogger(__name__)


class SaveVolumed(MapTransform):
    """Write images by :func:`save_volume`, each under the name of the file that it was made from.

    Results of pictures are pictures of the same kind and depth; all others are NIfTI in float32. What is there under
    that name is replaced.

    Args:
        keys: MetaTensors ``(C, h, w)`` or ``(C, h, w, d)`` that know their file.
        output_dir: where to; it is made.
        output_postfix: what the names get at their end, after a ``_``.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike,
        output_postfix: str,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.output_postfix = output_postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the images under ``keys``.

        Raises:
            OSError: see :func:`save_volume`.
            VolumeError: see :func:`save_volume`.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        for key in self.key_iterator(dict(data)):
            image = data[key]
            source = Path(image.meta[ImageMetaKey.FILENAME_OR_OBJ])
            is_picture = not image.meta.get(SPACING_KNOWN, True)
            suffix = source.suffix.lower() if is_picture else ".nii.gz"
            voxels = cast_voxels(image.as_tensor(), image.meta["original_dtype"] if is_picture else "float32")
            path = self.output_dir / result_name(source, self.output_postfix, suffix)
            save_volume(path, MetaTensor(voxels, meta=image.meta), overwrite=True)
        return dict(data)


def result_name(source: Path, postfix: str, suffix: str) -> str:
    """Name of the file that a volume's result is written to."""
    return f"{name_of_volume(source)}_{postfix}{suffix}"


def without_results(
    items: Sequence[Mapping[str, Any]], output_dir: str | os.PathLike, output_postfix: str
) -> list[Mapping[str, Any]]:
    """The items, as :func:`find_volumes` makes them, that have no result of :class:`SaveVolumed` in a folder yet."""
    left = []
    for item in items:
        source = Path(files_of(item)[0])
        names = (result_name(source, output_postfix, suffix) for suffix in (".nii.gz", source.suffix.lower()))
        if not any((Path(output_dir) / name).is_file() for name in names):
            left.append(item)
    if len(left) < len(items):
        logger.warning(f"{len(items) - len(left)} of {len(items)} volumes have a result in {output_dir}: left out.")
    return left
