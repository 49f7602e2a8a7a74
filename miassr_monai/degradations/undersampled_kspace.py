"""Degradation by k-space that is measured in part, with the noise of its receiver."""

from __future__ import annotations

import torch

from miassr_monai.degradations.kspace import kspace_degradation
from miassr_monai.degradations.parameters import check_number
from miassr_monai.geometry import Scale

__all__ = ["undersampled_kspace_degradation"]


def undersampled_kspace_degradation(
    image: torch.Tensor,
    scale: Scale,
    *,
    acceleration: int = 2,
    centre: float = 0.1,
    partial: float = 1.0,
    axis: int = 1,
    complex_noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """MR magnitude image of a k-space with lines left out along one axis, which are filled with zeros.

    At a scale above 1 the image is first made smaller by :func:`kspace_degradation`. The true image is taken to have no
    phase. Images wrap around at their borders, as they do in MR along the axis of phase encoding.

    Args:
        image: ``(..., H, W)``, magnitudes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        acceleration: every so many-th line is measured, in [1, 32], the one of frequency 0 among them. Ghosts appear
            ``1 / acceleration`` of the axis apart.
        centre: part of the lines, those in the middle, that is measured all the same, in [0, 1].
        partial: part of k-space that is measured, from one end on (partial Fourier), in [0.5, 1].
        axis: that of the lines' numbers (phase encoding): 0 along rows' numbers, 1 along columns' numbers.
        complex_noise: standard deviation of the normal noise in the real and in the imaginary part of an image whose
            k-space is measured completely, in [0, 1]; it is drawn in k-space, and so less where lines are missing.
        generator: of the noise, on the image's device; torch's own unless given.

    Returns:
        Each of the axes with ``floor(size / scale)`` samples.
    """
    check_number("acceleration", acceleration, 1, 32)
    check_number("centre", centre, 0.0, 1.0)
    check_number("partial", partial, 0.5, 1.0)
    check_number("axis", axis, 0, 1)
    check_number("complex_noise", complex_noise, 0.0, 1.0)
    small = kspace_degradation(image, scale)
    if not small.is_floating_point():
        small = small.float()
    along = int(axis) - 2
    spectrum = torch.fft.fft2(small, norm="ortho")
    if complex_noise:
        parts = torch.randn((*spectrum.shape, 2), dtype=small.dtype, device=small.device, generator=generator)
        spectrum = spectrum + complex_noise * torch.view_as_complex(parts)
    measured = measured_lines(small.shape[along], int(acceleration), centre, partial).to(small)
    return torch.fft.ifft2(spectrum * (measured if along == -1 else measured.unsqueeze(1)), norm="ortho").abs()


def measured_lines(count: int, acceleration: int, centre: float, partial: float) -> torch.Tensor:
    """Which of ``count`` lines, in the order of the FFT, are measured."""
    frequency = torch.fft.fftfreq(count, 1 / count).round().long()
    lines = (frequency % acceleration == 0) | (2 * frequency.abs() < centre * count)
    # From the lowest frequency on.
    return lines & (frequency - frequency.min() < round(partial * count))
