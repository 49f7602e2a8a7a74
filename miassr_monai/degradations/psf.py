"""Degradation by a Gaussian point-spread function."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import conv1d

from miassr_monai.degradations.parameters import check_number
from miassr_monai.geometry import Scale
from miassr_monai.resampling import downsample, fold_taps, sample_positions

__all__ = ["psf_degradation"]

# Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# The fourth derivative of a cubic B-spline: impulses at its knots -2 .. 2.
SPLINE_KNOTS = (1.0, -4.0, 6.0, -4.0, 1.0)

# The coefficients of a cubic spline through given samples are these convolved with sqrt(3) (sqrt(3) - 2)^|k| (Unser et
# al. 1993), which is below 1e-11 beyond 20 samples.
PREFILTER_RADIUS = 20


def smoothed_spline(distance: torch.Tensor, sigma: float) -> torch.Tensor:
    """Cubic B-spline convolved with a Gaussian, in closed form.

    The spline is a sum of truncated powers ``(x - knot)^3 / 3!``; convolved with a Gaussian each is a repeated integral
    of its distribution function, ``n I_n = x I_(n-1) + sigma^2 I_(n-2)``.
    """
    knots = torch.arange(-2.0, 3.0, dtype=torch.float64)
    x = distance.unsqueeze(-1) - knots
    density = torch.exp(-0.5 * (x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    step = torch.special.ndtr(x / sigma)
    ramp = x * step + sigma**2 * density
    second = (x * ramp + sigma**2 * step) / 2
    third = (x * second + sigma**2 * ramp) / 3
    return third @ knots.new_tensor(SPLINE_KNOTS)


def gaussian_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, *, fwhm: float
) -> torch.Tensor:
    """Cubic spline through the samples, convolved with a Gaussian, at the output positions, in float64.

    The interpolation has no width of its own (its second moment is zero), so the kernel's variance is that of the
    Gaussian at every sub-sample position; it sums to one and keeps a ramp a ramp. ``fwhm`` is in output samples.
    """
    check_number("fwhm", fwhm, 0.05, 8.0)
    sigma = fwhm * step_numerator / step_denominator / FWHM_PER_SIGMA
    radius = math.ceil(6.0 * sigma) + 2
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    offset = torch.arange(-radius, radius + 2, dtype=torch.int64)
    coefficient_weight = smoothed_spline(offset - fraction.unsqueeze(1), sigma).unsqueeze(1)
    decay = torch.arange(-PREFILTER_RADIUS, PREFILTER_RADIUS + 1, dtype=torch.float64).abs()
    prefilter = math.sqrt(3) * (math.sqrt(3) - 2) ** decay
    weight = conv1d(coefficient_weight, prefilter.view(1, 1, -1), padding=2 * PREFILTER_RADIUS).squeeze(1)
    offset = torch.arange(-radius - PREFILTER_RADIUS, radius + PREFILTER_RADIUS + 2, dtype=torch.int64)
    return fold_taps(whole.unsqueeze(1) + offset, weight / weight.sum(1, keepdim=True), in_size)


def psf_degradation(image: torch.Tensor, scale: Scale, *, fwhm: float | Sequence[float] = 1.0) -> torch.Tensor:
    """Low-resolution image of a scanner with a Gaussian point-spread function, which is then sampled.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        fwhm: full width at half maximum in LR samples, in [0.05, 8], or one for each axis. Below 0.6 the image aliases;
            above 1.5 it is much softer than its grid.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    return downsample(image, scale, gaussian_matrix, fwhm=fwhm)
