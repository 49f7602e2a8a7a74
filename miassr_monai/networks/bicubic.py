"""Bicubic interpolation as a network, to stand beside trained ones."""

from __future__ import annotations

import torch
from torch import nn

from miassr_monai.resampling import bicubic_upscale

__all__ = ["Bicubic"]


class Bicubic(nn.Module):
    """Bicubic interpolation with the signature of a generator: the baseline of every comparison.

    Its attributes are those of a :class:`Generator`.
    """

    spatial_dims = 2
    in_channels = 1
    anisotropic = True
    max_scale = float("inf")
    halo = 3

    def forward(
        self, x: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """``(N, C, h, w)`` to ``(N, C, floor(s h), floor(s w))``, one scale or one for each axis.

        Of a part of an image that begins at LR pixel ``origin``, to the HR pixels that lie wholly within the part.
        """
        return bicubic_upscale(x, scale, origin)
