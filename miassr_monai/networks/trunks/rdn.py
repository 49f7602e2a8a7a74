"""RDN trunk: residual dense blocks, all of which are seen at the end."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import ResidualDenseBlock, require_positive

__all__ = ["RDN"]


class RDN(Trunk):
    """RDN trunk (Zhang et al., CVPR 2018); with meta-upscale it is Meta-RDN (Hu et al., CVPR 2019).

    Two convolutions to ``width`` channels, ``depth`` residual dense blocks, the fusion of all their outputs, a
    convolution, and a skip from the first convolution to the last. The defaults are those of MIASSR's experiments;
    ArSSR's encoder has ``spatial_dims=3``, ``depth=8``, ``layers=3`` and ``growth=64``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: residual dense blocks.
        layers: layers of each.
        growth: channels that a layer adds.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 20,
        layers: int = 6,
        growth: int = 32,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=depth * layers + 3)
        require_positive(depth=depth, layers=layers, growth=growth)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.ReLU(inplace=True)
        self.head = conv(in_channels, width, 3, padding=1)
        self.second = conv(width, width, 3, padding=1)
        self.body = nn.ModuleList(
            ResidualDenseBlock(spatial_dims, width, growth, layers, activation) for _ in range(depth)
        )
        self.fusion = nn.Sequential(conv(depth * width, width, 1), conv(width, width, 3, padding=1))
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        first = self.see(x)
        features = self.second(first)
        outputs: list[torch.Tensor] = []
        for block in self.body:
            features = block(features)
            outputs.append(features)
        return first + self.fusion(torch.cat(outputs, 1))
