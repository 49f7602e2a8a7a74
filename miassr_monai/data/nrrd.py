"""NRRD files, read by ITK."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import ITKReader
from monai.data.utils import orientation_ras_lps, to_affine_nd
from monai.transforms import LoadImage

from miassr_monai.data.checks import (
    check_bytes,
    check_geometry,
    check_memory,
    check_size,
    not_real,
    warn_of_orientation,
)
from miassr_monai.data.dicom import itk, itk_dtype
from miassr_monai.data.nifti import MILLIMETRES, SCANNER
from miassr_monai.volume_files import VolumeError

__all__ = ["load_nrrd"]

# The spaces of NRRD that say where the patient's left is, and that ITK turns into its own.
NRRD_SPACES = ("left-posterior-superior", "left-anterior-superior", "right-anterior-superior")
# How many bytes one byte of an NRRD file can become, by its encoding; deflate is at most 1032 to 1.
EXPANSION = {"raw": 1, "hex": 1, "ascii": 8, "txt": 8, "text": 8, "gzip": 1032, "gz": 1032}


def load_nrrd(path: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Voxels ``(C, *spatial)``, affine and metadata of an NRRD file."""
    io = itk.NrrdImageIO.New()
    io.SetFileName(str(path))
    try:
        io.ReadImageInformation()
        rank, channels = io.GetNumberOfDimensions(), io.GetNumberOfComponents()
        kind = io.GetPixelTypeAsString(io.GetPixelType())
        if kind not in ("scalar", "vector"):
            raise not_real(path, kind)
        size = [io.GetDimensions(i) for i in range(rank)]
        check_size(path, size if channels == 1 else [*size, channels])
        spacing = np.array([io.GetSpacing(i) for i in range(rank)])
        affine = np.eye(rank + 1)
        affine[:-1, :-1] = np.array([io.GetDirection(i) for i in range(rank)]).T * spacing
        affine[:-1, -1] = [io.GetOrigin(i) for i in range(rank)]
        affine = orientation_ras_lps(to_affine_nd(3, affine))
        check_geometry(path, spacing[:3], affine)
        check_nrrd_bytes(path, io.GetImageSizeInBytes())
        check_memory(path, channels * math.prod(size))
        # ITK's wrapping has no images of some types, such as int8 and int64: it converts while it reads.
        reader = ITKReader(pixel_type=itk.F if channels == 1 else itk.VariableLengthVector[itk.F])
        data = LoadImage(ensure_channel_first=True)(path, reader=reader)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise VolumeError(f"{path} is not NRRD or is damaged ({reason}): copy or convert it again.") from error
    tags = io.GetMetaDataDictionary()
    oriented = tags.HasKey("NRRD_space") and tags["NRRD_space"] in NRRD_SPACES
    if not oriented:
        warn_of_orientation(path, affine)
    meta = {"original_dtype": itk_dtype(io), "xyzt_units": MILLIMETRES, "sform_code": SCANNER if oriented else 0}
    return data, affine, meta


def check_nrrd_bytes(path: Path, needed: int) -> None:
    """Refuse an NRRD file that is too small for what its header says, before memory is taken for that."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        # The header ends with an empty line, and has far fewer lines than this.
        for line in file.readlines(1 << 16):
            if not line.strip():
                break
            key, _, value = line.decode(errors="replace").partition(":")
            fields[key.strip().lower().replace(" ", "")] = value.strip()
    name = fields.get("datafile", path.name)
    expansion = EXPANSION.get(fields.get("encoding", "raw").lower())
    # A header can also name several files of voxels, or a kind of compression of which little is known.
    if expansion is not None and (path.parent / name).is_file():
        check_bytes(path, (path.parent / name).stat().st_size * expansion, needed)
