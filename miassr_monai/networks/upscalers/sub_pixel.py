"""Sub-pixel convolution: features at low resolution to an image that is a whole number of times larger."""

from __future__ import annotations

import torch
from monai.networks.blocks import SubpixelUpsample
from monai.networks.layers import Conv, Norm
from torch import nn

__all__ = ["SubPixel"]


def prime_factors(number: int) -> list[int]:
    """The primes whose product is ``number``, in order."""
    factors: list[int] = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


class SubPixel(nn.Module):
    """Upscale features by a whole number (Shi et al., CVPR 2016), as EDSR and its successors end.

    For each prime factor ``f`` of the scale, so twice for x4, a convolution to ``f * f`` times as many channels and a
    pixel shuffle; then a convolution to the image.

    Args:
        in_channels: channels of the features.
        out_channels: channels of the image.
        scale: whole number of HR pixels per LR pixel, at least 2.
        batch_norm: normalise over the batch after each pixel shuffle, as SRResNet does.
    """

    def __init__(self, in_channels: int, out_channels: int = 1, scale: int = 2, *, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in prime_factors(scale):
            layers.append(SubpixelUpsample(2, in_channels, scale_factor=factor, apply_pad_pool=False))
            if batch_norm:
                layers.append(Norm[Norm.BATCH, 2](in_channels))
        self.layers = nn.Sequential(*layers, Conv[Conv.CONV, 2](in_channels, out_channels, 3, padding=1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, h, w)`` to ``(N, out_channels, scale * h, scale * w)``."""
        return self.layers(features)
