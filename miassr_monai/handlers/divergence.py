"""The end of trainings that lead nowhere."""

from __future__ import annotations

from ignite.engine import Engine, Events

from miassr_monai.handlers.output import mean_over_processes, scalar_output

__all__ = ["StopOnDivergence", "is_diverging"]


def is_diverging(engine: Engine) -> bool:
    """Whether a trainer's latest step was a bad one, see :class:`StopOnDivergence`."""
    return getattr(engine.state, "bad_steps", 0) > 0


class StopOnDivergence:
    """Stop a trainer after so many bad steps in a row: discarded ones, and ones with a loss beyond reason.

    A learning rate that is too high throws a network off within a few steps, and it does not come back.

    Args:
        loss_limit: loss beyond which a step is bad; however bad images in [0, 1] are, their L1 loss is far below 1.
        steps: how many bad steps in a row stop the training.
        losses: names of the loss in the engine's output; the first that is there is looked at.
    """

    def __init__(self, loss_limit: float = 10.0, steps: int = 50, losses: tuple[str, ...] = ("l1", "loss")) -> None:
        self.loss_limit = loss_limit
        self.steps = steps
        self.losses = losses

    def attach(self, engine: Engine) -> None:
        """Look at every step."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_STARTED, self.start_step)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Begin to count."""
        engine.state.bad_steps = 0

    def start_step(self, engine: Engine) -> None:
        """Note how many steps were discarded before."""
        engine.state.discarded_before = getattr(engine.state, "discarded", 0)

    def __call__(self, engine: Engine) -> None:
        """Count, and stop if it is enough.

        Raises:
            RuntimeError: when the training has diverged.
        """
        state = engine.state
        output = scalar_output(state.output)
        loss = mean_over_processes(next(output[name] for name in self.losses if name in output))
        # Not a number is not below the limit either.
        good = getattr(state, "discarded", 0) == state.discarded_before and abs(loss) <= self.loss_limit
        state.bad_steps = 0 if good else state.bad_steps + 1
        if state.bad_steps >= self.steps:
            raise RuntimeError(
                f"the training has diverged: {self.steps} steps in a row, up to step {state.iteration}, were discarded "
                f"or had a loss above {self.loss_limit:g}. Lower the learning_rate, or set a gradient_limit."
            )
