"""Reading and writing single volumes, with errors that a user can act on."""

from __future__ import annotations

import gzip
import math
import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import ITKReader, MetaTensor, NibabelReader
from monai.data.utils import orientation_ras_lps, to_affine_nd
from monai.transforms import LoadImage
from monai.utils import ImageMetaKey
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from miassr_monai.data.dicom import VolumeError, is_dicom, itk, itk_dtype, load_series
from miassr_monai.files import whole_file

__all__ = ["VolumeError", "check_output", "load_volume", "save_volume"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr", ".img")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
# The spaces of NRRD that say where the patient's left is, and that ITK turns into its own.
NRRD_SPACES = ("left-posterior-superior", "left-anterior-superior", "right-anterior-superior")
# What nibabel raises on files that are damaged or of another kind.
NIBABEL_ERRORS = (OSError, EOFError, ValueError, MemoryError, zlib.error, ImageFileError, HeaderDataError)
# NIfTI's codes of a unit of length and of kinds of world coordinates, and its longest axis.
MILLIMETRES = 2
SCANNER, ALIGNED = 1, 2
MAX_SIZE = 32767


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
        float64, RAS and the file's unit of length, mostly mm. ``meta`` holds the file's name; ``original_dtype``;
        ``xyzt_units`` and ``sform_code``, NIfTI's codes; ``channel_spacing``, the step along NIfTI's fourth axis; and
        ``modality``, such as ``"MR"``, for DICOM. Nothing else is taken over, and so no patient's data.

    Raises:
        FileNotFoundError: when there is nothing at ``path``, the other file of a pair is missing, or a folder holds no
            DICOM file.
        VolumeError: when the image cannot be read as what it claims to be, is not one of real numbers, holds NaN or
            infinite values, or is constant; when an axis is empty, a spacing not positive or the affine singular.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}: check the path.")
    if not os.access(path, os.R_OK):
        raise VolumeError(f"{path} may not be read by this user: change its permissions.")
    name = path.name.lower()
    if path.is_dir():
        data, affine, meta = load_series(path)
        meta |= {"xyzt_units": MILLIMETRES, "sform_code": SCANNER}
    elif name.endswith(NIFTI_SUFFIXES + PAIR_SUFFIXES):
        data, affine, meta = load_nibabel(path)
    elif name.endswith(NRRD_SUFFIXES):
        data, affine, meta = load_nrrd(path)
    elif is_dicom(path):
        raise VolumeError(f"{path} is a single DICOM file: give the folder that holds its series.")
    else:
        raise VolumeError(
            f"{path} is not a volume: give a NIfTI, Analyze or NRRD file, or the folder of a DICOM series."
        )
    low, high = (float(value) for value in data.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VolumeError(f"{path} holds NaN or infinite values: replace them, for example by 0.")
    if low == high:
        raise VolumeError(f"{path} has the value {low:g} everywhere: check that it is the right image.")
    return MetaTensor(data, affine=torch.as_tensor(affine), meta={ImageMetaKey.FILENAME_OR_OBJ: str(path), **meta})


def check_output(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Check that :func:`save_volume` may write ``path``, before the work whose result goes there.

    Args:
        path: file to be written.
        overwrite: whether the file may be there already.

    Raises:
        FileNotFoundError: when the folder is missing.
        VolumeError: when the name is not that of a NIfTI file, the folder is read-only, or the file is there already.
    """
    path = Path(path)
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        raise VolumeError(f"{path} is not the name of a NIfTI file: end it with .nii or .nii.gz.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in: make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise VolumeError(f"the folder {path.parent} is read-only: write {path.name} somewhere else.")
    if path.is_dir():
        raise VolumeError(f"{path} is a folder: give another name.")
    if path.exists() and not overwrite:
        raise VolumeError(f"{path} exists already: give another name, or allow it to be overwritten.")


def save_volume(path: str | os.PathLike, volume: MetaTensor, overwrite: bool = False) -> None:
    """Write a volume as NIfTI-1 in float32, whole or not at all.

    The affine goes into the sform, which NIfTI-1 holds in float32, and into the qform unless it has shear, which a
    qform cannot hold. Lengths are in mm unless ``meta`` has another unit.

    Args:
        path: file ``.nii`` or ``.nii.gz``; written beside it under a hidden name, then renamed.
        volume: ``(C, h, w)`` or ``(C, h, w, d)`` with its affine. Several channels become the fourth axis, and a 2-D
            image a volume of one slice.
        overwrite: replace a file that is there already.

    Raises:
        FileNotFoundError: when the folder is missing.
        OSError: when the file cannot be written.
        VolumeError: when :func:`check_output` refuses the path, or the volume has other axes or does not fit in
            NIfTI-1.
    """
    path = Path(path)
    check_output(path, overwrite)
    if not isinstance(volume, MetaTensor) or volume.ndim not in (3, 4) or max(volume.shape) > MAX_SIZE:
        raise VolumeError(
            f"{path} cannot hold a {type(volume).__name__} of shape {tuple(volume.shape)}: give a MetaTensor (C, h, w) "
            f"or (C, h, w, d) of at most {MAX_SIZE} along each axis."
        )
    image = nifti_image(volume)
    with whole_file(path) as partial:
        nib.save(image, partial)


def nifti_image(volume: MetaTensor) -> nib.Nifti1Image:
    """Image with the voxels, affine, units and channel spacing of a volume."""
    data = volume.as_tensor().detach().cpu().to(torch.float32)
    if data.ndim == 3:
        data = data[..., None]
    data = data[0] if len(data) == 1 else data.movedim(0, -1)
    affine = to_affine_nd(3, volume.affine.cpu().numpy())
    image = nib.Nifti1Image(data.numpy(), affine)
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


def load_nibabel(path: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Voxels ``(C, *spatial)``, affine and metadata of a NIfTI file, or of an Analyze or NIfTI pair."""
    if path.name.lower().endswith(PAIR_SUFFIXES):
        for part in nib.Nifti1Pair.filespec_to_file_map(path).values():
            if not Path(part.filename).is_file():
                raise FileNotFoundError(f"{path} is one file of a pair: put {Path(part.filename).name} beside it.")
    try:
        image = nib.load(path)
        # As it is in the file: nibabel.load makes spacings positive.
        with image.file_map.get("header", image.file_map["image"]).get_prepare_fileobj("rb") as file:
            header = image.header_class.from_fileobj(file, check=False)
    except NIBABEL_ERRORS as error:
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
    code = (int(header["sform_code"]) or int(header["qform_code"])) if is_nifti else 0
    # SPM keeps the orientation of an Analyze pair in a third file.
    if code == 0 and not ("mat" in image.file_map and Path(image.file_map["mat"].filename).is_file()):
        warn_of_orientation(path, image.affine)
    try:
        if path.suffix.lower() == ".gz":
            # nibabel stops at the last voxel and so never compares the checksum, which comes after it.
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        # The reader at the call: one given to the constructor falls back on others, which flip Analyze.
        data = LoadImage(ensure_channel_first=True)(path, reader=NibabelReader(squeeze_non_spatial_dims=True))
    except NIBABEL_ERRORS as error:
        raise VolumeError(f"{path} is cut short or damaged ({first_line(error)}): copy or convert it again.") from error
    meta = {"original_dtype": dtype.name, "sform_code": code}
    meta["xyzt_units"] = int(header["xyzt_units"]) if is_nifti else MILLIMETRES
    if image.ndim == 4 and len(data) > 1:
        meta["channel_spacing"] = float(header["pixdim"][4])
    # Not the reader's affine, which is the qform's where the sform and pixdim disagree.
    return data, image.affine, meta


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
