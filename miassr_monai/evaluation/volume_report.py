"""Methods compared on the volumes of a data set: scores of each, means over subjects, and the files of both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from monai.data import MetaTensor

from miassr_monai.data import subject_of
from miassr_monai.evaluation.failures import sentence_of
from miassr_monai.evaluation.names import volume_names
from miassr_monai.evaluation.summary import MEAN_SCALE, Record
from miassr_monai.evaluation.whole_volumes import Condition, Method, compare_on_volume
from miassr_monai.files import whole_file
from miassr_monai.metrics import bootstrap_interval, paired_tests

__all__ = ["evaluate_volumes", "summarize_volumes", "volume_table"]

NAMES = ("input", "method", "volume", "subject")


def summarize_volumes(scores: pd.DataFrame) -> list[Record]:
    """Means over subjects, with their 95 % bootstrap intervals.

    Args:
        scores: a row for each volume, kind of input and method: :data:`NAMES` and the measures. The first method is the
            one that the others are compared with.

    Returns:
        ``input`` (or ``"mean"``, over all kinds of them), ``method``, ``measure``, ``mean``, ``lower``, ``upper`` and
        ``subjects``; of the ``psnr`` also the ``gain`` over the first method on the same inputs, with its
        ``gain_lower`` and ``gain_upper``, in how many subjects it is ``better``, and ``p`` of Wilcoxon's test.
    """
    reference = scores["method"].iloc[0]
    measures = [column for column in scores.columns if column not in NAMES]
    by_subject = scores.groupby(["input", "method", "subject"], sort=False)[measures].mean().reset_index()
    over_all = by_subject.groupby(["method", "subject"], sort=False)[measures].mean().reset_index()
    records = []
    for kind, group in [*by_subject.groupby("input", sort=False), (MEAN_SCALE, over_all)]:
        psnr = {method: rows.set_index("subject")["psnr"].to_dict() for method, rows in group.groupby("method")}
        for method, rows in group.groupby("method", sort=False):
            for measure in measures:
                lower, upper = bootstrap_interval(rows[measure].tolist())
                place = {"input": kind, "method": method, "measure": measure, "subjects": len(rows)}
                records.append({**place, "mean": float(rows[measure].mean()), "lower": lower, "upper": upper})
                if measure == "psnr" and method != reference:
                    records[-1].update(gain_over(psnr[reference], psnr[method]))
    return records


def gain_over(reference: Mapping[str, float], method: Mapping[str, float]) -> Record:
    """What a method gains over another, subject by subject."""
    (test,) = paired_tests({"reference": reference, "method": method})
    kept = {"gain": "difference", "gain_lower": "lower", "gain_upper": "upper", "better": "better", "p": "p"}
    return {name: test[key] for name, key in kept.items()}


def volume_table(summary: Sequence[Record]) -> str:
    """PSNR of each method for each kind of input, below it the gain over the first with its 95 % interval; then the
    other measures, the time and the memory, over all kinds of inputs."""
    methods = list(dict.fromkeys(row["method"] for row in summary))
    cells = {(row["input"], row["method"], row["measure"]): row for row in summary}
    kinds = list(dict.fromkeys(row["input"] for row in summary))
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


def evaluate_volumes(
    folder: Path,
    datalist: Sequence[Mapping[str, Any]],
    load: Callable[[Mapping[str, Any]], MetaTensor],
    conditions: Sequence[Condition],
    methods: Mapping[str, Method],
    *,
    title: str,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[..., Any] | None = None,
) -> dict[str, str]:
    """Compare methods on the volumes of a data set, and write a table of all scores, a summary and a table to read.

    The files are written after each volume, so that a run that is stopped leaves what it has found.

    Args:
        folder: of the files.
        datalist: items with the key ``image`` and, where known, ``subject``.
        load: an item to its volume in [0, 1] ``(1, h, w, d)`` in RAS.
        conditions: how the volumes become coarse.
        methods: by name; the first is the one that the others are compared with.
        title: of the files: ``.csv``, ``.json`` and ``.txt`` are added.
        settings: what else is written into the summary.
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
    items = list(zip(volume_names(datalist), datalist, strict=True))
    for volume, item in items if progress is None else progress(items, total=len(items)):
        place = {"volume": volume, "subject": subject_of(item) or volume}
        try:
            found = [{**place, **row} for row in compare_on_volume(load(item), conditions, methods, device)]
        # One volume, whatever is wrong with it, does not stop the others.
        except Exception as error:
            failed[volume] = sentence_of(error)
            continue
        rows += found
        write(folder / title, pd.DataFrame(rows), failed, settings or {})
    if not rows:
        volume, reason = next(iter(failed.items()))
        raise ValueError(f"none of the {len(datalist)} volumes could be evaluated; {volume}: {reason}")
    write(folder / title, pd.DataFrame(rows), failed, settings or {})
    return failed


def write(path: Path, scores: pd.DataFrame, failed: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Write the files, each whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = summarize_volumes(scores)
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in summary]
    report = {**settings, "failed": dict(failed), "summary": plain}
    contents = {
        "csv": scores.to_csv(index=False),
        "json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "txt": f"{volume_table(summary)}\n",
    }
    for kind, content in contents.items():
        with whole_file(path.parent / f"{path.name}.{kind}") as partial:
            partial.write_text(content, encoding="utf-8")
