"""Noise of MR, CT and ultrasound images, drawn with torch's generator on the device of the image."""

from __future__ import annotations

import torch

__all__ = ["gaussian_noise", "rician_noise", "speckle_noise"]


def gaussian_noise(image: torch.Tensor, level: float, *, generator: torch.Generator | None = None) -> torch.Tensor:
    """Add normal noise, independent from sample to sample.

    Args:
        image: any size, floating point.
        level: standard deviation, in the units of the image.
        generator: on the image's device; torch's own unless given.
    """
    noise = torch.randn(image.shape, dtype=image.dtype, device=image.device, generator=generator)
    return image + level * noise


def rician_noise(image: torch.Tensor, level: float, *, generator: torch.Generator | None = None) -> torch.Tensor:
    """Magnitude of a complex MR image with normal noise in both of its parts (Gudbjartsson & Patz 1995).

    Args:
        image: magnitudes of any size, floating point.
        level: standard deviation of the noise in each part, in the units of the image.
        generator: on the image's device; torch's own unless given.
    """
    real = gaussian_noise(image, level, generator=generator)
    return torch.hypot(real, gaussian_noise(torch.zeros_like(image), level, generator=generator))


def speckle_noise(image: torch.Tensor, level: float, *, generator: torch.Generator | None = None) -> torch.Tensor:
    """Add what is left of speckle after a scanner's log compression: normal noise that grows as the square root of the
    image (Loupas et al. 1989), independent from sample to sample.

    Args:
        image: any size, floating point; where it is negative there is no noise.
        level: standard deviation where the image is 1.
        generator: on the image's device; torch's own unless given.
    """
    return image + image.clamp(min=0).sqrt() * gaussian_noise(torch.zeros_like(image), level, generator=generator)
