"""Statistics over subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["MIN_SUBJECTS", "bootstrap_interval", "holm", "paired_tests"]

# With fewer pairs the exact two-sided Wilcoxon test cannot give less than .05: 2 / 2^5 = .0625.
MIN_SUBJECTS = 6
RESAMPLES = 9999


def bootstrap_interval(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979), 9999 resamples.

    Args:
        values: one of each subject.
        confidence: share of the resampled means inside.
        seed: of the resampling.

    Returns:
        Lower and upper limit; NaN for fewer than two subjects.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    result = stats.bootstrap(
        (numbers,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, method="percentile", rng=generator
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests for their number (Holm, Scandinavian J. of Statistics 1979)."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = adjusted
    return result.tolist()


def paired_tests(values: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Wilcoxon's signed-rank test between each two methods over subjects, two-sided, with Holm's correction.

    Args:
        values: for each method the mean of each subject.

    Returns:
        For each pair: ``first``, ``second``, ``subjects`` that have both, ``difference`` (mean of second minus first),
        its ``lower`` and ``upper`` 95 % limits, ``better`` (subjects where the second is larger), ``p`` and ``p_holm``;
        these are ``None`` with fewer than 6 subjects, where no result can be significant.
    """
    tests: list[dict[str, Any]] = []
    for first, second in combinations(values, 2):
        subjects = sorted(set(values[first]) & set(values[second]))
        differences = np.array([values[second][s] - values[first][s] for s in subjects])
        differences = differences[np.isfinite(differences)]
        lower, upper = bootstrap_interval(differences)
        enough = len(differences) >= MIN_SUBJECTS
        tests.append(
            {
                "first": first,
                "second": second,
                "subjects": len(differences),
                "difference": float(differences.mean()) if len(differences) else math.nan,
                "lower": lower,
                "upper": upper,
                "better": int((differences > 0).sum()),
                # Where no subject differs at all, neither method is better.
                "p": (float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0) if enough else None,
                "p_holm": None,
            }
        )
    tested = [test for test in tests if test["p"] is not None]
    for test, p in zip(tested, holm([float(test["p"]) for test in tested]), strict=True):
        test["p_holm"] = p
    return tests
