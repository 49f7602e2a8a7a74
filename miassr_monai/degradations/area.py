"""Degradation by the mean over each LR pixel's area."""

from __future__ import annotations

import math

import torch

from miassr_monai.degradations.parameters import check_number
from miassr_monai.geometry import Scale
from miassr_monai.resampling import downsample, fold_taps, sample_positions

__all__ = ["area_degradation"]


def box_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, *, thickness: float = 1.0
) -> torch.Tensor:
    """Mean of the input over an interval about each output position, in float64.

    An input sample has one value from face to face. The interval is ``thickness`` output samples long.
    """
    check_number("thickness", thickness, 0.1, 4.0)
    half = thickness * step_numerator / step_denominator / 2
    radius = math.ceil(half) + 1
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    offset = torch.arange(-radius, radius + 2, dtype=torch.int64)
    centre = offset - fraction.unsqueeze(1)
    overlap = (centre + 0.5).clamp(max=half) - (centre - 0.5).clamp(min=-half)
    return fold_taps(whole.unsqueeze(1) + offset, overlap.clamp(min=0) / (2 * half), in_size)


def area_degradation(image: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Low-resolution image whose pixels are the means of the image over their areas, exact at every rational scale.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    return downsample(image, scale, box_matrix)
