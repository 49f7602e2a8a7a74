"""Bicubic interpolation as a network, to stand beside trained ones."""

from __future__ import annotations

import torch
from torch import nn

from miassr_monai.resampling import bicubic_upscale

__all__ = ["Bicubic"]


class Bicubic(nn.Module):
    """Bicubic interpolation with the signature of a generator: the baseline of every comparison."""

    def forward(self, x: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
        """``(N, C, h, w)`` to ``(N, C, floor(s h), floor(s w))``, one scale or one for each axis."""
        return bicubic_upscale(x, scale)
