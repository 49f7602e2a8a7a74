"""One of several degradations, at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

__all__ = ["RandomDegradation"]


class RandomDegradation:
    """Degrade each batch in one of several ways, drawn with torch's generator.

    A network that was trained on one degradation only undoes that one: the blur of the ``paper`` degradation, say, also
    where an image does not have it, which real images do not.

    Args:
        degradations: image ``(..., H, W)`` and scale to an LR image, such as ``paper_degradation``.
        weights: how often each is drawn, relative to the others; equally often unless given.

    Raises:
        ValueError: when there are no degradations, or the weights do not fit them.
    """

    def __init__(self, degradations: Sequence[Callable], weights: Sequence[float] | None = None) -> None:
        self.degradations = list(degradations)
        shares = [1.0] * len(self.degradations) if weights is None else list(weights)
        self.weights = torch.tensor(shares, dtype=torch.float64)
        if len(self.weights) != len(self.degradations) or not len(self.weights) or not (self.weights > 0).all():
            raise ValueError(
                f"{len(self.degradations)} degradations need as many weights above 0, got {self.weights.tolist()}."
            )

    def __call__(self, image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
        """Degrade images ``(..., H, W)``."""
        return self.degradations[int(torch.multinomial(self.weights, 1))](image, scale)
