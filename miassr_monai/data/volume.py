"""Reading and writing single volumes, with errors that a user can act on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import torch
from monai.data import MetaTensor
from monai.utils import ImageMetaKey

from miassr_monai.data.channels import stack_channels
from miassr_monai.data.dicom import load_series
from miassr_monai.data.nifti import load_nibabel, nifti_image, quiet_nibabel
from miassr_monai.data.nrrd import load_nrrd
from miassr_monai.data.picture import load_picture, save_picture
from miassr_monai.files import whole_file
from miassr_monai.volume_files import (
    NIFTI,
    NRRD,
    PAIR,
    PICTURE,
    SERIES,
    VolumeError,
    check_output,
    kind_by_name,
    kind_of,
)

__all__ = ["cast_voxels", "load_volume", "save_volume"]

READERS = {
    NIFTI: load_nibabel,
    PAIR: load_nibabel,
    NRRD: load_nrrd,
    PICTURE: load_picture,
    SERIES: load_series,
}


def load_volume(
    path: str | os.PathLike | Sequence[str | os.PathLike | None], *, fill_missing: bool = False
) -> MetaTensor:
    """Read a volume: a NIfTI file, an Analyze or NIfTI pair, an NRRD file, a folder with one DICOM series, or a grey
    picture, PNG or TIFF.

    The axes are those of the file. A fourth axis (time, echo, b-value), or the list of values per voxel that NRRD can
    have, becomes the channels. An image without an orientation (plain Analyze, NIfTI with both codes 0, NRRD without an
    anatomical space) gets the one that nibabel or ITK assumes, and a UserWarning. Of a picture the axes are rows and
    columns; it says nothing of the size of its pixels, which is taken as 1.

    Args:
        path: file, either one of a pair, or folder. A DICOM file is refused, because the other slices are in its
            folder, and multi-frame DICOM, because its frames have no common order. Several, on one grid, become the
            channels of one image, in their order; see :func:`stack_channels`.
        fill_missing: of several, fill those that are ``None`` instead of refusing them.

    Returns:
        float32 ``(C, h, w)`` for 2-D images and ``(C, h, w, d)`` for volumes, with the ``affine`` ``(4, 4)`` in
        float64, RAS and the file's unit of length, mostly mm. ``meta`` holds the file's name; ``original_dtype``, the
        type that the values have, float32 if the file scales them; ``xyzt_units`` and ``sform_code``, NIfTI's codes;
        ``channel_spacing``, the step along NIfTI's fourth axis; ``slice_thickness`` (mm) of DICOM and of the JSON file
        that dcm2niix writes beside NIfTI; ``modality``, such as ``"MR"``, for DICOM; and ``spacing_known``, which is
        false for pictures. Nothing else is taken over, and so no patient's data.

    Raises:
        FileNotFoundError: when there is nothing at ``path``, the other file of a pair is missing, or a folder holds no
            DICOM file.
        VolumeError: when the image cannot be read as what it claims to be, is not one of real numbers, holds NaN or
            infinite values, or is constant; when an axis is empty, a spacing not positive or the affine singular; when
            the file is smaller than its header says, or there is not enough memory for it; when several have not one
            channel each, or not one grid, or one is missing and not to be filled.
    """
    if not isinstance(path, (str, os.PathLike)):
        return stack_channels(path, [None if one is None else load_volume(one) for one in path], fill_missing)
    path = Path(path)
    kind = kind_of(path)
    with quiet_nibabel():
        data, affine, meta = READERS[kind](path)
    low, high = (float(value) for value in data.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VolumeError(f"{path} holds NaN or infinite values, or such as float32 cannot hold: replace them.")
    if low == high:
        raise VolumeError(f"{path} has the value {low:g} everywhere: check that it is the right image.")
    return MetaTensor(data, affine=torch.as_tensor(affine), meta={ImageMetaKey.FILENAME_OR_OBJ: str(path), **meta})


def save_volume(path: str | os.PathLike, volume: MetaTensor, overwrite: bool = False) -> None:
    """Write a volume as NIfTI-1, or as NIfTI-2 where an axis is too long for it, or one slice as a picture.

    The file is whole or not there.

    Integers stay as they are (see :func:`cast_voxels`), int64 as int32; all else becomes float32. The affine goes into
    the sform, which NIfTI-1 holds in float32, and into the qform unless it has shear, which a qform cannot hold.
    Lengths are in mm unless ``meta`` has another unit.

    Args:
        path: file ``.nii`` or ``.nii.gz``; or ``.png`` or ``.tif`` of what came as a picture, whose values have 8 or 16
            bits (``.tif`` float32, too). Written beside it under a hidden name, then renamed.
        volume: ``(C, h, w)`` or ``(C, h, w, d)`` with its affine. Several channels become the fourth axis, and a 2-D
            image a volume of one slice.
        overwrite: replace a file that is there already.

    Raises:
        OSError: when the file cannot be written, or :func:`check_new` refuses the path.
        VolumeError: when the name is not that of a NIfTI file or a picture, the volume has other axes or is no picture,
            or holds values that are not finite or too large.
    """
    path = Path(path)
    check_output(path, overwrite)
    if not isinstance(volume, MetaTensor) or volume.ndim not in (3, 4):
        raise VolumeError(
            f"{path} cannot hold a {type(volume).__name__} of shape {tuple(volume.shape)}: give a MetaTensor (C, h, w) "
            "or (C, h, w, d)."
        )
    if kind_by_name(path) == PICTURE:
        save_picture(path, volume)
        return
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
