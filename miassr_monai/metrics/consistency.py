"""Consistency: does a super-resolved image, degraded again, give the image that it was made from?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from miassr_monai.metrics.conjugate_gradients import conjugate_gradients
from miassr_monai.resampling import bicubic_downsample, interpolate

__all__ = ["back_project", "consistency_rmse", "degrade_again"]

Degradation = Callable[[torch.Tensor, tuple[float, ...]], torch.Tensor]


def in_plane_factors(factors: Sequence[float], slice_axis: int) -> tuple[float, float]:
    """Factors of the two axes of a slice."""
    first, second = (f for axis, f in enumerate(factors) if axis != slice_axis)
    return first, second


def degrade_again(
    fine: torch.Tensor,
    factors: Sequence[float],
    slice_axis: int | None,
    degradation: Degradation,
    across: Degradation = bicubic_downsample,
) -> torch.Tensor:
    """Degrade a super-resolved volume to the grid that it was made from.

    Across the slices it is degraded by ``across``, in their plane by ``degradation``; a volume that was not made slice
    by slice is degraded by the latter along all axes.

    Args:
        fine: ``(C, H, W, D)``.
        factors: HR samples per LR sample along each axis.
        slice_axis: spatial axis across the slices, 0, 1 or 2; ``None`` for a volume that has no slices.
        degradation: image ``(..., *size)`` and scales of its last axes to an LR image.
        across: the same, for the axis across the slices: what slices see; bicubic sampling unless given.

    Returns:
        ``(C, floor(H / s), floor(W / s), floor(D / s))``, each axis with its factor. Where ``s h`` is no whole number
        that may lack the last sample of the input.
    """
    if slice_axis is None:
        return degradation(fine, tuple(factors))
    planes = fine.movedim(slice_axis + 1, 1)
    in_plane = in_plane_factors(factors, slice_axis)
    if factors[slice_axis] > 1:
        planes = across(planes.movedim(1, -1), (1.0, factors[slice_axis])).movedim(-1, 1)
    planes = degradation(planes, in_plane)
    return planes.movedim(1, slice_axis + 1)


def chunks(
    coarse: torch.Tensor, fine: torch.Tensor, factors: Sequence[float], slice_axis: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Coarse and fine slices that belong together: one at a time, or all where slices depend on one another."""
    if slice_axis is None or factors[slice_axis] > 1:
        return iter([(coarse, fine)])
    return zip(coarse.split(1, slice_axis + 1), fine.split(1, slice_axis + 1), strict=True)


def difference(coarse: torch.Tensor, fine: torch.Tensor, *again_by: Any) -> torch.Tensor:
    """What ``coarse`` is beyond ``fine`` degraded again, as far as that reaches."""
    again = degrade_again(fine, *again_by)
    return coarse[tuple(slice(n) for n in again.shape)] - again


def consistency_rmse(
    coarse: torch.Tensor,
    fine: torch.Tensor,
    factors: Sequence[float],
    slice_axis: int | None,
    degradation: Degradation,
    across: Degradation = bicubic_downsample,
) -> float:
    """Root mean squared difference between a volume and what was super-resolved from it, degraded again.

    Args:
        coarse: the input ``(C, h, w, d)``.
        fine: the output ``(C, H, W, D)`` in the same units.
        factors: HR samples per LR sample along each axis.
        slice_axis: see :func:`degrade_again`.
        degradation, across: see :func:`degrade_again`.
    """
    total, count = 0.0, 0
    for small, large in chunks(coarse, fine, factors, slice_axis):
        residual = difference(small, large, factors, slice_axis, degradation, across)
        total += residual.double().square().sum().item()
        count += residual.numel()
    return (total / count) ** 0.5


def back_project(
    coarse: torch.Tensor,
    fine: torch.Tensor,
    factors: Sequence[float],
    slice_axis: int | None,
    degradation: Degradation,
    across: Degradation = bicubic_downsample,
    *,
    iterations: int = 4,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Correct a super-resolved volume so that it agrees with its input (iterated back-projection, Irani & Peleg 1991).

    What the input is beyond the output degraded again is added to the output, interpolated, ``iterations`` times. At
    scale 1 along all axes there is no interpolation, and :func:`conjugate_gradients` corrects instead.

    Args:
        coarse: the input ``(C, h, w, d)``.
        fine: the output ``(C, H, W, D)`` in the same units; it is changed in place.
        factors: HR samples per LR sample along each axis.
        slice_axis: see :func:`degrade_again`.
        degradation, across: see :func:`degrade_again`.
        iterations: corrections, one after the other.
        device: where conjugate gradients run; where the volumes are, unless given.

    Returns:
        ``fine``.
    """
    for small, large in chunks(coarse, fine, factors, slice_axis):
        if max(factors) == 1:
            again = partial(
                degrade_again, factors=factors, slice_axis=slice_axis, degradation=degradation, across=across
            )
            large.copy_(conjugate_gradients(small.to(device), large.to(device), again))
            continue
        for _ in range(iterations):
            residual = difference(small, large, factors, slice_axis, degradation, across)
            full = torch.zeros_like(small)
            full[tuple(slice(n) for n in residual.shape)] = residual
            large += interpolate(full, list(factors), [0, 0, 0], cubic=True)
    return fine
