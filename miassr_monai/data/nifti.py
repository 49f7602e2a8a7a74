"""NIfTI files and pairs, Analyze pairs, read and made by nibabel."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor, NibabelReader
from monai.data.utils import to_affine_nd
from monai.transforms import LoadImage
from nibabel.imageglobals import logger as nibabel_logger

from miassr_monai.data.checks import (
    check_bytes,
    check_geometry,
    check_memory,
    check_size,
    damaged,
    not_real,
    warn_of_orientation,
)
from miassr_monai.data.sidecar import slice_thickness_beside
from miassr_monai.volume_files import DTYPES, PAIR, SUFFIXES, VolumeError

__all__ = ["load_nibabel", "nifti_image", "quiet_nibabel"]

# NIfTI's codes of a unit of length and of kinds of world coordinates; other codes mean nothing.
MILLIMETRES = 2
UNITS_OF_LENGTH, UNITS_OF_TIME = (0, 1, 2, 3), (0, 8, 16, 24, 32, 40, 48)
SCANNER, ALIGNED = 1, 2
# The longest axis of NIfTI-1; NIfTI-2 has longer ones.
MAX_SIZE = 32767


def load_nibabel(path: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Voxels ``(C, *spatial)``, affine and metadata of a NIfTI file, or of an Analyze or NIfTI pair."""
    check_pair(path)
    try:
        image = nib.load(path)
        # As it is in the file: nibabel.load makes spacings positive.
        with image.file_map.get("header", image.file_map["image"]).get_prepare_fileobj("rb") as file:
            header = image.header_class.from_fileobj(file, check=False)
    # On a header that is damaged, or of another kind, nibabel raises nearly anything.
    except Exception as error:
        raise VolumeError(
            f"{path} is not a NIfTI or Analyze image or is damaged ({first_line(error)}): copy or convert it again."
        ) from error
    if not isinstance(image, nib.AnalyzeImage):
        raise VolumeError(f"{path} holds a {type(image).__name__}, not a volume: convert it to NIfTI.")
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise not_real(path, "RGB" if dtype.names else dtype.name)
    check_size(path, image.shape)
    check_geometry(path, header["pixdim"][1 : min(image.ndim, 3) + 1], image.affine)
    is_nifti = isinstance(image, nib.Nifti1Pair)
    # nibabel.load has put codes that mean nothing to 0.
    code = (int(image.header["sform_code"]) or int(image.header["qform_code"])) if is_nifti else 0
    # SPM keeps the orientation of an Analyze pair in a third file.
    if code == 0 and not ("mat" in image.file_map and Path(image.file_map["mat"].filename).is_file()):
        warn_of_orientation(path, image.affine)
    voxels = math.prod(image.shape)
    check_bytes(path, stored_bytes(image), image.dataobj.offset + voxels * dtype.itemsize)
    check_memory(path, voxels)
    try:
        # The reader at the call: one given to the constructor falls back on others, which flip Analyze.
        data = LoadImage(ensure_channel_first=True)(path, reader=NibabelReader(squeeze_non_spatial_dims=True))
    except MemoryError:
        raise
    except Exception as error:
        raise damaged(path, first_line(error)) from error
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    meta = {"original_dtype": "float32" if scaled else dtype.name, "sform_code": code}
    meta["xyzt_units"] = known_units(int(header["xyzt_units"])) if is_nifti else MILLIMETRES
    if (thickness := slice_thickness_beside(path)) is not None:
        meta["slice_thickness"] = thickness
    if image.ndim == 4 and len(data) > 1:
        meta["channel_spacing"] = float(header["pixdim"][4])
    # Not the reader's affine, which is the qform's where the sform and pixdim disagree.
    return data, image.affine, meta


def check_pair(path: Path) -> None:
    """Refuse one file of a pair without the other."""
    if path.name.lower().endswith(SUFFIXES[PAIR]):
        for part in nib.Nifti1Pair.filespec_to_file_map(path).values():
            if not Path(part.filename).is_file():
                raise FileNotFoundError(f"{path} is one file of a pair: put {Path(part.filename).name} beside it.")


def known_units(code: int) -> int:
    """NIfTI's code of the units of length and time, less what means nothing."""
    length, time = code % 8, code - code % 8
    return (length if length in UNITS_OF_LENGTH else 0) + (time if time in UNITS_OF_TIME else 0)


def stored_bytes(image: nib.AnalyzeImage) -> int:
    """Bytes that the file of the voxels has, uncompressed.

    Raises:
        VolumeError: when they cannot be uncompressed; nibabel stops at the last voxel and so never compares the
            checksum, which comes after it.
    """
    path = Path(image.file_map["image"].filename)
    try:
        if path.suffix.lower() != ".gz":
            return path.stat().st_size
        count = 0
        with gzip.open(path) as file:
            while part := file.read(1 << 20):
                count += len(part)
        return count
    except Exception as error:
        raise damaged(path, first_line(error)) from error


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def quiet_nibabel() -> Iterator[None]:
    """Keep back what nibabel logs of bad headers: what matters is told in the one sentence of an error."""
    level = nibabel_logger.level
    nibabel_logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        nibabel_logger.setLevel(level)


def nifti_image(path: Path, volume: MetaTensor) -> nib.Nifti1Image:
    """Image with the voxels, affine, units and channel spacing of a volume."""
    voxels = writable_voxels(path, volume)
    voxels = voxels[0] if len(voxels) == 1 else np.moveaxis(voxels, 0, -1)
    affine = to_affine_nd(3, volume.affine.cpu().numpy())
    image = (nib.Nifti1Image if max(voxels.shape) <= MAX_SIZE else nib.Nifti2Image)(voxels, affine)
    code = int(volume.meta.get("sform_code", 0)) or ALIGNED
    image.set_sform(affine, code)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        image.set_qform(affine, code)
    units = int(volume.meta.get("xyzt_units", 0))
    # The unit of length is in the last three bits, and 0 if it is unknown.
    image.header["xyzt_units"] = units if units & 7 else units | MILLIMETRES
    image.header["pixdim"][4] = volume.meta.get("channel_spacing", 1.0)
    return image


def writable_voxels(path: Path, volume: MetaTensor) -> np.ndarray:
    """Voxels ``(C, h, w, d)`` of a type and with values that every reader of NIfTI knows."""
    data = volume.as_tensor().detach().cpu()
    if str(data.dtype).removeprefix("torch.") in DTYPES[:-1]:
        values = data.numpy()
    elif data.dtype == torch.int64 and data.abs().max() < 2**31:
        values = data.to(torch.int32).numpy()
    else:
        values = data.to(torch.float32).numpy()
    if not np.isfinite(values).all():
        raise VolumeError(
            f"{path} is not written, because the volume holds NaN or infinite values: find out why first."
        )
    return values if values.ndim == 4 else values[..., None]
