"""Correction of restored images so that they agree with what was measured."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["conjugate_gradients"]

Operation = Callable[[torch.Tensor], torch.Tensor]


def conjugate_gradients(
    measured: torch.Tensor, image: torch.Tensor, degrade: Operation, *, iterations: int = 8
) -> torch.Tensor:
    """The image nearest to a given one that, degraded again, is what was measured, as nearly as so many steps lead.

    Conjugate gradients on the least squares ``|measured - degrade(image + change)|`` (CGLS, Björck 1996, section 7.4)
    from no change on, which therefore has nothing in it that the degradation does not see. The adjoint comes from
    automatic differentiation. Plain back-projection of the differences, ``image + measured - degrade(image)``, diverges
    for computed tomography, whose filter raises errors.

    Args:
        measured: what ``degrade`` makes of the true image.
        image: what to correct, not changed in place.
        degrade: linear but for a constant, and differentiable.
        iterations: steps.
    """
    with torch.enable_grad():
        start = torch.zeros_like(image, requires_grad=True)
        offset = degrade(start)

    def adjoint(residual: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(offset, start, residual, retain_graph=True)[0]

    with torch.no_grad():
        residual = measured - degrade(image)
        gradient = adjoint(residual)
        direction, power = gradient, gradient.square().sum()
        for _ in range(iterations):
            # Nothing is left to correct.
            if power <= torch.finfo(power.dtype).tiny:
                break
            seen = degrade(direction) - offset
            step = power / seen.square().sum()
            image = image + step * direction
            residual = residual - step * seen
            gradient = adjoint(residual)
            before, power = power, gradient.square().sum()
            direction = gradient + power / before * direction
    return image
