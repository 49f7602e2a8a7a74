"""SRResNet trunk: residual blocks with batch normalisation."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import ResidualBlock, require_positive

__all__ = ["SRResNet"]


class SRResNet(Trunk):
    """SRResNet trunk, the generator of SRGAN (Ledig et al., CVPR 2017), as MIASSR compares with it.

    A convolution to ``width`` channels, ``depth`` residual blocks with batch normalisation and PReLU, a convolution,
    and a skip from the first to the last. As in MIASSR's experiments, the first kernel is 3 x 3 and all blocks share
    one PReLU.

    Normalised by its batch in training, a network makes an image that depends on the others of the batch, and the
    brightness of an image counts for less than it does without; in evaluation running means stand in, and parts of an
    image give what the whole gives.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: residual blocks.
        batch_norm: normalise over the batch, as published.

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
        batch_norm: bool = True,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=2 * depth + 2, batch_norm=batch_norm)
        require_positive(depth=depth)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.PReLU()
        self.head = conv(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(
            *[ResidualBlock(spatial_dims, width, activation, batch_norm=batch_norm) for _ in range(depth)],
            conv(width, width, 3, padding=1),
        )
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.see(x)
        return features + self.body(features)
