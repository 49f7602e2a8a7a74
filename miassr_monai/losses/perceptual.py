"""Perceptual loss on VGG19 features."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import nn

from miassr_monai.networks import VGG19Features

__all__ = ["VGGPerceptualLoss"]


class VGGPerceptualLoss(nn.Module):
    """Mean squared difference of VGG19 features before activation (Ledig et al., CVPR 2017, with MIASSR's early layer).

    Each channel of an image is looked at by itself, repeated to the three channels that VGG19 was trained on.

    Args:
        layer: see :class:`VGG19Features`.
        weights_path: see :class:`VGG19Features`.

    Raises:
        FileNotFoundError: when ``weights_path`` is given and is not there.
        RuntimeError: when there is no path and the download fails.
    """

    def __init__(self, layer: str = "conv2_2", weights_path: str | os.PathLike | None = None) -> None:
        super().__init__()
        self.network = VGG19Features(layer, weights_path)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Features ``(N * C, ...)`` of the channels of ``image`` ``(N, C, H, W)``."""
        return self.network(image.reshape(-1, 1, *image.shape[2:]).expand(-1, 3, -1, -1))

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of images ``(N, C, H, W)`` with values in [0, 1]."""
        with torch.no_grad():
            wanted = self.features(target)
        return F.mse_loss(self.features(prediction), wanted)
