"""No blur at all: samples of the image."""

from __future__ import annotations

import torch

from miassr_monai.degradations.parameters import check_word
from miassr_monai.geometry import Scale
from miassr_monai.resampling import cubic_matrix, downsample, linear_matrix

__all__ = ["sampling_degradation"]

MATRICES = {"cubic": cubic_matrix, "linear": linear_matrix}


def sampling_degradation(image: torch.Tensor, scale: Scale, *, interpolation: str = "cubic") -> torch.Tensor:
    """Low-resolution image of a scanner whose pixels see a point each: sharp, and aliased.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        interpolation: between the HR samples, ``"cubic"`` (a = -0.75, as in OpenCV and PyTorch) or ``"linear"``.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    check_word("interpolation", interpolation, MATRICES)
    return downsample(image, scale, MATRICES[interpolation])
