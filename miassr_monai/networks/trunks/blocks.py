"""What several trunks are made of."""

from __future__ import annotations

import torch
from monai.networks.blocks.denseblock import DenseBlock
from monai.networks.layers import Conv, Norm
from torch import nn

__all__ = ["ResidualBlock", "ResidualDenseBlock", "dense_block", "require_positive"]


def require_positive(**sizes: int) -> None:
    """Refuse sizes of a network that are below 1, by name.

    Raises:
        ValueError: when one is.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}.")


class ResidualBlock(nn.Module):
    """Convolution, activation, convolution, added to the input; each convolution normalised if wanted.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of input and output.
        activation: between the convolutions.
        batch_norm: normalise over the batch after each convolution.
        residual_scale: factor of what is added.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        activation: nn.Module,
        *,
        batch_norm: bool = False,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        layers: list[nn.Module] = []
        for _ in range(2):
            layers.append(conv(channels, channels, 3, padding=1))
            if batch_norm:
                layers.append(norm(channels))
        layers.insert(len(layers) // 2, activation)
        self.body = nn.Sequential(*layers)
        self.residual_scale = residual_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, channels, *size)`` to the same shape."""
        return torch.add(x, self.body(x), alpha=self.residual_scale)


def dense_block(spatial_dims: int, in_channels: int, growth: int, layers: int, activation: nn.Module) -> DenseBlock:
    """Layers that each add ``growth`` channels to what came before, ``in_channels + layers * growth`` in the end."""
    conv = Conv[Conv.CONV, spatial_dims]
    return DenseBlock(
        [nn.Sequential(conv(in_channels + i * growth, growth, 3, padding=1), activation) for i in range(layers)]
    )


class ResidualDenseBlock(nn.Module):
    """Dense block, fused to the channels of the input and added to it (Zhang et al., CVPR 2018).

    Args:
        spatial_dims: 2 or 3.
        channels: channels of input and output.
        growth: channels that each layer adds.
        layers: layers of the dense block.
        activation: after each of them.
        fusion_kernel_size: of the convolution that fuses, an odd number.
        residual_scale: factor of what is added.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        growth: int,
        layers: int,
        activation: nn.Module,
        *,
        fusion_kernel_size: int = 1,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            dense_block(spatial_dims, channels, growth, layers, activation),
            Conv[Conv.CONV, spatial_dims](
                channels + layers * growth, channels, fusion_kernel_size, padding=fusion_kernel_size // 2
            ),
        )
        self.residual_scale = residual_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, channels, *size)`` to the same shape."""
        return torch.add(x, self.body(x), alpha=self.residual_scale)
