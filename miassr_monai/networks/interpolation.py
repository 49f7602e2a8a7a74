"""Interpolation as networks, to stand beside trained ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from miassr_monai.geometry import Scale, scale_per_axis
from miassr_monai.resampling import interpolate

__all__ = ["Bicubic", "Linear"]


class Interpolation(nn.Module):
    """Interpolation with the signature and the attributes of a :class:`Generator`.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
    """

    in_channels = 1
    anisotropic = True
    max_scale = float("inf")
    halo: int
    cubic: bool

    def __init__(self, spatial_dims: int = 2) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims

    def forward(self, x: torch.Tensor, scale: Scale, origin: Sequence[int] = (0, 0, 0)) -> torch.Tensor:
        """``(N, C, *size)`` to ``(N, C, *[floor(s n) for n in size])``, one scale or one for each axis.

        Of a part of an image that begins at LR sample ``origin``, to the HR samples that lie wholly within the part.
        """
        scales = scale_per_axis(scale, self.spatial_dims)
        return interpolate(x, list(scales), list(origin[: self.spatial_dims]), self.cubic)


class Bicubic(Interpolation):
    """Cubic convolution along each axis (a = -0.75 as in OpenCV and PyTorch): the baseline of every comparison."""

    halo = 3
    cubic = True


class Linear(Interpolation):
    """Linear interpolation along each axis: the baseline that never overshoots."""

    halo = 1
    cubic = False
