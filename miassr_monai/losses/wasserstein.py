"""Wasserstein adversarial loss with gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["WassersteinGPLoss", "gradient_penalty"]


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor:
    """Mean of ``(|grad critic| - 1)^2`` at random points between real and fake images (Gulrajani et al., NeurIPS 2017).

    Args:
        critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
        real: images ``(N, C, *size)``.
        fake: images of the same shape.
    """
    weight = torch.rand([real.size(0)] + [1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = torch.lerp(real.detach(), fake.detach(), weight).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(2, dim=1) - 1.0).square().mean()


class WassersteinGPLoss(nn.Module):
    """Losses of critic and generator in WGAN-GP (Gulrajani et al., NeurIPS 2017).

    The critic minimises ``mean(D(fake)) - mean(D(real)) + penalty_weight * penalty``, the generator ``-mean(D(fake))``.

    Args:
        penalty_weight: of the gradient penalty, at least 0.
    """

    def __init__(self, penalty_weight: float = 10.0) -> None:
        super().__init__()
        if penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, got {penalty_weight}.")
        self.penalty_weight = penalty_weight

    def critic_loss(
        self, critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Loss of the critic on images ``(N, C, *size)``, and its terms ``wasserstein`` and ``penalty``."""
        wasserstein = critic(fake.detach()).mean() - critic(real).mean()
        penalty = gradient_penalty(critic, real, fake)
        return {
            "critic_loss": wasserstein + self.penalty_weight * penalty,
            "wasserstein": wasserstein,
            "penalty": penalty,
        }

    def forward(self, fake_scores: torch.Tensor) -> torch.Tensor:
        """Loss of the generator from the critic's scores ``(N, 1)`` of its images."""
        return -fake_scores.mean()
