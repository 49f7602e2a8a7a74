"""The task ``through-plane`` on a data set: scores of every volume, means over subjects, and the files of both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from monai.data import MetaTensor

from miassr_monai.data import subject_of
from miassr_monai.data.datalist import files_of
from miassr_monai.evaluation.failures import sentence_of
from miassr_monai.evaluation.summary import MEAN_SCALE, Record
from miassr_monai.evaluation.thick_slices import ThickSlices, compare_on_volume
from miassr_monai.files import whole_file
from miassr_monai.metrics import bootstrap_interval, paired_tests

__all__ = ["evaluate_thick_slices", "summarize_thick", "thick_table"]

NAMES = ("slices", "method", "volume", "subject")
# What the table compares the other methods with.
REFERENCE = "cubic spline"


def summarize_thick(scores: pd.DataFrame) -> list[Record]:
    """Means over subjects, with their 95 % bootstrap intervals.

    Args:
        scores: a row for each volume, kind of slices and method: :data:`NAMES` and the measures.

    Returns:
        ``slices`` (or ``"mean"``, over all kinds of them), ``method``, ``measure``, ``mean``, ``lower``, ``upper`` and
        ``subjects``; of the ``psnr`` also the ``gain`` over cubic spline interpolation of the same scans, with its
        ``gain_lower`` and ``gain_upper``, in how many subjects it is ``better``, and ``p`` of Wilcoxon's test.
    """
    measures = [column for column in scores.columns if column not in NAMES]
    by_subject = scores.groupby(["slices", "method", "subject"], sort=False)[measures].mean().reset_index()
    over_all = by_subject.groupby(["method", "subject"], sort=False)[measures].mean().reset_index()
    records = []
    for slices, group in [*by_subject.groupby("slices", sort=False), (MEAN_SCALE, over_all)]:
        psnr = {method: rows.set_index("subject")["psnr"].to_dict() for method, rows in group.groupby("method")}
        for method, rows in group.groupby("method", sort=False):
            for measure in measures:
                lower, upper = bootstrap_interval(rows[measure].tolist())
                place = {"slices": slices, "method": method, "measure": measure, "subjects": len(rows)}
                records.append({**place, "mean": float(rows[measure].mean()), "lower": lower, "upper": upper})
                if measure == "psnr" and REFERENCE in psnr and method != REFERENCE:
                    records[-1].update(gain_over(psnr[REFERENCE], psnr[method]))
    return records


def gain_over(reference: Mapping[str, float], method: Mapping[str, float]) -> Record:
    """What a method gains over another, subject by subject."""
    (test,) = paired_tests({"reference": reference, "method": method})
    kept = {"gain": "difference", "gain_lower": "lower", "gain_upper": "upper", "better": "better", "p": "p"}
    return {name: test[key] for name, key in kept.items()}


def thick_table(summary: Sequence[Record]) -> str:
    """PSNR of each method for each kind of slices, below it the gain over cubic spline with its 95 % interval; then the
    other measures and the time, over all kinds of slices."""
    methods = list(dict.fromkeys(row["method"] for row in summary))
    cells = {(row["slices"], row["method"], row["measure"]): row for row in summary}
    kinds = list(dict.fromkeys(row["slices"] for row in summary))
    width = max(22, *(len(method) + 2 for method in methods))
    first = max(16, *(len(kind) + 2 for kind in kinds))
    lines = [f"{'PSNR (dB)':<{first}}" + "".join(f"{method:>{width}}" for method in methods)]
    for kind in kinds:
        rows = [cells[kind, method, "psnr"] for method in methods]
        lines.append(f"{kind:<{first}}" + "".join(f"{row['mean']:>{width}.2f}" for row in rows))
        lines.append(" " * first + "".join(f"{gain_text(row):>{width}}" for row in rows))
    for measure in dict.fromkeys(row["measure"] for row in summary):
        if measure != "psnr":
            rows = [cells[MEAN_SCALE, method, measure] for method in methods]
            lines.append(f"{measure:<{first}}" + "".join(f"{row['mean']:>{width}.4g}" for row in rows))
    return "\n".join(lines)


def gain_text(row: Record) -> str:
    """A gain with its interval."""
    if "gain" not in row:
        return ""
    interval = "" if math.isnan(row["gain_lower"]) else f" ({row['gain_lower']:+.2f} to {row['gain_upper']:+.2f})"
    return f"{row['gain']:+.2f}{interval}"


def evaluate_thick_slices(
    folder: Path,
    datalist: Sequence[Mapping[str, Any]],
    load: Callable[[Mapping[str, Any]], MetaTensor],
    conditions: Sequence[ThickSlices],
    methods: Mapping[str, Callable],
    *,
    told: str | None = None,
    device: str | None = None,
    progress: Callable[..., Any] | None = None,
) -> dict[str, str]:
    """Compare methods on the volumes of a data set, and write ``through_plane.csv``, ``.json`` and ``.txt``.

    The files are written after each volume, so that a run that is stopped leaves what it has found.

    Args:
        folder: of the files.
        datalist: items with the key ``image`` and, where known, ``subject``.
        load: an item to its volume in [0, 1] ``(1, h, w, d)`` in RAS.
        conditions: the slices.
        methods: see :func:`thick_methods`.
        told: the profile that methods are told, where it is not the true one.
        device: where to score, see :func:`compare_on_volume`.
        progress: shows the progress, such as ``tqdm``; called on an iterable with ``total``.

    Returns:
        Volumes that are left out, and why.

    Raises:
        ValueError: when no volume could be evaluated.
        OSError: when a file cannot be written.
    """
    rows: list[Record] = []
    failed: dict[str, str] = {}
    for item in datalist if progress is None else progress(datalist, total=len(datalist)):
        volume = Path(files_of(item)[0]).name
        place = {"volume": volume, "subject": subject_of(item) or volume}
        try:
            found = [{**place, **row} for row in compare_on_volume(load(item), conditions, methods, told, device)]
        # One volume, whatever is wrong with it, does not stop the others.
        except Exception as error:
            failed[volume] = sentence_of(error)
            continue
        rows += found
        write(folder, pd.DataFrame(rows), failed, told)
    if not rows:
        volume, reason = next(iter(failed.items()))
        raise ValueError(f"none of the {len(datalist)} volumes could be evaluated; {volume}: {reason}")
    write(folder, pd.DataFrame(rows), failed, told)
    return failed


def write(folder: Path, scores: pd.DataFrame, failed: Mapping[str, str], told: str | None) -> None:
    """Write the files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarize_thick(scores)
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in summary]
    contents = {
        "csv": scores.to_csv(index=False),
        "json": json.dumps({"told": told, "failed": dict(failed), "summary": plain}, indent=1, allow_nan=False) + "\n",
        "txt": f"{thick_table(summary)}\n",
    }
    for kind, content in contents.items():
        with whole_file(folder / f"through_plane.{kind}") as partial:
            partial.write_text(content, encoding="utf-8")
