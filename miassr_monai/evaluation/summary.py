"""From scores of slices to numbers over subjects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from miassr_monai.metrics import SLICE_MEASURES, bootstrap_interval, paired_tests

__all__ = ["MEAN_SCALE", "Record", "compare_methods", "gains", "reference_method", "subject_means", "summarize"]

Record = dict[str, Any]
# Stands for the mean over all scales where a scale does.
MEAN_SCALE = "mean"


def subject_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of each subject: over slices, then over the subject's volumes, then, as one more scale, over the scales.

    Args:
        scores: a row for each slice and method with ``degradation``, ``scale`` (as text), ``method``, ``subject``,
            ``volume`` and the measures. What is not finite is left out: an infinite PSNR, measures that cannot be had.

    Returns:
        A row for each ``degradation``, ``scale`` or ``"mean"``, ``method`` and ``subject``, which are its index.
    """
    measures = list(SLICE_MEASURES)
    places = ["degradation", "scale", "method", "subject"]
    finite = scores.assign(**scores[measures].replace([np.inf, -np.inf], np.nan))
    by_volume = finite.groupby([*places, "volume"], sort=False)[measures].mean()
    by_scale = by_volume.groupby(places, sort=False).mean().reset_index()
    # A subject without a number at one scale has no mean over the scales either.
    over_scales = by_scale.groupby(["degradation", "method", "subject"], sort=False)[measures].agg(
        lambda values: values.mean(skipna=False)
    )
    over_scales = over_scales.reset_index().assign(scale=MEAN_SCALE)
    return pd.concat([by_scale, over_scales]).set_index(places)


def summarize(scores: pd.DataFrame) -> list[Record]:
    """Mean over subjects of each measure, with its 95 % bootstrap interval.

    Args:
        scores: see :func:`subject_means`.

    Returns:
        ``degradation``, ``scale`` (or ``"mean"``), ``method``, ``measure``, ``mean``, ``lower``, ``upper``,
        ``subjects`` that have a number, ``volumes`` and ``slices`` that were scored.
    """
    means = subject_means(scores)
    counted = scores.groupby(["degradation", "method"])
    volumes, slices = (
        counted["volume"].nunique(),
        counted[["volume", "slice"]].apply(lambda g: len(g.drop_duplicates())),
    )
    records = []
    for (degradation, scale, method), group in means.groupby(["degradation", "scale", "method"], sort=False):
        for measure in SLICE_MEASURES:
            values = group[measure].dropna()
            lower, upper = bootstrap_interval(values)
            records.append(
                {
                    "degradation": degradation,
                    "scale": scale,
                    "method": method,
                    "measure": measure,
                    "mean": float(values.mean()),
                    "lower": lower,
                    "upper": upper,
                    "subjects": len(values),
                    "volumes": int(volumes[degradation, method]),
                    "slices": int(slices[degradation, method]),
                }
            )
    return records


def reference_method(methods: Sequence[str]) -> str:
    """What the last method is compared with: bicubic interpolation, or the first one."""
    return "bicubic" if "bicubic" in methods[:-1] else methods[0]


def gains(summary: Sequence[Record], methods: Sequence[str]) -> pd.DataFrame:
    """PSNR (dB) that the last method gains over :func:`reference_method`.

    Args:
        summary: see :func:`summarize`.
        methods: two or more.

    Returns:
        A row for each degradation, a column for each scale, in their order.
    """
    psnr = pd.DataFrame([row for row in summary if row["measure"] == "psnr"])
    table = psnr.set_index(["degradation", "scale", "method"])["mean"].unstack("method")
    gain = (table[methods[-1]] - table[reference_method(methods)]).unstack("scale")
    return gain.loc[list(dict.fromkeys(psnr["degradation"])), list(dict.fromkeys(psnr["scale"]))]


def compare_methods(scores: pd.DataFrame, methods: Sequence[str], measures: Sequence[str]) -> list[Record]:
    """Compare all pairs of methods over subjects, by their means over the scales; Holm's correction is over the pairs.

    Returns:
        As :func:`miassr_monai.metrics.paired_tests`, with ``degradation`` and ``measure``.
    """
    means = subject_means(scores).xs(MEAN_SCALE, level="scale")
    records = []
    for degradation, group in means.groupby("degradation", sort=False):
        for measure in measures:
            values = {
                method: group.xs((degradation, method), level=("degradation", "method"))[measure].to_dict()
                for method in methods
            }
            records += [{"degradation": degradation, "measure": measure, **test} for test in paired_tests(values)]
    return records
