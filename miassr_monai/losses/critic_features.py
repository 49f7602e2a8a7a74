"""Perceptual loss on a critic's features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from miassr_monai.networks import Critic

__all__ = ["CriticFeatureLoss"]


class CriticFeatureLoss(nn.Module):
    """Relative difference of a critic's feature maps (feature matching, Wang et al., CVPR 2018).

    A perceptual loss that needs no weights from elsewhere: what the critic has learnt to look at is compared. Of each
    layer, the mean absolute difference is divided by the target's mean magnitude, since a critic's features have no
    scale of their own; the loss is the mean over the layers.

    Args:
        critic: the critic that is being trained. :class:`SRGANTrainer` keeps it as it is while the generator learns.
    """

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        # Not a submodule, so that the critic is not listed and moved twice.
        self._critic = [critic]

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of images ``(N, C, H, W)`` with values in [0, 1]; 0 where they look the same to the critic."""
        with torch.no_grad():
            wanted = self._critic[0].maps(target)
        seen = self._critic[0].maps(prediction)
        return torch.stack([F.l1_loss(a, b) / b.abs().mean() for a, b in zip(seen, wanted, strict=True)]).mean()
