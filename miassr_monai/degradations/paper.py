"""The degradation of the MIASSR paper."""

from __future__ import annotations

import torch

from miassr_monai.geometry import Scale
from miassr_monai.resampling import cubic_matrix, downsample

__all__ = ["paper_degradation"]


def binomial_matrix(size: int) -> torch.Tensor:
    """Blur of an axis by [1/4, 1/2, 1/4], ``(size, size)``; the border is mirrored without repeating its sample."""
    index = torch.arange(size)
    last = max(size - 1, 0)
    blur = torch.zeros([size, size], dtype=torch.float64)
    for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        mirrored = (last - (last - (index + offset).abs()).abs()).clamp(min=0)
        blur[index, mirrored] += weight
    return blur


def paper_matrix(in_size: int, out_size: int, step_numerator: int, step_denominator: int) -> torch.Tensor:
    """Cubic interpolation at the output positions, then the blur of the output samples."""
    return binomial_matrix(out_size) @ cubic_matrix(in_size, out_size, step_numerator, step_denominator)


def paper_degradation(image: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Low-resolution image as the MIASSR paper makes it (Zhu et al. 2021), for comparisons with published figures.

    Bicubic down-sampling without anti-aliasing, which aliases, then OpenCV's ``GaussianBlur(image, (3, 3), 0)`` of the
    small image, which is [1/4, 1/2, 1/4] along each axis.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    return downsample(image, scale, paper_matrix)
