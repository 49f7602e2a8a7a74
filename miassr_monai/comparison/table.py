"""The table of a comparison: what each network costs and how good it is."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from miassr_monai.comparison.figure import draw_quality
from miassr_monai.evaluation.page import MEASURES
from miassr_monai.evaluation.summary import MEAN_SCALE, Record
from miassr_monai.files import whole_file
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import Generator
from miassr_monai.prediction import load_model

__all__ = [
    "COMPARED",
    "comparison_rows",
    "comparison_table",
    "critic_order",
    "training_cost",
    "upscaling_seconds",
    "write_comparison",
]

# Measures of the table and the figure, as far as there are numbers for them.
COMPARED = ("psnr", "ssim", "haarpsi", "high_frequency", "fid")
# Side of the slice whose upscaling is timed, and the scale; how often, unless it has taken so many seconds by then.
SLICE_SIZE, SLICE_SCALE = 256, 2.0
ROUNDS, PATIENCE = 5, 5.0


def training_cost(log: str | os.PathLike) -> dict[str, float]:
    """Steps of a training, all stages together, and the minutes that they took, from its ``log.csv``."""
    rows = pd.read_csv(log)
    stages = rows[rows["metric"] == "training_seconds"].groupby("stage")
    return {"steps": int(stages["iteration"].max().sum()), "minutes": float(stages["value"].max().sum()) / 60}


def critic_order(log: str | os.PathLike) -> dict[str, float]:
    """Share of pairs that the critic had in order in the last epoch of a training, as ``critic_order``, from its
    ``log.csv``; nothing where there was no critic."""
    rows = pd.read_csv(log)
    rows = rows[rows["metric"] == "critic_order"]
    last = rows[rows["epoch"] == rows["epoch"].max()]
    return {"critic_order": float(last["value"].mean())} if len(last) else {}


@torch.inference_mode()
def upscaling_seconds(network: Generator, amp: bool = False) -> float:
    """Seconds in which a network upscales a slice of 256 x 256 pixels by 2, the median of up to five times."""
    inferer = SuperResolutionInferer(1, amp=amp)
    device = next(network.parameters()).device
    image = torch.rand(1, network.in_channels, SLICE_SIZE, SLICE_SIZE, device=device)
    times: list[float] = []
    while len(times) <= ROUNDS and sum(times) < PATIENCE:
        start = time.perf_counter()
        # The result is brought back to wait for it.
        inferer(image, network, scale=SLICE_SCALE).cpu()
        times.append(time.perf_counter() - start)
    # The first time, things are set up.
    return statistics.median(times[1:] or times)


def comparison_rows(
    report: Mapping[str, Any], weights: Mapping[str, Path], device: str | torch.device | None = None, amp: bool = False
) -> list[Record]:
    """A row for each method of an evaluation.

    Args:
        report: see :func:`miassr_monai.evaluation.make_report`.
        weights: of the networks, by method; beside them lies the ``log.csv`` of the training.
        device: where the upscaling is timed; the first GPU, or the CPU where there is none, unless given.
        amp: whether in bfloat16.

    Returns:
        ``network``; of those with weights ``parameters``, ``steps``, ``minutes`` (of training) and ``slice_ms``, of
        those trained with a critic also ``critic_order``, see :func:`critic_order`; and each of :data:`COMPARED` that
        there is: its mean over subjects and scales by the report's first degradation.
    """
    rows = []
    for method in report["methods"]:
        row: Record = {"network": method["name"]}
        if path := weights.get(method["name"]):
            network = cast("Generator", load_model(path, device).network)
            row["parameters"] = sum(parameter.numel() for parameter in network.parameters())
            log = path.parent / "log.csv"
            row |= training_cost(log) | critic_order(log)
            row["slice_ms"] = 1e3 * upscaling_seconds(network, amp)
        rows.append(row | quality(report, method["name"]))
    return rows


def quality(report: Mapping[str, Any], method: str) -> dict[str, float]:
    """The measures of a method, means over the scales; those that are missing are left out."""
    own = [
        row
        for row in [*report["summary"], *report["distances"]]
        if (row["method"], row["degradation"]) == (method, report["degradation"])
    ]
    means = {row["measure"]: row["mean"] for row in own if row["scale"] == MEAN_SCALE}
    for name in {row["measure"] for row in own if "value" in row}:
        means[name] = statistics.fmean(
            math.nan if row["value"] is None else row["value"] for row in own if row["measure"] == name
        )
    return {name: means[name] for name in COMPARED if means.get(name) is not None and math.isfinite(means[name])}


def comparison_table(rows: Sequence[Record]) -> str:
    """The rows as a table in Markdown."""
    measures = [name for name in COMPARED if any(name in row for row in rows)]
    columns = {
        "network": ("network", "{}"),
        "parameters": ("parameters", "{:,}"),
        **{name: (MEASURES[name][0], f"{{:.{MEASURES[name][1]}f}}") for name in measures},
        **({"critic_order": ("critic: in order", "{:.0%}")} if any("critic_order" in row for row in rows) else {}),
        "steps": ("steps", "{:,}"),
        "minutes": ("training, min", "{:.1f}"),
        "slice_ms": (f"slice of {SLICE_SIZE} x {SLICE_SIZE}, ms", "{:.1f}"),
    }
    cells = [[title for title, _ in columns.values()]]
    cells += [[form.format(row[key]) if key in row else "" for key, (_, form) in columns.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # Names to the left, numbers to the right.
    lines = [
        "| "
        + " | ".join(
            f"{cell:{'<>'[number > 0]}{width}}" for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = "|" + "|".join(f"{'-' * (width + 1)}{'-:'[number > 0]}" for number, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def write_comparison(folder: str | os.PathLike, rows: Sequence[Record]) -> list[Path]:
    """Write ``comparison.md``, ``comparison.csv`` and ``comparison.png``, each whole or not at all; their paths.

    Raises:
        OSError: when a file cannot be written.
    """
    folder = Path(folder)
    paths = [folder / f"comparison.{kind}" for kind in ("md", "csv", "png")]
    contents = [comparison_table(rows).encode(), pd.DataFrame(rows).to_csv(index=False).encode(), draw_quality(rows)]
    for path, content in zip(paths, contents, strict=True):
        with whole_file(path) as partial:
            partial.write_bytes(content)
    return paths
