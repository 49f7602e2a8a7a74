"""Adversarial losses by how much more real one image is than another."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from miassr_monai.losses.adversarial import AdversarialLoss, CriticFunction
from miassr_monai.losses.gradient_penalty import zero_centred_penalty

__all__ = ["RelativisticAverageGANLoss", "RelativisticPairingGANLoss"]


class RelativisticLoss(AdversarialLoss):
    """What the critic minimises of real and fake images, the generator minimises with the two exchanged."""

    def forward(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        with torch.no_grad():
            real_scores = critic(real)
        return self.compare(critic(fake), real_scores)


class RelativisticAverageGANLoss(RelativisticLoss):
    """RaGAN: is an image more real than the other kind on average? (Jolicoeur-Martineau, ICLR 2019; ESRGAN, 2018.)

    The critic minimises ``-mean(log sigmoid(D(real) - mean(D(fake)))) - mean(log(1 - sigmoid(D(fake) -
    mean(D(real)))))``, and the generator the same with real and fake exchanged.
    """

    def __init__(self) -> None:
        super().__init__()

    def compare(self, real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        real = F.softplus(fake_scores.mean() - real_scores)
        fake = F.softplus(fake_scores - real_scores.mean())
        return real.mean() + fake.mean()


class RelativisticPairingGANLoss(RelativisticLoss):
    """R3GAN: is a real image more real than the fake one it is paired with? (Huang et al., NeurIPS 2024.)

    The critic minimises ``-mean(log sigmoid(D(real) - D(fake)))`` with ``penalty_weight / 2 * (R1 + R2)``, its mean
    squared slopes at real and at fake images, and the generator ``-mean(log sigmoid(D(fake) - D(real)))``. A pair is an
    image and its super-resolution, so that the critic is asked about the difference alone.

    Args:
        penalty_weight: gamma, at least 0.
        penalty_interval: see :class:`AdversarialLoss`.

    Raises:
        ValueError: when an argument is out of its range.
    """

    def __init__(self, penalty_weight: float = 0.1, *, penalty_interval: int = 1) -> None:
        super().__init__(penalty_weight, penalty_interval=penalty_interval)

    def compare(self, real_scores: torch.Tensor, fake_scores: torch.Tensor) -> torch.Tensor:
        """See :class:`AdversarialLoss`."""
        return F.softplus(fake_scores - real_scores).mean()

    def penalty(self, critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Half of R1 + R2."""
        return (zero_centred_penalty(critic, real) + zero_centred_penalty(critic, fake)) / 2
