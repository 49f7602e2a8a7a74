"""The generator's loss in the adversarial stage."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from miassr_monai.losses.adversarial import CriticFunction

__all__ = ["JointLoss"]


class JointLoss(nn.Module):
    """Weighted sum of L1, adversarial and perceptual loss (Zhu et al. 2021: lambda 1, gamma 0.001, eta 0.006).

    Args:
        adversarial: the generator's loss from critic, real and fake images; see :class:`AdversarialLoss`.
        perceptual: prediction and target to a loss; ``None`` leaves it out.
        pixel_weight: lambda, of L1.
        adversarial_weight: gamma.
        perceptual_weight: eta.

    Raises:
        ValueError: when a weight is negative, or ``perceptual_weight`` is above 0 without a perceptual loss.
    """

    def __init__(
        self,
        adversarial: Callable[[CriticFunction, torch.Tensor, torch.Tensor], torch.Tensor],
        perceptual: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None,
        *,
        pixel_weight: float = 1.0,
        adversarial_weight: float = 0.001,
        perceptual_weight: float = 0.006,
    ) -> None:
        super().__init__()
        if min(pixel_weight, adversarial_weight, perceptual_weight) < 0:
            raise ValueError("the weights of the joint loss must not be negative.")
        if perceptual is None and perceptual_weight > 0:
            raise ValueError(f"perceptual_weight is {perceptual_weight}, but there is no perceptual loss: set it to 0.")
        self.adversarial = adversarial
        self.perceptual = perceptual
        self.pixel_weight = pixel_weight
        self.adversarial_weight = adversarial_weight
        self.perceptual_weight = perceptual_weight

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, critic: CriticFunction
    ) -> dict[str, torch.Tensor]:
        """The weighted sum as ``loss`` and its unweighted terms ``l1``, ``adversarial`` and, if there is one,
        ``perceptual``.

        Args:
            prediction: the generator's images ``(N, C, H, W)``.
            target: HR images of the same shape.
            critic: images ``(N, C, H, W)`` to scores ``(N, 1)``.
        """
        terms = {"l1": F.l1_loss(prediction, target), "adversarial": self.adversarial(critic, target, prediction)}
        loss = self.pixel_weight * terms["l1"] + self.adversarial_weight * terms["adversarial"]
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(prediction, target)
            loss = loss + self.perceptual_weight * terms["perceptual"]
        return {"loss": loss, **terms}
