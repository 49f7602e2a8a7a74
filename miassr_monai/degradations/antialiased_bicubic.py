"""Degradation by bicubic down-sampling with anti-aliasing."""

from __future__ import annotations

import math

import torch

from miassr_monai.geometry import Scale
from miassr_monai.resampling import downsample, fold_taps, keys_kernel, sample_positions

__all__ = ["antialiased_bicubic_degradation"]


def stretched_cubic_matrix(in_size: int, out_size: int, step_numerator: int, step_denominator: int) -> torch.Tensor:
    """Cubic convolution kernel (a = -1/2), as wide as the output samples ask for, at the output positions."""
    step = step_numerator / step_denominator
    radius = math.ceil(2.0 * step)
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    offset = torch.arange(-radius, radius + 2, dtype=torch.int64)
    weight = keys_kernel((offset - fraction.unsqueeze(1)).abs() / step, -0.5)
    return fold_taps(whole.unsqueeze(1) + offset, weight / weight.sum(1, keepdim=True), in_size)


def antialiased_bicubic_degradation(image: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Low-resolution image by bicubic down-sampling with anti-aliasing, as by MATLAB's ``imresize`` and Pillow.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    return downsample(image, scale, stretched_cubic_matrix)
