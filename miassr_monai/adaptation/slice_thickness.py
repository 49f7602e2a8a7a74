"""How thick the slices of a scan are, from what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.optimize import brentq

from miassr_monai.degradations import parse_degradation

__all__ = ["estimate_slice_thickness"]

# Where a thickness is looked for, in distances between slices, and how closely.
LEAST, MOST, CLOSE = 0.3, 2.0, 0.005
# Slices, and coarse pixels in their plane, that a second difference and a mean of these need.
FEWEST = 8
# How much farther apart than the pixels of their plane slices must be, for these to show what is finer than them.
FINER = 1.5


def estimate_slice_thickness(
    volume: torch.Tensor, spacing: Sequence[float], slice_axis: int, profile: str = "gaussian"
) -> float:
    """Thickness, in mm, with which a scan is as coarse across its slices as these are made in their plane.

    The slices are made coarse along one axis of their plane, by the profile and at the distance of the slices. In a
    body that is alike in all directions that axis and the one across the slices then have the same power spectrum,
    aliasing and noise included, if the thickness is that of the slices: to exchange the axes changes nothing. What is
    compared is the mean square of the frequency (second over first differences), for both axes of the plane.

    Args:
        volume: ``(C, h, w, d)``, in any unit.
        spacing: of its axes, in mm.
        slice_axis: spatial axis across the slices.
        profile: ``"gaussian"``, ``"box"`` or ``"rf"``, see :class:`miassr_monai.prediction.SliceModel`.

    Raises:
        ValueError: when the volume does not tell.
    """
    distance = spacing[slice_axis]
    plane = [axis for axis in range(3) if axis != slice_axis]
    across = volume.movedim(slice_axis + 1, 1)
    coarsest = max(spacing[axis] for axis in plane)
    room = min(len(across[0]), *(volume.shape[axis + 1] * spacing[axis] / distance for axis in plane))
    if distance < FINER * coarsest or room < FEWEST:
        raise ValueError(
            f"the thickness of slices {distance:.3g} mm apart, with pixels of {coarsest:.3g} mm, cannot be estimated: "
            f"that takes {FEWEST} of them, {FINER:g} times as far apart as their pixels. Give it in mm."
        )

    def excess(part: float) -> float:
        """How much more detail there is across the slices than along the axes that are made coarse."""
        see = parse_degradation("slice_profile", profile=profile, thickness=part)
        logs = []
        for number, axis in enumerate(plane, 2):
            coarse = see(across.movedim(number, -1), (1.0, distance / spacing[axis]))
            logs.append(math.log(square_frequency(coarse, 1) / square_frequency(coarse, -1)))
        return sum(logs) / len(logs)

    try:
        return distance * brentq(excess, LEAST, MOST, xtol=CLOSE)
    # Without a change of sign, or of what is the same everywhere.
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"no thickness between {LEAST * distance:.3g} and {MOST * distance:.3g} mm makes the slices as coarse in "
            "their plane as across it: give --slice-thickness in mm."
        ) from error


def square_frequency(volume: torch.Tensor, axis: int) -> float:
    """Mean square of the frequency along an axis, up to a factor: energy of the second over that of the first
    differences."""
    first = volume.diff(dim=axis)
    return first.diff(dim=axis).square().mean().item() / first.square().mean().item()
