"""SPAN trunk: few plain convolutions, with attention that has no parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers import Conv
from torch import nn

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import require_positive

__all__ = ["SPAN"]


class ReparameterizedConv(nn.Module):
    """A 3 x 3 convolution whose kernel is trained as that of three in a row, plus one of 1 x 1 beside them.

    Of the three, 1 x 1, 3 x 3 and 1 x 1, the middle one has ``expansion`` times as many channels. Nothing is between
    them, so their kernels are multiplied, which is a small part of the work, and only the product meets the image: what
    is trained and what is used are the same. As each has a bias only to add to the next one's, there is one for all.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: times as many channels between the three.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, expansion: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.spatial_dims = spatial_dims
        self.first = conv(in_channels, in_channels * expansion, 1, bias=False)
        self.middle = conv(in_channels * expansion, out_channels * expansion, 3, bias=False)
        self.last = conv(out_channels * expansion, out_channels, 1, bias=False)
        self.skip = conv(in_channels, out_channels, 1)

    def kernel(self) -> torch.Tensor:
        """Kernel ``(out_channels, in_channels, 3, ...)`` of the one convolution."""
        first, middle, last = self.first.weight.flatten(1), self.middle.weight.flatten(2), self.last.weight.flatten(1)
        centre = middle.size(2) // 2
        # Channels last, for speed: (outputs, taps, inputs).
        kernel = torch.einsum("oe,efk,fi->oki", last, middle, first)
        kernel = kernel + F.pad(self.skip.weight.flatten(1).unsqueeze(1), [0, 0, centre, centre])
        return kernel.unflatten(1, [3] * self.spatial_dims).movedim(-1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, out_channels, *size)``, zero past the border."""
        if torch.jit.is_scripting():
            kernel = self.kernel()
        else:
            with torch.autocast(x.device.type, enabled=False):
                kernel = self.kernel()
        if self.spatial_dims == 3:
            return F.conv3d(x, kernel, self.skip.bias, padding=1)
        return F.conv2d(x, kernel, self.skip.bias, padding=1)


class AttentionBlock(nn.Module):
    """Three convolutions whose result is added to the input, and then says itself how much of the sum is to stay.

    ``h`` of input ``x`` gives ``(x + h) * (sigmoid(h) - 1/2)``: little where ``h`` is near zero (equations 3 to 5).
    """

    def __init__(self, spatial_dims: int, channels: int, expansion: int) -> None:
        super().__init__()
        self.first = ReparameterizedConv(spatial_dims, channels, channels, expansion)
        self.second = ReparameterizedConv(spatial_dims, channels, channels, expansion)
        self.third = ReparameterizedConv(spatial_dims, channels, channels, expansion)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The result, and the activation of the first convolution; both ``(N, channels, *size)``."""
        first = F.silu(self.first(x))
        h = self.third(F.silu(self.second(first)))
        return (x + h) * (h.sigmoid() - 0.5), first


class SPAN(Trunk):
    """SPAN trunk (Wan et al., CVPRW 2024), first of the NTIRE 2024 challenge on efficient super-resolution.

    A convolution to ``width`` channels, ``depth`` blocks of three convolutions with attention, and a 1 x 1 convolution
    of the first features, the first block's, the last block's after a convolution, and the first activation within the
    last block. All but the 1 x 1 are re-parameterised, see :class:`ReparameterizedConv`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: channels of the features.
        depth: blocks.
        expansion: times as many channels within the kernels' factors.
        input_range: what an intensity of 1 is multiplied by. Blocks multiply features with each other, which leaves
            nothing of small ones; the published network sees intensities up to 255.
        output_scale: factor of the features. Published without one; ``1 / input_range`` lets training from scratch
            begin with features in the image's range, as those of other trunks.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        *,
        width: int = 48,
        depth: int = 6,
        expansion: int = 2,
        input_range: float = 255.0,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__(spatial_dims, in_channels, width, halo=3 * depth + 2)
        require_positive(depth=depth, expansion=expansion)
        self.input_range = input_range
        self.output_scale = output_scale
        self.head = ReparameterizedConv(spatial_dims, in_channels, width, expansion)
        self.body = nn.ModuleList(AttentionBlock(spatial_dims, width, expansion) for _ in range(depth))
        self.last = ReparameterizedConv(spatial_dims, width, width, expansion)
        self.fusion = Conv[Conv.CONV, spatial_dims](4 * width, width, 1)
        self.channels_last()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, width, *size)``."""
        first = features = activation = self.see(self.input_range * x)
        after_first_block = first
        for i, block in enumerate(self.body):
            features, activation = block(features)
            if i == 0:
                after_first_block = features
        fused = self.fusion(torch.cat([first, self.last(features), after_first_block, activation], 1))
        return self.output_scale * fused
