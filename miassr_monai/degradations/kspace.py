"""Degradation by a smaller k-space."""

from __future__ import annotations

import math

import torch

from miassr_monai.degradations.parameters import check_number, check_word
from miassr_monai.geometry import Scale
from miassr_monai.resampling import downsample, sample_positions

__all__ = ["kspace_degradation"]

WINDOWS = ("none", "hann", "tukey")


def window_weight(frequency: torch.Tensor, window: str, alpha: float) -> torch.Tensor:
    """Weight of a window at frequencies in [0, 1), 1 being the largest that was measured."""
    taper = {"none": 0.0, "hann": 1.0, "tukey": alpha}[window]
    if taper == 0:
        return torch.ones_like(frequency)
    tapered = ((frequency - (1 - taper)) / taper).clamp(min=0)
    return 0.5 + 0.5 * torch.cos(math.pi * tapered)


def cosine_matrix(
    in_size: int,
    out_size: int,
    step_numerator: int,
    step_denominator: int,
    *,
    window: str,
    alpha: float,
    fraction: float,
) -> torch.Tensor:
    """Low-pass filter up to a fraction of the output grid's Nyquist frequency, sampled at the output positions.

    The input is a cosine series, as if mirrored at its borders, so that one border does not leak into the other; the
    series is cut off and evaluated between the samples. In float64.
    """
    check_word("window", window, WINDOWS)
    check_number("alpha", alpha, 0.0, 1.0)
    check_number("fraction", fraction, 0.1, 1.0)
    whole, part = sample_positions(out_size, step_numerator, step_denominator)
    # Of the cosines, k is the number of half waves along the axis.
    k = torch.arange(-(-in_size * step_denominator // step_numerator), dtype=torch.float64)
    relative = k * step_numerator / (in_size * step_denominator) / fraction
    k, relative = k[relative < 1], relative[relative < 1]
    frequency = math.pi * k / in_size
    analysis = torch.cos(frequency.unsqueeze(1) * (torch.arange(in_size, dtype=torch.float64) + 0.5)) * 2 / in_size
    analysis[0] /= 2
    weight = window_weight(relative, window, alpha)
    return torch.cos((whole + part + 0.5).unsqueeze(1) * frequency) @ (weight.unsqueeze(1) * analysis)


def kspace_degradation(
    image: torch.Tensor, scale: Scale, *, window: str = "none", alpha: float = 0.5, fraction: float = 1.0
) -> torch.Tensor:
    """Low-resolution image of an MR scanner that measures the centre of k-space only.

    Without a window it is as sharp as its grid allows, and edges ring (Gibbs), as they do in MR. The image is mirrored
    at its borders instead of wrapped.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        window: how the measured frequencies are filtered along each axis: ``"none"``, ``"hann"`` or ``"tukey"``.
        alpha: part of the frequencies that Tukey's window tapers, in [0, 1]; 1 is Hann's window.
        fraction: part of the frequencies of the LR grid that is measured, in [0.1, 1]; the others are zero, as where a
            scanner interpolates its images by zero filling.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    return downsample(image, scale, cosine_matrix, window=window, alpha=alpha, fraction=fraction)
