"""Degradation by the profile of a scanner's slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from miassr_monai.degradations.area import box_matrix
from miassr_monai.degradations.parameters import check_number, check_word
from miassr_monai.degradations.psf import gaussian_matrix
from miassr_monai.geometry import Scale
from miassr_monai.resampling import downsample, fold_taps, sample_positions

__all__ = ["slice_profile_degradation"]

# Of the RF pulse: its length times its bandwidth.
TIME_BANDWIDTH = 4.0


def pulse_profile(position: torch.Tensor) -> torch.Tensor:
    """Profile of a slice that a sinc pulse under a Hann window excites, at positions in slice thicknesses.

    At small flip angles the profile is the pulse's Fourier transform (Pauly et al. 1989). Beyond 1.5 thicknesses, where
    less than a thousandth is left, it is zero.
    """
    time = (torch.arange(128, dtype=torch.float64) + 0.5) / 128 - 0.5
    pulse = torch.special.sinc(TIME_BANDWIDTH * time) * (0.5 + 0.5 * torch.cos(2 * math.pi * time)) * TIME_BANDWIDTH
    profile = torch.cos(2 * math.pi * TIME_BANDWIDTH * position.unsqueeze(-1) * time) @ pulse / len(time)
    return torch.where(position.abs() < 1.5, profile, torch.zeros_like(profile))


def pulse_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, *, thickness: float
) -> torch.Tensor:
    """Mean of the input under the profile of an RF pulse about each output position, in float64.

    An input sample has one value from face to face, over which the profile is integrated (midpoint rule).
    """
    check_number("thickness", thickness, 0.1, 4.0)
    width = thickness * step_numerator / step_denominator
    radius = math.ceil(1.5 * width) + 1
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    offset = torch.arange(-radius, radius + 2, dtype=torch.int64)
    inside = (torch.arange(8, dtype=torch.float64) + 0.5) / 8 - 0.5
    position = (offset - fraction.unsqueeze(1)).unsqueeze(-1) + inside
    weight = pulse_profile(position / width).mean(-1)
    return fold_taps(whole.unsqueeze(1) + offset, weight / weight.sum(1, keepdim=True), in_size)


def gaussian_profile_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, *, thickness: float
) -> torch.Tensor:
    """Mean of the input under a Gaussian whose full width at half maximum is the thickness."""
    check_number("thickness", thickness, 0.1, 4.0)
    return gaussian_matrix(in_size, out_size, step_numerator, step_denominator, fwhm=thickness)


PROFILES = {"box": box_matrix, "gaussian": gaussian_profile_matrix, "rf": pulse_matrix}


def slice_profile_degradation(
    image: torch.Tensor, scale: Scale, *, thickness: float | Sequence[float] = 1.0, profile: str = "box"
) -> torch.Tensor:
    """Image of thick slices: the mean over each slice, weighted by its profile.

    Slices lie along one axis, so scales such as ``(1, 4)`` are meant; with more than one axis it is applied to each.

    Args:
        image: any number of leading axes.
        scale: slice spacing in HR samples, at least 1: one number for the last two axes, or one for each of the last
            axes.
        thickness: of a slice, in slice spacings, in [0.1, 4], or one for each axis: below 1 there are gaps, above 1 the
            slices overlap.
        profile: ``"box"``, ``"gaussian"`` (its full width at half maximum is the thickness) or ``"rf"``, what a sinc
            pulse under a Hann window with a time-bandwidth product of 4 excites at small flip angles.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    check_word("profile", profile, PROFILES)
    return downsample(image, scale, PROFILES[profile], thickness=thickness)
