"""Progress bar of a training stage or an evaluation."""

from __future__ import annotations

import math
import sys

import ignite.distributed as idist
from ignite.engine import Engine, Events
from tqdm import tqdm

from miassr_monai.handlers.output import scalar_output

__all__ = ["StageProgress"]

SMOOTHING = 0.02


class StageProgress:
    """One bar for all iterations of an engine's run, with the time left and the smoothed loss.

    Args:
        title: name of the stage.
        loss: which scalar of the engine's output to show; ``None`` for none.
        unit: what an iteration is called.
    """

    def __init__(self, title: str, loss: str | None = "loss", unit: str = "step") -> None:
        self.title = title
        self.loss = loss
        self.unit = unit
        self.smoothed: float | None = None
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Follow the engine from its start to its end."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.advance)
            engine.add_event_handler(Events.COMPLETED, self.close)
            engine.add_event_handler(Events.EXCEPTION_RAISED, self.abandon)

    def start(self, engine: Engine) -> None:
        """Open the bar where the engine stands."""
        # A log file gets a line now and then instead of an animation.
        interval = 0.2 if sys.stderr.isatty() else 15.0
        self.bar = tqdm(
            desc=self.title,
            total=engine.state.max_epochs * engine.state.epoch_length,
            initial=engine.state.iteration,
            unit=self.unit,
            mininterval=interval,
            maxinterval=interval,
            dynamic_ncols=True,
        )

    def advance(self, engine: Engine) -> None:
        """Count one iteration."""
        if self.loss is not None:
            self.show_loss(scalar_output(engine.state.output)[self.loss])
        self.bar.update()
        # What is printed at the end, such as a table, comes below the full bar.
        if self.bar.n == self.bar.total:
            self.close()

    def show_loss(self, value: float) -> None:
        """Show the smoothed loss; one that is not finite belongs to a discarded step and is left out."""
        if math.isfinite(value):
            self.smoothed = value if self.smoothed is None else self.smoothed + SMOOTHING * (value - self.smoothed)
            self.bar.set_postfix_str(f"{self.loss} {self.smoothed:.4f}", refresh=False)

    def close(self) -> None:
        """Leave the full bar on the screen."""
        if self.bar is not None:
            self.bar.close()

    def abandon(self, engine: Engine, error: Exception) -> None:
        """Close the bar and let the error through, which Ignite would otherwise keep to itself."""
        self.close()
        raise error
