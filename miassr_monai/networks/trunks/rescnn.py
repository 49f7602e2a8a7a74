"""ResCNN trunk: plain convolutions with a few long skips."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import require_positive

__all__ = ["ResCNN"]


class ResCNN(Trunk):
    """ResCNN trunk (Du et al., Neurocomputing 2020), as ArSSR has it (Wu et al. 2021), less the last layer.

    A convolution to ``width`` channels and ``depth`` blocks of ``layers`` convolutions, each block added to its input;
    a ReLU after every convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: blocks.
        layers: convolutions of each.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, *, width: int = 64, depth: int = 3, layers: int = 6
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=depth * layers + 1)
        require_positive(depth=depth, layers=layers)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.ReLU(inplace=True)
        self.head = conv(in_channels, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(*[m for _ in range(layers) for m in (conv(width, width, 3, padding=1), activation)])
            for _ in range(depth)
        )
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.see(x).relu()
        for block in self.body:
            features = features + block(features)
        return features
