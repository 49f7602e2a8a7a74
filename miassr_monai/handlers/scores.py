"""PSNR and SSIM per slice, summed up per scale."""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.metrics import PSNRMetric, SSIMMetric
from monai.utils import CommonKeys

__all__ = ["ScaleScores", "score_table"]

Row = dict[str, Any]
MEASURES = ("psnr", "ssim")


def mean_over_volumes(rows: Iterable[Row], measure: str) -> float:
    """Mean over volumes of the mean over slices; a slice without any error, of infinite PSNR, is left out."""
    by_volume = defaultdict(list)
    for row in rows:
        if math.isfinite(row[measure]):
            by_volume[row["name"]].append(row[measure])
    means = [sum(values) / len(values) for values in by_volume.values()]
    return sum(means) / len(means) if means else math.nan


def score_table(rows: Sequence[Row]) -> str:
    """Text table of the mean PSNR (dB) and SSIM of each method at each scale, one line a scale."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    scales = sorted({row["scale"] for row in rows})
    width = max(16, *(len(m) + 2 for m in methods))
    lines = [
        "scale" + "".join(f"{method:>{width}}" for method in methods),
        "     " + "".join(f"{'PSNR':>{width - 8}}{'SSIM':>8}" for _ in methods),
    ]
    for scale in [*scales, None]:
        cells = []
        for method in methods:
            chosen = [r for r in rows if r["method"] == method and scale in (None, r["scale"])]
            psnr, ssim = (mean_over_volumes(chosen, measure) for measure in MEASURES)
            cells.append(f"{psnr:>{width - 8}.2f}{ssim:>8.4f}")
        lines.append(f"{'mean' if scale is None else f'{scale:g}':<5}" + "".join(cells))
    return "\n".join(lines)


class ScaleScores:
    """Score every slice of an evaluation: peak signal-to-noise ratio and structural similarity, data range 1.

    After the run, ``engine.state.metrics`` has ``psnr`` and ``ssim``, means over all scales, and ``psnr_x2.5`` and so
    on for each scale; with several methods these are the last one's, and the others' are named ``<method>_psnr_x2.5``.

    Args:
        methods: keys of the engine's output that hold predictions ``(N, C, H, W)``.
        csv_path: file for every score of every slice.
        table_path: file for the table of :func:`score_table`, which is then printed too.
    """

    def __init__(
        self,
        methods: Sequence[str] = (CommonKeys.PRED,),
        *,
        csv_path: str | os.PathLike | None = None,
        table_path: str | os.PathLike | None = None,
    ) -> None:
        self.methods = list(methods)
        self.csv_path = csv_path
        self.table_path = table_path
        self.rows: list[Row] = []
        self.metrics = {
            "psnr": PSNRMetric(max_val=1.0, reduction="none"),
            "ssim": SSIMMetric(spatial_dims=2, data_range=1.0, reduction="none"),
        }

    def attach(self, engine: Engine) -> None:
        """Score every iteration and sum up at the end of the epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.sum_up)
        engine.add_event_handler(Events.COMPLETED, self.report)

    def start(self) -> None:
        """Forget the scores of an earlier run."""
        self.rows = []

    def score(self, engine: Engine) -> None:
        """Score the slices of one volume at one scale."""
        truth = engine.state.output[CommonKeys.LABEL].float()
        for method in self.methods:
            prediction = engine.state.output[method].float()
            values = {name: metric(prediction, truth).flatten().tolist() for name, metric in self.metrics.items()}
            for index in range(len(truth)):
                self.rows.append(
                    {
                        "name": engine.state.batch["name"],
                        "slice": index,
                        "scale": engine.state.batch["scale"],
                        "method": method,
                        **{name: value[index] for name, value in values.items()},
                    }
                )
        for metric in self.metrics.values():
            metric.reset()

    def sum_up(self, engine: Engine) -> None:
        """Put the means into the engine's metrics."""
        self.rows = [row for part in idist.all_gather(self.rows) for row in part]
        for method in self.methods:
            prefix = "" if method == self.methods[-1] else f"{method}_"
            rows = [row for row in self.rows if row["method"] == method]
            for measure in MEASURES:
                engine.state.metrics[f"{prefix}{measure}"] = mean_over_volumes(rows, measure)
                for scale in sorted({row["scale"] for row in rows}):
                    chosen = [row for row in rows if row["scale"] == scale]
                    engine.state.metrics[f"{prefix}{measure}_x{scale:g}"] = mean_over_volumes(chosen, measure)

    def report(self) -> None:
        """Write and print what was asked for."""
        if idist.get_rank() == 0:
            if self.csv_path is not None:
                self.write_csv()
            if self.table_path is not None:
                table = score_table(self.rows)
                Path(self.table_path).write_text(f"{table}\n")
                print(table)

    def write_csv(self) -> None:
        """Write every score of every slice."""
        path = Path(self.csv_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.rows[0])
            writer.writeheader()
            writer.writerows(self.rows)
