"""EDSR trunk: residual blocks without normalisation."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import ResidualBlock, require_positive

__all__ = ["EDSR"]


class EDSR(Trunk):
    """EDSR trunk without batch normalisation (Lim et al., CVPRW 2017; lite, as used by MIASSR, Zhu et al. 2021).

    A convolution to ``width`` channels, ``depth`` residual blocks, a convolution, and a skip from the first to the
    last. Weights start Kaiming-uniform (PyTorch's default, ``a = sqrt(5)``), with which the sum over residual blocks
    stays of the size of the input. The defaults are MIASSR's; EDSR as published has ``width=256``, ``depth=32``,
    ``negative_slope=0`` (a ReLU) and ``residual_scale=0.1``.

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
        require_positive(depth=depth)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.LeakyReLU(negative_slope, inplace=True)
        self.head = conv(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(
            *[ResidualBlock(spatial_dims, width, activation, residual_scale=residual_scale) for _ in range(depth)],
            conv(width, width, 3, padding=1),
        )
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.see(x)
        return features + self.body(features)
