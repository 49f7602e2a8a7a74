"""SRDenseNet trunk: dense blocks, all of which are seen at the end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import dense_block, require_positive

__all__ = ["SRDenseNet"]


class SRDenseNet(Trunk):
    """SRDenseNet trunk with all skip connections (Tong et al., ICCV 2017), as MIASSR compares with it.

    A convolution to ``growth`` channels, ``depth`` dense blocks that each add ``layers * growth`` channels to all that
    came before, and a bottleneck of all blocks' outputs to ``width`` channels. Training keeps the input of every layer,
    which takes much memory.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: dense blocks.
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
        width: int = 256,
        depth: int = 8,
        layers: int = 8,
        growth: int = 16,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=depth * layers + 1)
        require_positive(depth=depth, layers=layers, growth=growth)
        conv = Conv[Conv.CONV, spatial_dims]
        self.head = conv(in_channels, growth, 3, padding=1)
        # A block's output has all before it in its first channels: the blocks in a row are one.
        self.body = dense_block(spatial_dims, growth, growth, depth * layers, nn.ReLU(inplace=True))
        self.seen = [growth * (1 + block * layers) for block in range(depth + 1)]
        self.bottleneck = conv(sum(self.seen), width, 1)
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.body(self.see(x))
        # The bottleneck sees the first channels in every block's output; adding its weights spares repeating them.
        parts = self.bottleneck.weight.split_with_sizes(self.seen, 1)
        weight = parts[len(parts) - 1]
        for part in parts[:-1]:
            weight = weight + F.pad(part, [0, 0] * self.spatial_dims + [0, weight.size(1) - part.size(1)])
        if self.spatial_dims == 3:
            return F.conv3d(features, weight, self.bottleneck.bias)
        return F.conv2d(features, weight, self.bottleneck.bias)
