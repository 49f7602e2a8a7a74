"""EDSR trunk: features of an image at the resolution of the image."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk

__all__ = ["EDSR"]


class ResidualBlock(nn.Module):
    """Convolution, LeakyReLU, convolution, added to the input."""

    def __init__(self, spatial_dims: int, channels: int, negative_slope: float, residual_scale: float) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.body = nn.Sequential(
            conv(channels, channels, 3, padding=1),
            nn.LeakyReLU(negative_slope, inplace=True),
            conv(channels, channels, 3, padding=1),
        )
        self.residual_scale = residual_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, self.body(x), alpha=self.residual_scale)


class EDSR(Trunk):
    """EDSR-lite trunk without batch normalisation (Lim et al., CVPRW 2017; as used by MIASSR, Zhu et al. 2021).

    A convolution to ``width`` channels, ``depth`` residual blocks, a convolution, and a skip from the first to the
    last. Weights start Kaiming-uniform (PyTorch's default, ``a = sqrt(5)``), with which the sum over residual blocks
    stays of the size of the input.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: residual blocks.
        negative_slope: of the LeakyReLU.
        residual_scale: factor of each residual branch.

    Raises:
        ValueError: when ``width`` or ``depth`` is below 1.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 16,
        negative_slope: float = 0.2,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=2 * depth + 2)
        if depth < 1:
            raise ValueError(f"depth must be at least 1 residual block, got {depth}.")
        conv = Conv[Conv.CONV, spatial_dims]
        self.head = conv(in_channels, width, 3, padding=1)
        blocks = [ResidualBlock(spatial_dims, width, negative_slope, residual_scale) for _ in range(depth)]
        self.body = nn.Sequential(*blocks, conv(width, width, 3, padding=1))
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.see(x)
        return features + self.body(features)
