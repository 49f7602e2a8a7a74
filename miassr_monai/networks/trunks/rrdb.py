"""RRDB trunk: residual dense blocks within residual blocks."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import ResidualDenseBlock, require_positive

__all__ = ["RRDB"]


class ResidualInResidualDenseBlock(nn.Module):
    """Residual dense blocks in a row, added to their input."""

    def __init__(self, blocks: list[ResidualDenseBlock], residual_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(*blocks)
        self.residual_scale = residual_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, channels, *size)`` to the same shape."""
        return torch.add(x, self.body(x), alpha=self.residual_scale)


class RRDB(Trunk):
    """RRDB trunk, the generator of ESRGAN (Wang et al., ECCVW 2018).

    A convolution to ``width`` channels, ``depth`` times ``blocks`` residual dense blocks in a residual block, a
    convolution, and a skip from the first to the last. The defaults are those of MIASSR's experiments, which fuse by
    1 x 1 kernels; ESRGAN's own dense blocks have ``fusion_kernel_size=3``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: residual blocks of residual dense blocks.
        blocks: residual dense blocks in each.
        layers: layers of each dense block.
        growth: channels that a layer adds.
        fusion_kernel_size: of the convolution that ends a dense block, an odd number.
        negative_slope: of the LeakyReLU.
        residual_scale: factor of each residual branch, inner and outer.
        output_scale: factor of the features. Published without one; but each outer block multiplies its input by about
            ``1 + residual_scale``, which 23 of them do by 66, and training from scratch has to undo. Its inverse,
            0.015, lets it begin as the other trunks do.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 23,
        blocks: int = 3,
        layers: int = 4,
        growth: int = 32,
        fusion_kernel_size: int = 1,
        negative_slope: float = 0.2,
        residual_scale: float = 0.2,
        output_scale: float = 1.0,
    ) -> None:
        halo = depth * blocks * (layers + fusion_kernel_size // 2) + 2
        super().__init__(spatial_dims, in_channels, width, halo=halo)
        require_positive(depth=depth, blocks=blocks, layers=layers, growth=growth)
        conv = Conv[Conv.CONV, spatial_dims]
        activation = nn.LeakyReLU(negative_slope, inplace=True)

        def dense_blocks() -> list[ResidualDenseBlock]:
            return [
                ResidualDenseBlock(
                    spatial_dims,
                    width,
                    growth,
                    layers,
                    activation,
                    fusion_kernel_size=fusion_kernel_size,
                    residual_scale=residual_scale,
                )
                for _ in range(blocks)
            ]

        self.output_scale = output_scale
        self.head = conv(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(
            *[ResidualInResidualDenseBlock(dense_blocks(), residual_scale) for _ in range(depth)],
            conv(width, width, 3, padding=1),
        )
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        features = self.see(x)
        return self.output_scale * (features + self.body(features))
