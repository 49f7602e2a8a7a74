"""Which files are volumes, by their names and first bytes; imports nothing heavy."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from glob import escape
from pathlib import Path

from miassr_monai.files import check_new

__all__ = [
    "DTYPES",
    "VolumeError",
    "check_output",
    "find_in_folder",
    "kind_of",
    "name_of_volume",
    "parts_of",
    "slices_in",
]

NIFTI, PAIR, NRRD, PICTURE, SERIES = "NIfTI", "pair", "NRRD", "picture", "DICOM series"
SUFFIXES = {
    NIFTI: (".nii", ".nii.gz"),
    PAIR: (".hdr", ".img"),
    NRRD: (".nrrd", ".nhdr"),
    PICTURE: (".png", ".tif", ".tiff"),
}
# What is written.
OUTPUTS = (*SUFFIXES[NIFTI], *SUFFIXES[PICTURE])
NAME_END = re.compile("|".join(f"{re.escape(end)}$" for ends in SUFFIXES.values() for end in ends), re.IGNORECASE)

# Types of voxels that are written.
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "float32")


class VolumeError(ValueError):
    """A volume that cannot be read or written: one sentence with the file, what is wrong and the remedy."""


def kind_of(path: Path) -> str:
    """Kind of the volume at ``path``; a folder is taken for that of a DICOM series.

    Raises:
        FileNotFoundError: when there is nothing.
        VolumeError: when it may not be read, or is of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}: check the path.")
    check_readable(path)
    if path.is_dir():
        return SERIES
    kind = kind_by_name(path)
    if kind is None and path.is_file() and is_dicom(path):
        raise VolumeError(f"{path} is a single DICOM file: give the folder that holds its series.")
    if kind is None or not path.is_file():
        raise VolumeError(
            f"{path} is not a volume: give a NIfTI, Analyze, NRRD, PNG or TIFF file, or the folder of a DICOM series."
        )
    return kind


def kind_by_name(path: Path) -> str | None:
    """Kind of volume that a file's name ends with."""
    name = path.name.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if name.endswith(suffixes)), None)


def name_of_volume(path: Path) -> str:
    """Name of a volume without what tells its kind: of its file, or of its folder."""
    return Path(os.path.abspath(path)).name if path.is_dir() else NAME_END.sub("", path.name)


def check_readable(path: Path) -> None:
    """Refuse a file or folder that this user may not read."""
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        raise VolumeError(f"{path} may not be read by this user: change its permissions.")


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do, with or without the preamble, whatever its name."""
    check_readable(path)
    with path.open("rb") as file:
        head = file.read(132)
    # Without a preamble, an element of group 2 or 8 comes first: its kind of value in two letters, or its length at
    # once.
    kind = head[4:6]
    bare = head[:2] in (b"\2\0", b"\x08\0") and ((kind.isalpha() and kind.isupper()) or head[5:8] == bytes(3))
    return head[128:] == b"DICM" or bare


def slices_in(folder: Path) -> Iterator[Path]:
    """The DICOM files in a folder, without its sub-folders and without a ``DICOMDIR``."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name.upper() != "DICOMDIR" and path.is_file() and is_dicom(path):
            yield path


def find_in_folder(folder: Path, kinds: Collection[str] = (*SUFFIXES, SERIES)) -> list[Path]:
    """The volumes in a folder and its sub-folders, in the order of their names; hidden files and folders are none.

    A pair is named by its header, a DICOM series by its folder, which may be ``folder`` itself. A link to a file that
    is not there is found, because it stands for a volume that is missing; links to folders are not followed. Beside
    other volumes, pictures are not taken for any: they show what is in these.

    Raises:
        VolumeError: when one of the folders may not be read.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        check_readable(here)
        folders[:] = (name for name in folders if not name.startswith("."))
        for path in (here / name for name in names if not name.startswith(".")):
            if kind_by_name(path) in kinds and path.suffix.lower() != ".img" and not path.is_dir():
                found.append(path)
        if SERIES in kinds and next(slices_in(here), None):
            found.append(here)
    volumes = [path for path in found if kind_by_name(path) != PICTURE or path.is_dir()]
    return sorted(volumes or found)


def parts_of(path: Path) -> list[Path]:
    """The files that a volume is read from: of a series all in its folder, of others those of the same stem."""
    if path.is_dir():
        return [part for part in path.iterdir() if part.is_file()]
    if kind_by_name(path) == PAIR or path.suffix.lower() == ".nhdr":
        return sorted(path.parent.glob(f"{escape(path.stem)}.*"))
    return [path]


def check_output(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Check that :func:`miassr_monai.data.save_volume` may write ``path``, before the work whose result goes there.

    Args:
        path: file to be written.
        overwrite: whether the file may be there already.

    Raises:
        OSError: when :func:`check_new` refuses it.
        VolumeError: when the name is not that of a file that is written.
    """
    path = Path(path)
    if not path.name.lower().endswith(OUTPUTS):
        raise VolumeError(
            f"{path} is not the name of a NIfTI file: end it with .nii or .nii.gz, or .png or .tif for a picture."
        )
    check_new(path, overwrite)
