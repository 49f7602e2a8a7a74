"""The critic: one score for each image."""

from __future__ import annotations

import torch
from monai.networks.layers import Conv, Norm, Pool
from torch import nn

__all__ = ["Critic"]

# The last feature map of a 96 x 96 image, the size that the published dense layer is made for.
PUBLISHED_MAP_SIZE = 6


class Critic(nn.Module):
    """Critic of the SRGAN kind (Ledig et al., CVPR 2017), as in MIASSR without batch normalisation.

    A convolution, then seven 3 x 3 convolutions with strides 2, 1, 2, 1, 2, 1, 2 and twice the channels at each stride
    of 1, LeakyReLU after each; each position of the last map sees 61 x 61 pixels. The map is averaged over all
    positions and one dense layer makes the score; being linear, it gives the average of the positions' own scores, as
    in a PatchGAN (Isola et al., CVPR 2017). With the defaults, 1,171,937 parameters.

    ``width=64, dense_channels=1024`` is the published critic of 23,560,641 parameters: two dense layers on a map of
    6 x 6, which an image of 96 x 96 pixels has and to which the map of another size is average-pooled.

    Args:
        in_channels: channels of the images.
        spatial_dims: 2 for slices, 3 for volumes.
        width: channels of the first convolution; the last has eight times as many.
        dense_channels: units of a dense layer on the map of 6 x 6; ``None`` averages over all positions instead.
        batch_norm: normalise after all convolutions but the first, as SRGAN does. Scores then depend on the whole batch
            while training, which penalties on the slope of each image's score do not allow for.
        negative_slope: of the LeakyReLU.
        amp: run all convolutions but the first under autocast in bfloat16, which has too few digits for the image.
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        spatial_dims: int = 2,
        width: int = 32,
        dense_channels: int | None = None,
        batch_norm: bool = False,
        negative_slope: float = 0.2,
        amp: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.amp = amp
        channels = [width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
        layers: list[nn.Module] = []
        for index, out_channels in enumerate(channels):
            previous = channels[index - 1] if index else in_channels
            normalised = batch_norm and index > 0
            # A bias would be taken off again by the normalisation.
            conv = Conv[Conv.CONV, spatial_dims](
                previous, out_channels, 3, stride=1 + index % 2, padding=1, bias=not normalised
            )
            norm = Norm[Norm.BATCH, spatial_dims]
            layers.append(nn.Sequential(conv, norm(out_channels)) if normalised else conv)
            layers.append(nn.LeakyReLU(negative_slope))
        # Convolutions are faster on maps whose channels lie together.
        last = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        self.features = nn.Sequential(*layers).to(memory_format=last)
        pool = Pool[Pool.ADAPTIVEAVG, spatial_dims]
        if dense_channels is None:
            self.min_size = 16
            self.pool = pool(1)
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(channels[-1], 1))
        else:
            self.min_size = 24
            self.pool = pool(PUBLISHED_MAP_SIZE)
            self.head = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels[-1] * PUBLISHED_MAP_SIZE**spatial_dims, dense_channels),
                nn.LeakyReLU(negative_slope),
                nn.Linear(dense_channels, 1),
            )

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images ``(N, in_channels, *size)`` after each of the eight activations, in their type."""
        maps: list[torch.Tensor] = []
        dtype = x.dtype
        for convolution, activation in zip(self.features[::2], self.features[1::2], strict=True):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.amp and bool(maps)):
                x = activation(convolution(x))
            maps.append(x.to(dtype))
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(N, 1)`` of images ``(N, in_channels, *size)``, each side at least 16, with dense layers 24.

        Raises:
            ValueError: when the images have a wrong rank or channel count or are too small.
        """
        if x.dim() != self.spatial_dims + 2 or x.size(1) != self.in_channels or min(x.shape[2:]) < self.min_size:
            axes, named = ("H, W", "H and W") if self.spatial_dims == 2 else ("H, W, D", "H, W and D")
            raise ValueError(
                f"this critic needs images of shape (N, {self.in_channels}, {axes}) with {named} at least "
                f"{self.min_size}, got {list(x.shape)}."
            )
        return self.head(self.pool(self.maps(x)[-1]))
