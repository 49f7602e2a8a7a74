"""Metrics of a training run in a file of its own."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ignite.engine import State

from miassr_monai.files import whole_file

__all__ = ["CsvLog"]

FIELDS = ("stage", "epoch", "iteration", "metric", "value", "time")


class CsvLog:
    """Append the metrics of a training run to a CSV file, one a row, and write them at once.

    A run that is resumed replaces what was logged after the point from which it goes on, and a row that a kill cut in
    half.

    Args:
        path: file with the columns ``stage``, ``epoch``, ``iteration``, ``metric``, ``value`` and ``time`` (seconds
            since 1970).
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.begun: set[str] = set()

    def log(self, stage: str, state: State, metrics: Mapping[str, float]) -> None:
        """Append metrics of a stage.

        Raises:
            OSError: when they cannot be written.
        """
        if stage not in self.begun:
            self.begun.add(stage)
            self.forget(stage, state.iteration)
        place, now = [stage, state.epoch, state.iteration], f"{time.time():.2f}"
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([*place, name, float(value), now] for name, value in metrics.items())

    def forget(self, stage: str, iteration: int) -> None:
        """Drop what a stage logged from an iteration on, and a row that is not whole."""
        kept = [",".join(FIELDS)]
        if self.path.is_file():
            # The last line ends in a newline, or was not written to its end.
            lines = self.path.read_text(encoding="utf-8").split("\n")[1:-1]
            kept += [line for line in lines if not line.startswith(f"{stage},") or int(line.split(",")[2]) < iteration]
        with whole_file(self.path) as partial:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
