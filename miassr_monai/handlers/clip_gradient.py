"""Steps of a limited size."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

__all__ = ["ClipGradient"]


class ClipGradient:
    """Scale the gradient of a trainer of MONAI down to a norm before each of its steps.

    Adam divides by what gradients were lately; a single far larger one then throws a wide network off for good.

    Args:
        network: whose gradient.
        max_norm: largest Euclidean norm of the gradient of all parameters together.
    """

    def __init__(self, network: nn.Module, max_norm: float) -> None:
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Come between the gradient and the step."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.clip)

    def clip(self) -> None:
        """Limit the gradient."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
