"""L1 and structural similarity together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import SSIMLoss
from torch import nn

__all__ = ["L1SSIMLoss"]


class L1SSIMLoss(nn.Module):
    """L1 plus weighted ``1 - SSIM`` (after Zhao et al., IEEE Trans. Computational Imaging 2017).

    L1 pays for an error alike wherever it is; SSIM pays more where the image has little contrast, so that faint
    structures are restored as well as strong ones. Unlike an adversarial loss it asks for nothing that is not in the
    target.

    Args:
        ssim_weight: of ``1 - SSIM``; at 0.1 both have gradients of the same order on brain MR.

    Raises:
        ValueError: when the weight is negative.
    """

    def __init__(self, ssim_weight: float = 0.1) -> None:
        super().__init__()
        if ssim_weight < 0:
            raise ValueError(f"ssim_weight must not be negative, got {ssim_weight}.")
        self.ssim_weight = ssim_weight
        self.ssim = SSIMLoss(spatial_dims=2, data_range=1.0)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of images ``(N, C, H, W)`` with values in [0, 1], at least 11 pixels along each side."""
        return F.l1_loss(prediction, target) + self.ssim_weight * self.ssim(prediction.float(), target)
