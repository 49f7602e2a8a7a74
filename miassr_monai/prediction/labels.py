"""Label maps on the grid of a super-resolved image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.data import MetaTensor

from miassr_monai.geometry import nearest_fraction
from miassr_monai.prediction.images import on_fine_grid
from miassr_monai.prediction.plan import Plan, make_plan
from miassr_monai.resampling import apply_matrices, linear_matrix, nearest_upscale

__all__ = ["upscale_labels"]


def upscale_labels(
    labels: MetaTensor,
    *,
    scale: float | Sequence[float] | None = None,
    spacing: float | Sequence[float] | None = None,
    slice_axis: int | None = None,
    spatial_dims: int = 2,
    one_hot: bool = False,
) -> MetaTensor:
    """A label map on the grid that :class:`Predictor` gives an image of the same grid.

    Args:
        labels: ``(C, h, w)`` or ``(C, h, w, d)``; any values, any type.
        scale, spacing, slice_axis: as of the image.
        spatial_dims: what the image's network sees: 2 for slices, 3 for volumes.
        one_hot: interpolate each label's indicator linearly and take the label with the largest, at a tie the lowest,
            instead of the nearest voxel's label.

    Returns:
        ``(C, floor(s h), floor(s w)[, floor(s d)])`` of the same type, with none but the input's values.

    Raises:
        ValueError: when the scale or the spacing cannot be worked on.
    """
    plan = make_plan(labels, scale=scale, spacing=spacing, slice_axis=slice_axis, spatial_dims=spatial_dims)
    coarse = labels.as_tensor().reshape(-1, *plan.shape)
    fine = largest_indicator(coarse, plan) if one_hot else nearest_upscale(coarse, plan.factors)
    return on_fine_grid(fine, labels, plan)


def largest_indicator(coarse: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Each voxel's value is the one whose indicator, interpolated linearly, is the largest."""
    matrices = []
    for size, fine_size, factor in zip(plan.shape, plan.output_shape, plan.factors, strict=True):
        p, q = nearest_fraction(factor)
        matrices.append(None if p == q else linear_matrix(size, fine_size, q, p))
    fine = coarse.new_zeros((coarse.size(0), *plan.output_shape))
    best = torch.zeros(fine.shape, device=coarse.device)
    for label in coarse.unique():
        share = apply_matrices((coarse == label).float(), matrices)
        won = share > best
        fine[won], best[won] = label, share[won]
    return fine
