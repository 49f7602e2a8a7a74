"""Penalties on the slopes of a critic."""

from __future__ import annotations

import ignite.distributed as idist
import torch

from miassr_monai.losses.adversarial import CriticFunction

__all__ = ["gradient_penalty", "zero_centred_penalty"]


def slopes(critic: CriticFunction, images: torch.Tensor) -> torch.Tensor:
    """Gradients ``(N, elements)`` of each image's score, themselves with a gradient."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.flatten(1)


def gradient_penalty(critic: CriticFunction, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Mean of ``(|grad critic| - 1)^2`` at random points between real and fake images (Gulrajani et al., NeurIPS 2017).

    Args:
        critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
        real: images ``(N, C, *size)``.
        fake: images of the same shape.
    """
    # Drawn for the whole batch, of which a process of a distributed run has its share.
    shape = [idist.get_world_size(), real.size(0)] + [1] * (real.ndim - 1)
    weight = torch.rand(shape, device=real.device, dtype=real.dtype)[idist.get_rank()]
    between = torch.lerp(real.detach(), fake.detach(), weight)
    return (slopes(critic, between).norm(2, dim=1) - 1.0).square().mean()


def zero_centred_penalty(critic: CriticFunction, images: torch.Tensor) -> torch.Tensor:
    """Mean of ``|grad critic|^2``: R1 at real images, R2 at fake ones (Mescheder et al., ICML 2018).

    Args:
        critic: images ``(N, C, *size)`` to scores ``(N, 1)``.
        images: ``(N, C, *size)``.
    """
    return slopes(critic, images).square().sum(1).mean()
