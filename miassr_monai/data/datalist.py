"""Which files to work on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist

from miassr_monai.files import whole_file
from miassr_monai.volume_files import SUFFIXES, find_in_folder, kind_by_name

__all__ = ["files_of", "find_volumes", "load_datalist", "write_datalist"]

DATALIST_NAME = "datalist.json"


def files_of(item: Mapping[str, Any]) -> list[str]:
    """The files that an item's ``image`` is read from: one, or those of its channels that are not missing."""
    image = item["image"]
    return [image] if isinstance(image, str) else [one for one in image if one is not None]


def find_volumes(path: str | os.PathLike, section: str = "test") -> list[dict[str, Any]]:
    """Volumes to read at ``path``, as items with the key ``image``: a path, or a list of those of its channels, with
    ``None`` for one that is missing.

    Args:
        path: a NIfTI or NRRD file, the header of an Analyze pair, or a PNG or TIFF file; a folder, searched through all
            its levels but for hidden ones, for these and DICOM series, see :func:`find_in_folder`; or a datalist, a
            JSON file in the Decathlon format.
        section: section of the datalist.

    Raises:
        FileNotFoundError: when there is nothing at ``path``, or no volume in the folder.
        ValueError: when the file is of another kind, or a folder may not be read.
    """
    path = Path(path)
    if path.is_dir():
        found = find_in_folder(path)
        if not found:
            suffixes = [suffix for ends in SUFFIXES.values() for suffix in ends]
            raise FileNotFoundError(f"the folder {path} holds no volume ({', '.join(suffixes)}, DICOM).")
        return [{"image": str(p)} for p in found]
    if path.suffix == ".img":
        path = path.with_suffix(".hdr")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file or folder {path}.")
    if path.suffix == ".json":
        items = load_decathlon_datalist(
            str(path), is_segmentation=False, data_list_key=section, base_dir=str(path.parent)
        )
        return [{**item, "image": below(path.parent, item["image"])} for item in items]
    if kind_by_name(path) is None:
        raise ValueError(
            f"{path} is not a volume that can be read: give a NIfTI, Analyze, NRRD, PNG or TIFF file, or a folder of "
            "them or of DICOM series."
        )
    return [{"image": str(path)}]


def below(folder: Path, image: str | list[str | None]) -> str | list[str | None]:
    """An item's ``image``, whose paths MONAI leaves as they are where one of them is missing."""
    if not isinstance(image, list) or None not in image:
        return image
    return [None if one is None else os.path.normpath(folder / one) for one in image]


def load_datalist(dataset_dir: str | os.PathLike, section: str, *, missing_ok: bool = False) -> list[dict[str, Any]]:
    """Volumes of one section of a data set, as items with the key ``image``, see :func:`find_volumes`.

    A data set is a folder with either a ``datalist.json`` in the Decathlon format or a sub-folder for each section.

    Args:
        dataset_dir: folder of the data set.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        missing_ok: return an empty list for a section that is not there.

    Raises:
        FileNotFoundError: when the folder has neither.
    """
    folder = Path(dataset_dir)
    if missing_ok and not has_section(folder, section):
        return []
    if (folder / DATALIST_NAME).is_file():
        return find_volumes(folder / DATALIST_NAME, section)
    if not (folder / section).is_dir():
        raise FileNotFoundError(f"the data set {folder} needs a {DATALIST_NAME} or a folder '{section}' with volumes.")
    return find_volumes(folder / section)


def write_datalist(
    path: str | os.PathLike, name: str, sections: Mapping[str, Sequence[Mapping[str, Any]]], **about: Any
) -> None:
    """Write a datalist in the Decathlon format, whole or not at all.

    Args:
        path: the JSON file; images below its folder are written relative to it, so that both can be moved together.
        name: of the data set.
        sections: items with the key ``image``, a path or several for the channels of one image (``None``: missing).
        about: what else to say, as JSON has it.

    Raises:
        OSError: when it cannot be written.
    """
    folder = Path(path).absolute().parent

    def shown(image: str | os.PathLike | None) -> str | None:
        if image is None:
            return None
        place = Path(image).absolute()
        return (place.relative_to(folder) if place.is_relative_to(folder) else place).as_posix()

    def written(item: Mapping[str, Any]) -> dict[str, Any]:
        image = item["image"]
        several = isinstance(image, Sequence) and not isinstance(image, str)
        return {**item, "image": [shown(one) for one in image] if several else shown(image)}

    content = {"name": name, **about, **{key: [written(item) for item in items] for key, items in sections.items()}}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def has_section(folder: Path, section: str) -> bool:
    """Whether a data set has a section."""
    datalist = folder / DATALIST_NAME
    if datalist.is_file():
        return section in json.loads(datalist.read_text(encoding="utf-8"))
    return (folder / section).is_dir()
