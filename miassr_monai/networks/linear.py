"""Bilinear interpolation as a network, to stand beside trained ones."""

from __future__ import annotations

import torch
from torch import nn

from miassr_monai.resampling import linear_upscale

__all__ = ["Linear"]


class Linear(nn.Module):
    """Bilinear interpolation with the signature of a generator: the baseline that never overshoots.

    Attributes:
        halo: how many LR pixels around its own an output depends on.
        anisotropic: rows and columns may have different scales.
    """

    halo = 1
    anisotropic = True

    def forward(
        self, x: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """``(N, C, h, w)`` to ``(N, C, floor(s h), floor(s w))``, one scale or one for each axis.

        Of a part of an image that begins at LR pixel ``origin``, to the HR pixels that lie wholly within the part.
        """
        return linear_upscale(x, scale, origin)
