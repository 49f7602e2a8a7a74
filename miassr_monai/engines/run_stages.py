"""Training of one stage after the other, with usable weights whatever ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import ignite.distributed as idist
from monai.engines import Trainer

if TYPE_CHECKING:
    from miassr_monai.handlers import WeightsSaver

__all__ = ["run_stages"]


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let the signals by which systems stop a process end it with an exception, as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    wanted = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    # One that is ignored, as by nohup, stays so.
    before = {n: handler for n in wanted if (handler := signal.getsignal(n)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_stages(stages: Sequence[Trainer], weights: WeightsSaver) -> None:
    """Run the stages of a training that have epochs, and save the weights at the end.

    They are saved, and told where, when the stages are finished, on an error, on Ctrl-C, SIGTERM and SIGHUP. Those of a
    training that has diverged are not: what was saved last stays.

    Args:
        stages: trainers, in their order.
        weights: saver of the network, attached to all of them.

    Raises:
        SystemExit: on SIGTERM and SIGHUP, with exit code 128 + the signal's number, as shells have it.
    """
    with signals_raise():
        try:
            for stage in stages:
                if stage.state.max_epochs:
                    stage.run()
        finally:
            if weights.unsaved:
                weights.save(stage)
            if weights.saved and idist.get_rank() == 0:
                print(f"The weights are in {weights.path}.", flush=True)
