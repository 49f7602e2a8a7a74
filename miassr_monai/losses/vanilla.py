"""The first adversarial loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from miassr_monai.losses.adversarial import AdversarialLoss, CriticFunction

__all__ = ["VanillaGANLoss"]


class VanillaGANLoss(AdversarialLoss):
    """Non-saturating losses of the first GAN (Goodfellow et al., NeurIPS 2014).

    With ``p = sigmoid(D)``, the critic minimises ``-mean(log p(real)) - mean(log(1 - p(fake)))`` and the generator
    ``-mean(log p(fake))``.
    """

    def __init__(self) -> None:
        super().__init__()

    def compare(self, real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()

    def forward(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        return F.softplus(-critic(fake)).mean()
