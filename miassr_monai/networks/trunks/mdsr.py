"""MDSR trunk: one body of residual blocks for several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import ResidualBlock, require_positive

__all__ = ["MDSR"]


class MDSR(Trunk):
    """MDSR trunk, an EDSR for several scales at once (Lim et al., CVPRW 2017), as MIASSR compares with it.

    What is done before the body is of each scale's own: here, as in MIASSR's experiments, the first convolution. A
    further first convolution is shared by all scales; the features are the sum of both. ``depth`` residual blocks with
    ReLU, a convolution, and a skip from the first features to the last follow.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: residual blocks.
        scales: whole scales that have a first convolution of their own, those of a :class:`SubPixelGenerator`; none for
            a network that does all scales alike.
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
        depth: int = 80,
        scales: Sequence[int] = (2, 3, 4),
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=2 * depth + 2, scales=scales)
        require_positive(depth=depth)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.ReLU(inplace=True)
        # The shared convolution, then that of each scale.
        self.head = conv(in_channels, width * (1 + len(scales)), 3, padding=1)
        self.body = nn.Sequential(
            *[ResidualBlock(spatial_dims, width, activation, residual_scale=residual_scale) for _ in range(depth)],
            conv(width, width, 3, padding=1),
        )
        self.channels_last()

    def forward(self, x: torch.Tensor, scale: int = 0) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``.

        Args:
            x: images.
            scale: which of ``scales`` they are to be upscaled by; for none of them, what is shared does alone.
        """
        parts = self.see(x).split(self.out_channels, 1)
        features = parts[0]
        for i, own in enumerate(self.scales):
            if own == scale:
                features = features + parts[i + 1]
        return features + self.body(features)
