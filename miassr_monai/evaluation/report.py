"""The report of an evaluation: one dictionary, and the files made of it."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import monai
import pandas as pd
import torch

import miassr_monai
from miassr_monai.evaluation.page import draw_page
from miassr_monai.evaluation.summary import (
    MEAN_SCALE,
    Record,
    compare_methods,
    gains,
    reference_method,
    subject_means,
    summarize,
)
from miassr_monai.files import whole_file
from miassr_monai.prediction import TrainedModel

__all__ = ["make_report", "report_table", "write_report"]

# Measures by which methods are tested against each other.
TESTED = ("psnr", "ssim", "haarpsi")


def make_report(
    scores: pd.DataFrame,
    *,
    models: Mapping[str, TrainedModel],
    distances: Sequence[Record] = (),
    left_out: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sum up an evaluation.

    Args:
        scores: a row for each slice and method with ``degradation``, ``scale`` (as text), ``method``, ``subject``,
            ``contrast``, ``volume``, ``slice`` and :data:`miassr_monai.metrics.SLICE_MEASURES`.
        models: the methods by name, the last the one that the report is about.
        distances: distances between the sets of all slices.
        left_out: measures that could not be had, and why.
        failed: volumes that could not be evaluated, and why.
        protocol: how the evaluation was made.

    Returns:
        ``degradation`` that most of the report is about, ``methods``, ``summary`` (see :func:`summarize`),
        ``contrasts`` (the same for each contrast), ``subjects`` (each one's means), ``tests``, ``distances``,
        ``left_out``, ``failed`` and ``protocol``.
    """
    first = next(iter(scores["degradation"]))
    missing = dict(left_out or {})
    if scores["ms_ssim"].isna().all():
        missing["ms_ssim"] = "no slice has 176 x 176 pixels"
    if scores["contrast"].nunique() > 1:
        groups = list(scores[scores["degradation"] == first].groupby("contrast"))
    else:
        groups = []
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "degradation": first,
        "methods": [describe(name, model) for name, model in models.items()],
        "summary": summarize(scores),
        "contrasts": [{"contrast": name, **row} for name, group in groups for row in summarize(group)],
        "subjects": subject_records(scores, first),
        "tests": compare_methods(scores, list(models), TESTED),
        "distances": list(distances),
        "left_out": missing,
        "failed": dict(failed or {}),
        "protocol": {
            **(protocol or {}),
            "infinite_psnr": int(scores["psnr"].map(math.isinf).sum()),
            "versions": {
                "miassr_monai": miassr_monai.__version__,
                "monai": monai.__version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        },
    }


def describe(name: str, model: TrainedModel) -> Record:
    """What a method is."""
    return {
        "name": name,
        "model": model.name,
        "sha256": model.sha256,
        "trained_for": model.trained_for,
    }


def subject_records(scores: pd.DataFrame, degradation: str) -> list[Record]:
    """PSNR, SSIM and HaarPSI of each subject by each method, over the scales."""
    means = subject_means(scores[scores["degradation"] == degradation]).xs(MEAN_SCALE, level="scale")
    return means[list(TESTED)].reset_index().drop(columns="degradation").to_dict("records")


def report_table(report: Mapping[str, Any]) -> str:
    """Text table of the mean PSNR (dB) and SSIM of each method at each scale, the comparison, the gain under each
    degradation where there are several, and what was left out."""
    cells = {
        (row["scale"], row["method"], row["measure"]): row["mean"]
        for row in report["summary"]
        if row["degradation"] == report["degradation"]
    }
    methods = [method["name"] for method in report["methods"]]
    scales = list(dict.fromkeys(scale for scale, _, _ in cells))
    width = max(16, *(len(method) + 2 for method in methods))
    first = max(5, *map(len, scales))
    lines = [
        f"{'scale':<{first}}" + "".join(f"{method:>{width}}" for method in methods),
        " " * first + "".join(f"{'PSNR':>{width - 8}}{'SSIM':>8}" for _ in methods),
    ]
    for scale in scales:
        pairs = [(cells[scale, method, "psnr"], cells[scale, method, "ssim"]) for method in methods]
        lines.append(f"{scale:<{first}}" + "".join(f"{psnr:>{width - 8}.2f}{ssim:>8.4f}" for psnr, ssim in pairs))
    failed = [f"{volume} is left out: {reason}" for volume, reason in report["failed"].items()]
    return "\n".join([*lines, "", headline(report), *gain_lines(report, methods), *failed])


def gain_lines(report: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Text table of what the last method gains under each degradation, if there are several."""
    table = gains(report["summary"], methods) if len(methods) > 1 else pd.DataFrame()
    if len(table) < 2:
        return []
    first = max(map(len, table.index))
    width = max(8, *(len(scale) + 2 for scale in table.columns))
    rows = [f"{name:<{first}}" + "".join(f"{gain:>+{width}.2f}" for gain in row) for name, *row in table.itertuples()]
    return [
        "",
        f"PSNR (dB) gained by {methods[-1]} over {reference_method(methods)}:",
        " " * first + "".join(f"{scale:>{width}}" for scale in table.columns),
        *rows,
    ]


def headline(report: Mapping[str, Any]) -> str:
    """The result in a sentence or two: the last method against bicubic, or against the first one."""
    methods = [method["name"] for method in report["methods"]]
    rows = [
        row
        for row in report["summary"]
        if row["degradation"] == report["degradation"] and row["scale"] == MEAN_SCALE and row["measure"] == "psnr"
    ]
    about = f"{report['degradation']} degradation, {plural(rows[-1]['subjects'], 'subject')}"
    if len(methods) == 1:
        return f"{methods[0]}: {rows[0]['mean']:.2f} dB PSNR on average over the scales ({about})."
    reference = reference_method(methods)
    test = next(
        test
        for test in report["tests"]
        if (test["first"], test["second"], test["measure"]) == (reference, methods[-1], "psnr")
        and test["degradation"] == report["degradation"]
    )
    interval = "" if math.isnan(test["lower"]) else f" (95 % interval {test['lower']:+.2f} to {test['upper']:+.2f})"
    said = f"{methods[-1]} against {reference}: {test['difference']:+.2f} dB PSNR{interval}, {about}, "
    said += f"better in {test['better']} of {test['subjects']}. "
    if test["p"] is None:
        return said + "With fewer than 6 subjects no test is meaningful."
    return said + f"Wilcoxon, Holm-corrected: p = {test['p_holm']:.2g}."


def plural(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def write_report(
    folder: str | os.PathLike, report: Mapping[str, Any], scores: pd.DataFrame, pictures: Sequence[Record] = ()
) -> None:
    """Write ``report.json`` and ``report.csv`` (with the scores of every slice), ``report.html`` and ``report.txt``,
    each whole or not at all, and print the table.

    Raises:
        OSError: when a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = report_table(report)
    plain = without_nan({**report, "slices": scores.to_dict("list")})
    contents = {
        "report.csv": scores.to_csv(index=False),
        "report.json": json.dumps(plain, indent=1, allow_nan=False) + "\n",
        "report.txt": f"{table}\n",
        "report.html": draw_page(report, headline(report), pictures),
    }
    for name, content in contents.items():
        with whole_file(folder / name) as partial:
            partial.write_text(content, encoding="utf-8")
    print(table)


def without_nan(content: Any) -> Any:
    """JSON has no NaN and no infinity: ``None``, ``"Infinity"`` and ``"-Infinity"``."""
    if isinstance(content, Mapping):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    return content
