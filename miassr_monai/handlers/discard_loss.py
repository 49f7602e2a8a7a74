"""Discarding of unusable steps in MONAI's supervised trainer."""

from __future__ import annotations

import logging

from ignite.engine import Engine
from monai.engines import IterationEvents

from miassr_monai.engines import usable

__all__ = ["DiscardLoss"]

logger = logging.getLogger(__name__)


class DiscardLoss:
    """Discard a step of ``SupervisedTrainer`` whose loss is not finite or beyond a limit, as :class:`SRGANTrainer`
    does.

    The gradients are dropped before the optimiser sees them, so parameters and optimiser stay as they were.
    ``engine.state.discarded`` counts.

    Args:
        loss_limit: magnitude beyond which a loss is discarded.
    """

    def __init__(self, loss_limit: float = 1e8) -> None:
        self.loss_limit = loss_limit

    def attach(self, engine: Engine) -> None:
        """Look at the loss between the backward pass and the optimiser's step."""
        engine.state.discarded = 0
        engine.state_dict_user_keys.append("discarded")
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Drop the gradients if the loss is unusable."""
        loss = engine.state.output["loss"]
        if usable(loss, self.loss_limit):
            return
        engine.optimizer.zero_grad(set_to_none=True)
        engine.state.discarded += 1
        logger.warning(
            f"discarded a step at iteration {engine.state.iteration}: its loss is {loss.item():g} "
            f"({engine.state.discarded} discarded so far)."
        )
