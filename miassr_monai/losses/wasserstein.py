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
    The penalty, a gradient of a gradient, may be evaluated lazily as the regularisation of StyleGAN2 is (Karras et al.,
    CVPR 2020): at every ``penalty_interval``-th iteration only and with ``penalty_interval`` times its weight there,
    which leaves its mean over the iterations as it is.

    Args:
        penalty_weight: of the gradient penalty, at least 0.
        penalty_interval: iterations from one penalty to the next, at least 1.

    Raises:
        ValueError: when an argument is out of its range.
    """

    def __init__(self, penalty_weight: float = 10.0, *, penalty_interval: int = 1) -> None:
        super().__init__()
        if penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, got {penalty_weight}.")
        if penalty_interval < 1 or penalty_interval % 1:
            raise ValueError(f"penalty_interval must be a whole number of at least 1, got {penalty_interval}.")
        self.penalty_weight = penalty_weight
        self.penalty_interval = penalty_interval

    def critic_loss(
        self,
        critic: Callable[[torch.Tensor], torch.Tensor],
        real: torch.Tensor,
        fake: torch.Tensor,
        iteration: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Loss of the critic as ``critic_loss`` and its unweighted terms ``wasserstein`` and, where it is evaluated,
        ``penalty``.

        Args:
            critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
            real: images ``(N, C, *size)``.
            fake: images of the same shape.
            iteration: count of the training iteration; its multiples of ``penalty_interval`` have the penalty. ``None``
                evaluates it with its plain weight.
        """
        wasserstein = critic(fake.detach()).mean() - critic(real).mean()
        interval = 1 if iteration is None else self.penalty_interval
        if iteration is not None and iteration % interval:
            return {"critic_loss": wasserstein, "wasserstein": wasserstein}
        penalty = gradient_penalty(critic, real, fake)
        return {
            "critic_loss": wasserstein + interval * self.penalty_weight * penalty,
            "wasserstein": wasserstein,
            "penalty": penalty,
        }

    def forward(self, fake_scores: torch.Tensor) -> torch.Tensor:
        """Loss of the generator from the critic's scores ``(N, 1)`` of its images."""
        return -fake_scores.mean()
