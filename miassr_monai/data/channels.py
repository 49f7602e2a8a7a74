"""Several images of one patient on one grid, such as the contrasts of MR, as the channels of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd

from miassr_monai.transforms.missing_channels import MISSING_CHANNELS
from miassr_monai.volume_files import VolumeError

__all__ = ["split_channels", "stack_channels"]

# Corners of two grids that differ by less than this part of a voxel coincide: headers are rounded.
TOLERANCE = 0.01


def stack_channels(
    paths: Sequence[str | os.PathLike | None], images: Sequence[MetaTensor | None], fill_missing: bool = False
) -> MetaTensor:
    """Images ``(1, *size)`` on one grid as one ``(C, *size)``.

    Args:
        paths: where they were read from, for errors.
        images: what was read; ``None`` for one that is missing.
        fill_missing: make a missing one 0, the background, and note it in ``meta["missing_channels"]``, instead of
            refusing it.

    Returns:
        The channels in their order, with the ``meta`` of the first that is there and the type that holds all.

    Raises:
        VolumeError: when none is there, one is missing and not to be filled, has not one channel, or another grid.
    """
    there = [(str(path), image) for path, image in zip(paths, images, strict=True) if image is not None]
    missing = [number for number, image in enumerate(images) if image is None]
    if not there:
        raise VolumeError(f"none of the {len(images)} images of the channels is given: give at least one.")
    first_path, first = there[0]
    if missing and not fill_missing:
        raise VolumeError(
            f"channel {missing[0]} of the image beside {first_path} is missing: give it, or have it filled with 0 "
            "(fill_missing)."
        )
    for path, image in there:
        if len(image) != 1:
            raise VolumeError(f"{path} has {len(image)} channels, but is to be one channel of an image: split it.")
        check_grid(path, image, first_path, first)
    filled = [torch.zeros_like(first.as_tensor()) if image is None else image.as_tensor() for image in images]
    result = MetaTensor(torch.cat(filled), meta=dict(first.meta))
    result.meta["original_dtype"] = np.result_type(*(image.meta["original_dtype"] for _, image in there)).name
    if missing:
        result.meta[MISSING_CHANNELS] = missing
    return result


def split_channels(image: MetaTensor) -> list[MetaTensor]:
    """An image ``(C, *size)`` as one ``(1, *size)`` of each channel, with its affine and ``meta``."""
    return [MetaTensor(channel, meta=dict(image.meta)) for channel in image.as_tensor().split(1)]


def check_grid(path: str, image: MetaTensor, first_path: str, first: MetaTensor) -> None:
    """Refuse an image whose voxels are not those of the first one."""
    remedy = "resample one to the grid of the other, or super-resolve each for itself."
    if image.shape != first.shape:
        shown, first_shown = (" x ".join(map(str, i.shape[1:])) for i in (image, first))
        raise VolumeError(f"{path} has {shown} voxels, but {first_path} has {first_shown}: {remedy}")
    affines = [to_affine_nd(3, i.affine).numpy() for i in (image, first)]
    size = (*image.shape[1:], 1)[:3]
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in size))]).T
    apart = max(np.linalg.norm(((affines[0] - affines[1]) @ corners)[:3], axis=0))
    if apart > TOLERANCE * np.linalg.norm(affines[1][:3, :3], axis=0).min():
        raise VolumeError(f"{path} lies up to {apart:.3g} mm from {first_path}: {remedy}")
