"""PSNR and SSIM per slice, summed up per scale."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.metrics import PSNRMetric, SSIMMetric
from monai.utils import CommonKeys

from miassr_monai.data import as_slices
from miassr_monai.geometry import format_scale

__all__ = ["ScaleScores"]

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


class ScaleScores:
    """Score every slice of a validation: peak signal-to-noise ratio and structural similarity, data range 1.

    After the run, ``engine.state.metrics`` has ``psnr`` and ``ssim``, means over all scales, and ``psnr_x2.5``,
    ``psnr_x1x2`` and so on for each scale. Volumes are scored by their slices. Of images of several channels these are
    means over the channels, and ``psnr_channel_0`` and so on those of each; one that is 0 in a slice is left out of it.
    """

    def __init__(self) -> None:
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

    def start(self) -> None:
        """Forget the scores of an earlier run."""
        self.rows = []

    def score(self, engine: Engine) -> None:
        """Score the slices of one volume at one scale."""
        truth = as_slices(engine.state.output[CommonKeys.LABEL]).float()
        prediction = as_slices(engine.state.output[CommonKeys.PRED]).float()
        values: dict[str, torch.Tensor] = {}
        for name, metric in self.metrics.items():
            each = metric(prediction.flatten(0, 1).unsqueeze(1), truth.flatten(0, 1).unsqueeze(1))
            metric.reset()
            by_channel = each.reshape(len(truth), -1)
            if truth.size(1) > 1:
                by_channel = by_channel.masked_fill((truth == 0).flatten(2).all(2), math.nan)
                values |= {f"{name}_channel_{number}": column for number, column in enumerate(by_channel.T)}
            values[name] = by_channel.nanmean(1)
        place = {"name": engine.state.batch["name"], "scale": format_scale(engine.state.batch["scale"])}
        for index in range(len(truth)):
            self.rows.append({**place, "slice": index, **{name: value[index].item() for name, value in values.items()}})

    def sum_up(self, engine: Engine) -> None:
        """Put the means into the engine's metrics."""
        self.rows = [row for part in idist.all_gather(self.rows) for row in part]
        of_channels = [name for name in (self.rows[0] if self.rows else ()) if "_channel_" in name]
        for measure in (*MEASURES, *of_channels):
            engine.state.metrics[measure] = mean_over_volumes(self.rows, measure)
        for measure in MEASURES:
            for scale in dict.fromkeys(row["scale"] for row in self.rows):
                chosen = [row for row in self.rows if row["scale"] == scale]
                engine.state.metrics[f"{measure}_x{scale}"] = mean_over_volumes(chosen, measure)
