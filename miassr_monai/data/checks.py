"""What every reader of volumes refuses, in one sentence each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from miassr_monai.memory import available_memory, gibibytes
from miassr_monai.volume_files import VolumeError

__all__ = ["check_bytes", "check_geometry", "check_memory", "check_size", "damaged", "not_real", "warn_of_orientation"]

# Bytes of memory that reading takes for each voxel: a float32, and the value as it is in the file or as a copy.
BYTES_PER_VOXEL = 8


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
