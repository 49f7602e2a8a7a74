"""Stages that train for a given time."""

from __future__ import annotations

import time
from collections.abc import Mapping

import ignite.distributed as idist
from ignite.engine import Engine, Events

__all__ = ["StageTimeLimit"]


class StageTimeLimit:
    """End a training stage after so many minutes of training.

    Time counts from asking for a batch to the end of its step; validations and checkpoints are free. With its state in
    the :class:`ResumableCheckpoint` it is that of all runs of a stage that was resumed, unlike that of Ignite's
    ``TimeLimit``. ``engine.state.training_seconds`` tells it.

    Args:
        minutes: the limit; ``None`` for none.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.minutes = minutes
        self.seconds = 0.0
        self.start = 0.0

    def attach(self, engine: Engine) -> None:
        """Measure every step."""
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.count)

    def begin(self) -> None:
        """A step begins."""
        self.start = time.monotonic()

    def count(self, engine: Engine) -> None:
        """A step is done: end the stage if it was the last that there is time for."""
        self.seconds += time.monotonic() - self.start
        engine.state.training_seconds = self.seconds
        # All processes of a training end at the same step.
        if self.minutes is not None and idist.broadcast(self.seconds, src=0) >= 60 * self.minutes:
            engine.terminate()

    def state_dict(self) -> dict[str, float]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on with the seconds of the run that is continued."""
        self.seconds = state["seconds"]
