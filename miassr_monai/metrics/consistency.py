"""Consistency: does a super-resolved image, degraded again, give the image that it was made from?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from miassr_monai.resampling import bicubic_downsample, bicubic_upscale

__all__ = ["back_project", "consistency_rmse", "degrade_again"]

Degradation = Callable[[torch.Tensor, "float | tuple[float, float]"], torch.Tensor]


def degrade_again(fine: torch.Tensor, factors: Sequence[float], slice_axis: int, degradation: Degradation):
    """Degrade a super-resolved volume to the grid that it was made from.

    Across the slices it is sampled by bicubic interpolation, in their plane degraded by ``degradation``.

    Args:
        fine: ``(C, H, W, D)``.
        factors: HR samples per LR sample along each axis.
        slice_axis: spatial axis across the slices.
        degradation: image ``(..., H, W)`` and scale to an LR image.
    """
    planes = fine.movedim(slice_axis + 1, 1)
    in_plane = tuple(f for axis, f in enumerate(factors) if axis != slice_axis)
    if factors[slice_axis] > 1:
        planes = bicubic_downsample(planes.movedim(1, -1), (1.0, factors[slice_axis])).movedim(-1, 1)
    if max(in_plane) > 1:
        planes = degradation(planes, in_plane)
    return planes.movedim(1, slice_axis + 1)


def chunks(coarse: torch.Tensor, fine: torch.Tensor, slice_axis: int, whole: bool) -> Iterator[tuple]:
    """Coarse and fine slices that belong together: one at a time, or all where slices depend on one another."""
    if whole:
        yield coarse, fine
        return
    yield from zip(coarse.split(1, slice_axis + 1), fine.split(1, slice_axis + 1), strict=True)


def difference(coarse: torch.Tensor, fine: torch.Tensor, factors, slice_axis: int, degradation) -> torch.Tensor:
    """What ``coarse`` is beyond ``fine`` degraded again, zero where the degraded image does not reach."""
    again = degrade_again(fine, factors, slice_axis, degradation)
    residual = torch.zeros_like(coarse)
    common = tuple(slice(0, n) for n in again.shape)
    residual[common] = coarse[common] - again
    return residual


def consistency_rmse(
    coarse: torch.Tensor, fine: torch.Tensor, factors: Sequence[float], slice_axis: int, degradation: Degradation
) -> float:
    """Root mean squared difference between a volume and what was super-resolved from it, degraded again.

    Args:
        coarse: the input ``(C, h, w, d)``.
        fine: the output ``(C, H, W, D)`` in the same units.
        factors: HR samples per LR sample along each axis.
        slice_axis: spatial axis across the slices.
        degradation: image ``(..., H, W)`` and scale to an LR image.
    """
    total = 0.0
    for small, large in chunks(coarse, fine, slice_axis, factors[slice_axis] > 1):
        total += difference(small, large, factors, slice_axis, degradation).double().square().sum().item()
    return (total / coarse.numel()) ** 0.5


def back_project(
    coarse: torch.Tensor,
    fine: torch.Tensor,
    factors: Sequence[float],
    slice_axis: int,
    degradation: Degradation,
    *,
    iterations: int = 4,
) -> torch.Tensor:
    """Correct a super-resolved volume so that it agrees with its input (iterated back-projection, Irani & Peleg 1991).

    What the input is beyond the output degraded again is added to the output, interpolated, ``iterations`` times.

    Args:
        coarse: the input ``(C, h, w, d)``.
        fine: the output ``(C, H, W, D)`` in the same units; it is changed in place.
        factors: HR samples per LR sample along each axis.
        slice_axis: spatial axis across the slices.
        degradation: image ``(..., H, W)`` and scale to an LR image.
        iterations: corrections, one after the other.

    Returns:
        ``fine``.
    """
    in_plane = tuple(f for axis, f in enumerate(factors) if axis != slice_axis)
    for small, large in chunks(coarse, fine, slice_axis, factors[slice_axis] > 1):
        for _ in range(iterations):
            residual = difference(small, large, factors, slice_axis, degradation).movedim(slice_axis + 1, 1)
            correction = bicubic_upscale(residual, in_plane)
            correction = bicubic_upscale(correction.movedim(1, -1), (1.0, factors[slice_axis])).movedim(-1, 1)
            large += correction.movedim(1, slice_axis + 1)
    return fine
