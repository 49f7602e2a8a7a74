"""What the losses of adversarial training have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["AdversarialLoss", "CriticFunction"]

# Images (N, C, *size) to scores (N, 1).
CriticFunction = Callable[[torch.Tensor], torch.Tensor]


class AdversarialLoss(nn.Module):
    """Losses of critic and generator in adversarial training, chosen as one by ``_target_``.

    Calling it gives the generator's loss; :meth:`critic_loss` the critic's: :meth:`compare` of the scores and, with a
    weight, :meth:`penalty`. :class:`miassr_monai.engines.SRGANTrainer` calls :meth:`constrain` after each step of the
    critic. The scores are real numbers, without a sigmoid.

    A penalty, which is a gradient of a gradient, may be evaluated lazily as the regularisation of StyleGAN2 is (Karras
    et al., CVPR 2020): at every ``penalty_interval``-th iteration only and with ``penalty_interval`` times its weight
    there, which leaves its mean over the iterations as it is.

    Args:
        penalty_weight: of the penalty, at least 0; at 0 it is not evaluated.
        penalty_interval: iterations from one penalty to the next, at least 1.

    Raises:
        ValueError: when an argument is out of its range.
    """

    def __init__(self, penalty_weight: float = 0.0, *, penalty_interval: int = 1) -> None:
        super().__init__()
        if penalty_weight < 0:
            raise ValueError(f"penalty_weight must not be negative, got {penalty_weight}.")
        if penalty_interval < 1 or penalty_interval % 1:
            raise ValueError(f"penalty_interval must be a whole number of at least 1, got {penalty_interval}.")
        self.penalty_weight = penalty_weight
        self.penalty_interval = penalty_interval

    def forward(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Loss of the generator.

        Args:
            critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
            real: images ``(N, C, *size)``.
            fake: the generator's images of the same shape, of the same scenes in the same order.
        """
        raise NotImplementedError

    def compare(self, real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
        """Loss of the critic from its scores ``(N, 1)``, without a penalty."""
        raise NotImplementedError

    def penalty(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """What the critic pays for its slopes, unweighted."""
        raise NotImplementedError

    def constrain(self, critic: nn.Module) -> None:
        """Bring the critic's parameters back to where they are allowed to be, which is everywhere here."""

    def critic_loss(
        self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor, iteration: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Loss of the critic as ``critic_loss``, its unweighted terms ``critic_adversarial`` and, where it is
        evaluated, ``penalty``, and ``critic_order``, the share of pairs whose real image it gives the higher score.

        Args:
            critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
            real: images ``(N, C, *size)``.
            fake: images of the same shape.
            iteration: count of the training iteration; its multiples of ``penalty_interval`` have the penalty. ``None``
                evaluates it with its plain weight.
        """
        real_scores, fake_scores = critic(real), critic(fake.detach())
        loss = self.compare(real_scores, fake_scores)
        order = (real_scores > fake_scores).to(loss.dtype).mean()
        terms = {"critic_loss": loss, "critic_adversarial": loss, "critic_order": order}
        interval = 1 if iteration is None else self.penalty_interval
        if self.penalty_weight > 0 and (iteration is None or iteration % interval == 0):
            terms["penalty"] = self.penalty(critic, real, fake)
            terms["critic_loss"] = loss + interval * self.penalty_weight * terms["penalty"]
        return terms
