"""Wasserstein adversarial losses."""

from __future__ import annotations

import torch
from torch import nn

from miassr_monai.losses.adversarial import AdversarialLoss, CriticFunction
from miassr_monai.losses.gradient_penalty import gradient_penalty

__all__ = ["WassersteinClippingLoss", "WassersteinGPLoss"]


class WassersteinLoss(AdversarialLoss):
    """The critic minimises ``mean(D(fake)) - mean(D(real))``, the generator ``-mean(D(fake))``."""

    def compare(self, real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        return fake_scores.mean() - real_scores.mean()

    def forward(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        return -critic(fake).mean()


class WassersteinClippingLoss(WassersteinLoss):
    """WGAN: the critic's parameters are clipped after each of its steps (Arjovsky et al., ICML 2017).

    The losses are those of :class:`WassersteinGPLoss` without the penalty.

    Args:
        limit: largest magnitude of a parameter. With the published 0.01 hardly anything of an image gets through the
            layers of :class:`miassr_monai.networks.Critic`, whose weights start out with up to 0.06; with 0.05 it
            learns.

    Raises:
        ValueError: when ``limit`` is not above 0.
    """

    def __init__(self, limit: float = 0.01) -> None:
        super().__init__()
        if not limit > 0:
            raise ValueError(f"the limit of a critic's parameters must be above 0, got {limit}.")
        self.limit = limit

    @torch.no_grad()
    def constrain(self, critic: nn.Module) -> None:
        """Clip all parameters of the critic."""
        for parameter in critic.parameters():
            parameter.clamp_(-self.limit, self.limit)


class WassersteinGPLoss(WassersteinLoss):
    """WGAN-GP: the critic's slope is pulled to 1 between real and fake images (Gulrajani et al., NeurIPS 2017).

    The critic minimises ``mean(D(fake)) - mean(D(real)) + penalty_weight * penalty``, the generator ``-mean(D(fake))``,
    with :func:`gradient_penalty`. Batch normalisation has no place in the critic: a score has to depend on one image.

    Args:
        penalty_weight: of the gradient penalty, at least 0.
        penalty_interval: see :class:`AdversarialLoss`.

    Raises:
        ValueError: when an argument is out of its range.
    """

    def __init__(self, penalty_weight: float = 10.0, *, penalty_interval: int = 1) -> None:
        super().__init__(penalty_weight, penalty_interval=penalty_interval)

    def penalty(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """See :func:`gradient_penalty`."""
        return gradient_penalty(critic, real, fake)
