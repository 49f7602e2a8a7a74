"""Reading and writing single volumes, with errors that a user can act on."""

from __future__ import annotations

import gzip
import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import ITKReader, MetaTensor, NibabelReader
from monai.data.utils import orientation_ras_lps, to_affine_nd
from monai.transforms import LoadImage
from monai.utils import ImageMetaKey
from nibabel.imageglobals import logger as nibabel_logger

from miassr_monai.data.dicom import itk, itk_dtype, load_series
from miassr_monai.files import whole_file
from miassr_monai.memory import available_memory, gibibytes
from miassr_monai.volume_files import DTYPES, NIFTI, NRRD, PAIR, SERIES, SUFFIXES, VolumeError, check_output, kind_of

__all__ = ["cast_voxels", "load_volume", "save_volume"]

# The spaces of NRRD that say where the patient's left is, and that ITK turns into its own.
NRRD_SPACES = ("left-posterior-superior", "left-anterior-superior", "right-anterior-superior")
# How many bytes one byte of an NRRD file can become, by its encoding; deflate is at most 1032 to 1.
EXPANSION = {"raw": 1, "hex": 1, "ascii": 8, "txt": 8, "text": 8, "gzip": 1032, "gz": 1032}
# NIfTI's codes of a unit of length and of kinds of world coordinates; other codes mean nothing.
MILLIMETRES = 2
UNITS_OF_LENGTH, UNITS_OF_TIME = (0, 1, 2, 3), (0, 8, 16, 24, 32, 40, 48)
SCANNER, ALIGNED = 1, 2
# The longest axis of NIfTI-1; NIfTI-2 has longer ones.
MAX_SIZE = 32767
# Bytes of memory that reading takes for each voxel: a float32, and the value as it is in the file or as a copy.
BYTES_PER_VOXEL = 8


def load_volume(path: str | os.PathLike) -> MetaTensor:
    """Read a volume: a NIfTI file, an Analyze or NIfTI pair, an NRRD file, or a folder with one DICOM series.

    The axes are those of the file. A fourth axis (time, echo, b-value), or the list of values per voxel that NRRD can
    have, becomes the channels. An image without an orientation (plain Analyze, NIfTI with both codes 0, NRRD without an
    anatomical space) gets the one that nibabel or ITK assumes, and a UserWarning.

    Args:
        path: file, either one of a pair, or folder. A DICOM file is refused, because the other slices are in its
            folder, and multi-frame DICOM, because its frames have no common order.

    Returns:
        float32 ``(C, h, w)`` for 2-D images and ``(C, h, w, d)`` for volumes, with the ``affine`` ``(4, 4)`` in
        float64, RAS and the file's unit of length, mostly mm. ``meta`` holds the file's name; ``original_dtype``, the
        type that the values have, float32 if the file scales them; ``xyzt_units`` and ``sform_code``, NIfTI's codes;
        ``channel_spacing``, the step along NIfTI's fourth axis; and ``modality``, such as ``"MR"``, for DICOM. Nothing
        else is taken over, and so no patient's data.

    Raises:
        FileNotFoundError: when there is nothing at ``path``, the other file of a pair is missing, or a folder holds no
            DICOM file.
        VolumeError: when the image cannot be read as what it claims to be, is not one of real numbers, holds NaN or
            infinite values, or is constant; when an axis is empty, a spacing not positive or the affine singular; when
            the file is smaller than its header says, or there is not enough memory for it.
    """
    path = Path(path)
    kind = kind_of(path)
    with quiet_nibabel():
        data, affine, meta = READERS[kind](path)
    low, high = (float(value) for value in data.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VolumeError(f"{path} holds NaN or infinite values: replace them, for example by 0.")
    if low == high:
        raise VolumeError(f"{path} has the value {low:g} everywhere: check that it is the right image.")
    return MetaTensor(data, affine=torch.as_tensor(affine), meta={ImageMetaKey.FILENAME_OR_OBJ: str(path), **meta})


def save_volume(path: str | os.PathLike, volume: MetaTensor, overwrite: bool = False) -> None:
    """Write a volume as NIfTI-1, or as NIfTI-2 where an axis is too long for it, whole or not at all.

    Integers stay as they are (see :func:`cast_voxels`), int64 as int32; all else becomes float32. The affine goes into
    the sform, which NIfTI-1 holds in float32, and into the qform unless it has shear, which a qform cannot hold.
    Lengths are in mm unless ``meta`` has another unit.

    Args:
        path: file ``.nii`` or ``.nii.gz``; written beside it under a hidden name, then renamed.
        volume: ``(C, h, w)`` or ``(C, h, w, d)`` with its affine. Several channels become the fourth axis, and a 2-D
            image a volume of one slice.
        overwrite: replace a file that is there already.

    Raises:
        OSError: when the file cannot be written, or :func:`check_new` refuses the path.
        VolumeError: when the name is not that of a NIfTI file, the volume has other axes, or holds values that are not
            finite or too large.
    """
    path = Path(path)
    check_output(path, overwrite)
    if not isinstance(volume, MetaTensor) or volume.ndim not in (3, 4):
        raise VolumeError(
            f"{path} cannot hold a {type(volume).__name__} of shape {tuple(volume.shape)}: give a MetaTensor (C, h, w) "
            "or (C, h, w, d)."
        )
    image = nifti_image(path, volume)
    with whole_file(path) as partial:
        nib.save(image, partial)


def cast_voxels(data: torch.Tensor, dtype: str) -> torch.Tensor:
    """Values as a type of :data:`DTYPES`; for an integer type they are rounded and clipped to its range."""
    target = getattr(torch, dtype)
    if target.is_floating_point:
        return data.to(target)
    limits = torch.iinfo(target)
    # float32 cannot tell the largest int32 from the number after it.
    exact = data.to(torch.float64 if limits.bits > 16 else torch.float32)
    return exact.round().clamp_(limits.min, limits.max).to(target)


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


@contextmanager
def quiet_nibabel() -> Iterator[None]:
    """Keep back what nibabel logs of bad headers: what matters is told in the one sentence of an error."""
    level = nibabel_logger.level
    nibabel_logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        nibabel_logger.setLevel(level)


def read_series(folder: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Voxels ``(C, *spatial)``, affine and metadata of a DICOM series."""
    data, affine, meta = load_series(folder)
    return data, affine, meta | {"xyzt_units": MILLIMETRES, "sform_code": SCANNER}


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


def check_bytes(path: Path, there: int, needed: int) -> None:
    """Refuse a file that holds fewer bytes than its header says."""
    if there < needed:
        raise damaged(path, f"its header asks for {needed} bytes, but it holds at most {there}")


def check_memory(path: Path, voxels: int) -> None:
    """Refuse a volume that does not fit in memory."""
    needed, free = voxels * BYTES_PER_VOXEL, available_memory()
    if free is not None and needed > free:
        raise VolumeError(
            f"{path} has {voxels} voxels, which need {gibibytes(needed)} of memory, but {gibibytes(free)} are free: "
            "crop it, or use a machine with more."
        )


def check_size(path: Path, size: Sequence[int]) -> None:
    """Refuse empty axes, and others than two or three in space and one for channels."""
    if len(size) < 2 or min(size) < 1 or sum(n > 1 for n in size[3:]) > 1:
        shown = " x ".join(map(str, size))
        raise VolumeError(f"{path} has the size {shown}: give 2 or 3 spatial axes and at most one more, none empty.")


def check_geometry(path: Path, spacing: np.ndarray, affine: np.ndarray) -> None:
    """Refuse spacings that are not positive numbers, and affines that do not span space."""
    if not (np.isfinite(spacing).all() and min(spacing) > 0):
        shown = " x ".join(f"{value:g}" for value in spacing)
        raise VolumeError(f"{path} has the voxel spacing {shown}, which must be positive: correct its header.")
    length = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and min(length) > 0 and abs(np.linalg.det(affine[:3, :3] / length)) > 1e-6):
        raise VolumeError(
            f"{path} has an affine that is singular or not finite: correct the orientation in its header."
        )


def damaged(path: Path, reason: str) -> VolumeError:
    """Error about voxels that cannot be read."""
    return VolumeError(f"{path} is cut short or damaged ({reason}): copy or convert it again.")


def not_real(path: Path, kind: str) -> VolumeError:
    """Error about voxels that are no real numbers."""
    return VolumeError(f"{path} holds {kind} voxels: save real numbers, such as the magnitude or one colour.")


def warn_of_orientation(path: Path, affine: np.ndarray) -> None:
    """Warn the caller of :func:`load_volume` that an orientation is assumed."""
    axes = "".join(nib.aff2axcodes(affine))
    warnings.warn(
        f"{path} does not say how the patient lies: its axes are taken to run towards {axes}, so check left and right.",
        stacklevel=4,
    )


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return str(error).partition("\n")[0] or type(error).__name__


READERS = {NIFTI: load_nibabel, PAIR: load_nibabel, NRRD: load_nrrd, SERIES: read_series}
