"""DICOM series: slices in a folder as one volume."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.utils import orientation_ras_lps
from monai.utils import optional_import

from miassr_monai.data.nifti import MILLIMETRES, SCANNER
from miassr_monai.volume_files import VolumeError, slices_in

__all__ = ["itk_dtype", "load_series"]

# ITK loads its modules when they are first used, which takes seconds.
itk, _ = optional_import("itk", descriptor="install it with `pip install itk-io`")

SERIES_UID, SERIES_NUMBER, MODALITY = "0020|000e", "0020|0011", "0008|0060"
IMAGE_TYPE, THICKNESS = "0008|0008", "0018|0050"
PIXEL_SPACING, ORIENTATION, POSITION = "0028|0030", "0020|0037", "0020|0032"
# Part of the distance between slices that one may lie off its place in a regular stack, because positions are rounded.
PLACE_TOLERANCE = 0.05
# Distance in mm below which two slices are at one position.
SAME_PLACE = 0.005


class Slice(NamedTuple):
    """What the header of one slice says, without the patient's data."""

    path: Path
    series: str
    number: str
    modality: str
    dtype: str
    size: tuple[int, int]
    spacing: np.ndarray  # between rows, between columns, in mm
    axes: np.ndarray  # directions along a row and along a column
    position: np.ndarray  # centre of the first pixel, LPS in mm
    thickness: str


def itk_dtype(io: Any) -> str:
    """NumPy's name for the data type of the file that an ITK ``ImageIO`` has looked into."""
    name = io.GetComponentTypeAsString(io.GetComponentType())
    kind = "f" if name in ("float", "double") else "u" if name.startswith("unsigned") else "i"
    return np.dtype(f"{kind}{io.GetComponentSize()}").name


def load_series(folder: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, Any]]:
    """Read the one DICOM series of a folder, its slices in the order of their positions.

    ITK and MONAI leave out slices that are cut short, take the first of several series, and read a stack with a gap as
    one without; here each is an error. No error and no metadata holds the patient's data.

    Args:
        folder: searched without its sub-folders; files of other kinds and a ``DICOMDIR`` are passed over.

    Returns:
        Rescaled float32 values ``(1, columns, rows, slices)``; the affine ``(4, 4)`` in RAS and mm, with the shear of a
        tilted gantry; the ``modality``, ``slice_thickness`` (mm), ``original_dtype`` and NIfTI's ``xyzt_units`` and
        ``sform_code``.

    Raises:
        FileNotFoundError: when the folder holds no DICOM file.
        VolumeError: when it holds several series, a file that is damaged, in colour, multi-frame or without a position,
            or slices that are not one regular stack.
    """
    files = list(slices_in(folder))
    if not files:
        raise FileNotFoundError(f"the folder {folder} holds no DICOM file: give the folder in which the slices lie.")
    slices = [read_slice(path) for path in files]
    check_alike(folder, slices)
    first = slices[0]
    normal = np.cross(*first.axes)
    slices.sort(key=lambda s: s.position @ normal)
    positions = np.array([s.position for s in slices])
    affine = np.eye(4)
    affine[:3, :2] = first.axes.T * first.spacing[::-1]
    affine[:3, 2] = slice_step(folder, positions, normal) if len(slices) > 1 else normal * slice_thickness(first)
    affine[:3, 3] = positions[0]
    data = np.concatenate([read_pixels(s.path) for s in slices])
    meta = {"original_dtype": first.dtype, "xyzt_units": MILLIMETRES, "sform_code": SCANNER}
    meta |= {"modality": first.modality} if first.modality else {}
    if len({s.thickness for s in slices}) == 1 and known_thickness(first) is not None:
        meta["slice_thickness"] = known_thickness(first)
    return torch.from_numpy(data.T[None]), orientation_ras_lps(affine), meta


def read_slice(path: Path) -> Slice:
    """Header of a slice."""
    io = itk.GDCMImageIO.New()
    io.SetFileName(str(path))
    try:
        io.ReadImageInformation()
    except RuntimeError:
        raise VolumeError(
            f"{path} is cut short or holds no image: copy it again, or take it out of the folder."
        ) from None
    tags = io.GetMetaDataDictionary()

    def text(tag: str) -> str:
        return tags[tag].strip() if tags.HasKey(tag) else ""

    if io.GetDimensions(2) > 1 or "MOSAIC" in text(IMAGE_TYPE):
        raise VolumeError(f"{path} holds several slices: convert it to NIfTI first, for example with dcm2niix.")
    if io.GetPixelTypeAsString(io.GetPixelType()) != "scalar":
        raise VolumeError(f"{path} is in colour, but only images of one value per pixel can be read: take it out.")
    try:
        spacing, axes, position = (
            np.array(text(tag).split("\\"), dtype=float).reshape(shape)
            for tag, shape in ((PIXEL_SPACING, 2), (ORIENTATION, (2, 3)), (POSITION, 3))
        )
    except ValueError:
        raise VolumeError(
            f"{path} lacks the spacing, orientation or position of its pixels: convert the series to NIfTI with a tool "
            "that knows this scanner."
        ) from None
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise VolumeError(
            f"{path} has the pixel spacing {spacing[0]:g} x {spacing[1]:g}, which must be positive: correct its header."
        )
    if not (np.allclose(axes @ axes.T, np.eye(2), atol=1e-3) and np.isfinite(position).all()):
        raise VolumeError(f"{path} has rows and columns that are not perpendicular unit vectors: correct its header.")
    size = (io.GetDimensions(0), io.GetDimensions(1))
    series, number, modality = (text(tag) for tag in (SERIES_UID, SERIES_NUMBER, MODALITY))
    return Slice(path, series, number, modality, itk_dtype(io), size, spacing, axes, position, text(THICKNESS))


def read_pixels(path: Path) -> np.ndarray:
    """Rescaled float32 values of a slice ``(1, rows, columns)``."""
    try:
        return itk.array_from_image(itk.imread(str(path), itk.F))
    except RuntimeError:
        raise VolumeError(f"{path} is damaged or compressed in an unknown way: export it again.") from None


def check_alike(folder: Path, slices: list[Slice]) -> None:
    """Refuse several series, and slices of several kinds."""
    counts = Counter(s.series for s in slices)
    if len(counts) > 1:
        numbers = {s.series: s.number or "without a number" for s in slices}
        found = (f"series {numbers[uid]} (UID ending in {uid[-6:]}, files: {count})" for uid, count in counts.items())
        raise VolumeError(f"{folder} holds {len(counts)} series, {', '.join(found)}: give each a folder of its own.")
    first = slices[0]
    alike = {
        "size": all(s.size == first.size for s in slices),
        "pixel spacing": all(np.allclose(s.spacing, first.spacing, rtol=1e-4, atol=0) for s in slices),
        "orientation": all(np.allclose(s.axes, first.axes, rtol=0, atol=1e-4) for s in slices),
    }
    mixed = [name for name, same in alike.items() if not same]
    if mixed:
        raise VolumeError(
            f"the slices in {folder} differ in {' and '.join(mixed)}: leave only those of one stack, and no localiser."
        )


def slice_step(folder: Path, positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Vector from each slice to the next, for two slices or more in the order of their positions."""
    gaps = np.diff(positions @ normal)
    if gaps.min() < SAME_PLACE:
        raise VolumeError(
            f"the folder {folder} holds several slices at one position, such as echoes or time points: leave one each."
        )
    step = (positions[-1] - positions[0]) / len(gaps)
    places = positions[0] + np.outer(np.arange(len(positions)), step)
    if np.linalg.norm(positions - places, axis=1).max() > PLACE_TOLERANCE * np.linalg.norm(step):
        raise VolumeError(
            f"the slices in {folder} are not a regular stack (gaps of {gaps.min():.4g} to {gaps.max():.4g} mm): "
            "add the missing slices, or resample the series to even gaps."
        )
    return step


def known_thickness(of: Slice) -> float | None:
    """Thickness of a slice in mm, as far as its header says."""
    try:
        thickness = float(of.thickness)
    except ValueError:
        return None
    return thickness if 0 < thickness < float("inf") else None


def slice_thickness(only: Slice) -> float:
    """Thickness of the slice of a series that has but one."""
    thickness = known_thickness(only)
    if thickness is None:
        raise VolumeError(f"{only.path} is the only slice and has no thickness: give the folder of the whole series.")
    return thickness
