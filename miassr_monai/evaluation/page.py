"""The report as one page that needs no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from miassr_monai.evaluation.figures import ERROR_LIMIT, draw_curves, draw_error, draw_image
from miassr_monai.evaluation.summary import MEAN_SCALE, Record, gains, reference_method

__all__ = ["draw_page"]

# Measure: title, digits, and what is best: "high", "low", or the value itself.
MEASURES: dict[str, tuple[str, int, Any]] = {
    "psnr": ("PSNR (dB)", 2, "high"),
    "ssim": ("SSIM", 4, "high"),
    "ms_ssim": ("MS-SSIM", 4, "high"),
    "haarpsi": ("HaarPSI", 4, "high"),
    "psnr_foreground": ("PSNR, foreground (dB)", 2, "high"),
    "ssim_foreground": ("SSIM, foreground", 4, "high"),
    "haarpsi_foreground": ("HaarPSI, foreground", 4, "high"),
    "consistency": ("Consistency (RMSE)", 4, "low"),
    "high_frequency": ("High-frequency energy / truth", 3, 1.0),
    "fid": ("FID", 1, "low"),
    "frd": ("FRD", 2, "low"),
}
# What is not in the table: the distances that a caller brings.
OTHER = 3, "low"
# Most cases of each kind that are shown.
MAX_CASES = 8


def draw_page(report: Mapping[str, Any], headline: str, pictures: Sequence[Record] = ()) -> str:
    """HTML of a report.

    Args:
        report: see :func:`miassr_monai.evaluation.make_report`.
        headline: the result in a sentence.
        pictures: cases with ``kind`` (``"typical"`` or ``"worst"``), ``volume``, ``contrast``, ``scale``, ``slice``,
            ``psnr`` of each method, ``gain``, and ``images`` ``(H, W)`` by name: ``input``, the methods, ``truth``.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = number
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    methods = [method["name"] for method in report["methods"]]
    summary = [row for row in report["summary"] if row["degradation"] == report["degradation"]]
    return template.render(
        report=report,
        headline=headline,
        methods=methods,
        curves=draw_curves(summary, [("psnr", "PSNR (dB)"), ("ssim", "SSIM")]),
        scales=scale_rows(summary, methods),
        measures=measure_rows(summary, methods),
        contrasts=contrast_rows(report["contrasts"], methods),
        subjects=subject_rows(report["subjects"], methods),
        matrix=matrix_rows(report, methods),
        gains=gain_table(report, methods),
        distances=distance_rows(report["distances"], methods),
        titles={name: title for name, (title, _, _) in MEASURES.items()},
        cases=[draw_case(case, methods) for case in choose(pictures)],
        error_limit=ERROR_LIMIT,
    )


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number for readers; a dash for none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def cells(values: Mapping[str, Record | None], methods: Sequence[str], measure: str) -> list[Record]:
    """One cell a method: mean and interval as text, and whether it is the best."""
    _, digits, best = MEASURES.get(measure, (measure, *OTHER))
    means = {method: found["mean"] for method in methods if (found := values.get(method))}
    finite = {method: mean for method, mean in means.items() if not math.isnan(mean)}
    # The farther from the best, the larger.
    distance = {"high": lambda mean: -mean, "low": lambda mean: mean}.get(best, lambda mean: abs(mean - best))
    winner = min(finite, key=lambda method: distance(finite[method])) if len(methods) > 1 and finite else None
    row = []
    for method in methods:
        value = values.get(method) or {"mean": math.nan}
        lower, upper = value.get("lower", math.nan), value.get("upper", math.nan)
        interval = "" if math.isnan(lower) else f"{number(lower, digits)} to {number(upper, digits)}"
        row.append({"text": number(value["mean"], digits), "interval": interval, "best": method == winner})
    return row


def by_method(rows: Sequence[Record], **wanted: Any) -> dict[str, Record]:
    """Records with certain values, by method."""
    return {row["method"]: row for row in rows if all(row[key] == value for key, value in wanted.items())}


def scale_rows(summary: Sequence[Record], methods: Sequence[str]) -> list[Record]:
    """PSNR and SSIM of each method at each scale."""
    scales = list(dict.fromkeys(row["scale"] for row in summary))
    return [
        {
            "label": scale,
            "groups": [cells(by_method(summary, scale=scale, measure=m), methods, m) for m in ("psnr", "ssim")],
        }
        for scale in scales
    ]


def measure_rows(summary: Sequence[Record], methods: Sequence[str]) -> list[Record]:
    """All measures over the scales."""
    rows = []
    for measure in dict.fromkeys(row["measure"] for row in summary):
        found = by_method(summary, scale=MEAN_SCALE, measure=measure)
        if not all(math.isnan(row["mean"]) for row in found.values()):
            subjects = max(row["subjects"] for row in found.values())
            rows.append({"label": MEASURES[measure][0], "n": subjects, "groups": [cells(found, methods, measure)]})
    return rows


def contrast_rows(contrasts: Sequence[Record], methods: Sequence[str]) -> list[Record]:
    """PSNR and SSIM of each method for each contrast, over the scales."""
    rows = []
    for contrast in dict.fromkeys(row["contrast"] for row in contrasts):
        place = {"contrast": contrast, "scale": MEAN_SCALE}
        found = [(by_method(contrasts, measure=m, **place), m) for m in ("psnr", "ssim")]
        n = max(row["volumes"] for row in found[0][0].values())
        rows.append({"label": contrast, "n": n, "groups": [cells(values, methods, m) for values, m in found]})
    return rows


def subject_rows(subjects: Sequence[Record], methods: Sequence[str]) -> list[Record]:
    """PSNR, SSIM and HaarPSI of each subject, over the scales."""
    rows = []
    for subject in sorted({row["subject"] for row in subjects}):
        found = by_method(subjects, subject=subject)
        groups = []
        for measure in ("psnr", "ssim", "haarpsi"):
            values = {method: {"mean": row[measure]} for method, row in found.items()}
            groups.append(cells(values, methods, measure))
        rows.append({"label": subject, "groups": groups})
    return rows


def matrix_rows(report: Mapping[str, Any], methods: Sequence[str]) -> list[Record]:
    """PSNR and SSIM of each method under each degradation, over the scales."""
    summary = report["summary"]
    degradations = list(dict.fromkeys(row["degradation"] for row in summary))
    rows = []
    for method in report["methods"]:
        row = {
            "label": method["name"],
            "trained": ", ".join(method["trained_for"].get("degradations", [])),
            "cells": [],
        }
        for degradation in degradations:
            place = {"degradation": degradation, "scale": MEAN_SCALE}
            found = [(by_method(summary, measure=m, **place), m) for m in ("psnr", "ssim")]
            pair = [cells(values, methods, m)[methods.index(method["name"])] for values, m in found]
            row["cells"].append(pair)
        rows.append(row)
    return [{"degradations": degradations, "rows": rows}] if len(degradations) > 1 else []


def gain_table(report: Mapping[str, Any], methods: Sequence[str]) -> list[Record]:
    """What the last method gains under each degradation at each scale, if there are several degradations."""
    table = gains(report["summary"], methods) if len(methods) > 1 else pd.DataFrame()
    if len(table) < 2:
        return []
    rows = [
        {"label": name, "cells": [{"text": number(gain, sign=True), "loss": gain < 0} for gain in row]}
        for name, *row in table.itertuples()
    ]
    return [{"reference": reference_method(methods), "method": methods[-1], "scales": list(table), "rows": rows}]


def distance_rows(distances: Sequence[Record], methods: Sequence[str]) -> list[Record]:
    """Tables of the distances between sets of slices, under each degradation at each scale."""
    tables = []
    for measure in dict.fromkeys(row["measure"] for row in distances):
        rows = []
        for degradation, scale in dict.fromkeys((row["degradation"], row["scale"]) for row in distances):
            found = by_method(distances, degradation=degradation, scale=scale, measure=measure)
            values = {method: {"mean": row["value"]} for method, row in found.items()}
            n = next(iter(found.values()))["slices"]
            rows.append({"label": f"{degradation}, {scale}", "n": n, "groups": [cells(values, methods, measure)]})
        tables.append({"title": MEASURES.get(measure, (measure,))[0], "rows": rows})
    return tables


def choose(pictures: Sequence[Record]) -> list[Record]:
    """Typical slices of as many contrasts as there are, and at each scale the worst slice of all."""
    typical: dict[tuple, Record] = {}
    worst: dict[str, Record] = {}
    for case in pictures:
        if case["kind"] == "typical":
            typical.setdefault((case["contrast"], case["scale"]), case)
        elif case["scale"] not in worst or case["gain"] < worst[case["scale"]]["gain"]:
            worst[case["scale"]] = case
    return [*list(typical.values())[:MAX_CASES], *list(worst.values())[:MAX_CASES]]


def draw_case(case: Record, methods: Sequence[str]) -> Record:
    """A case with its pictures drawn."""
    images, truth = case["images"], case["images"]["truth"]
    where = f"{case['volume']}, slice {case['slice']}, scale {case['scale']}"
    return {
        "title": f"{'Typical' if case['kind'] == 'typical' else 'Worst'}: {where}",
        "note": "The slice with the least gain in PSNR of all that show enough." if case["kind"] == "worst" else "",
        "images": [
            {
                "name": name,
                "src": draw_image(image),
                "psnr": case["psnr"].get(name),
                "width": truth.shape[0],
                "height": truth.shape[1],
            }
            for name, image in images.items()
        ],
        "errors": [{"name": name, "src": draw_error(images[name], truth)} for name in methods],
    }
