"""The means of an evaluation as curves over the scale."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from miassr_monai.evaluation.evaluation import Evaluation
from miassr_monai.evaluation.summary import MEAN_SCALE
from miassr_monai.geometry import parse_scale

if TYPE_CHECKING:
    from miassr_monai.handlers import MLflowLog

__all__ = ["ScaleLog", "scale_metrics"]

# MLflow takes no other characters in the name of a metric.
REFUSED = re.compile(r"[^\w.\- :]")


def scale_metrics(report: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """The means of a report by step, which is a hundred times the scale: each measure of each method under each
    degradation is one curve, named ``measure/degradation/method``.

    A scale that is unequal along the axes is no place on a curve: it ends a name of its own, at the step of its largest
    factor. So does ``mean``, over all scales, at step 0. What is not finite is left out.
    """
    steps: dict[int, dict[str, float]] = {}
    for row in [*report["summary"], *report["distances"]]:
        value, scale = row.get("mean", row.get("value")), row["scale"]
        name = "/".join(REFUSED.sub("_", row[part]) for part in ("measure", "degradation", "method"))
        factors = 0.0 if scale == MEAN_SCALE else parse_scale(scale)
        if not isinstance(factors, float) or scale == MEAN_SCALE:
            name = f"{name}/{scale}"
        largest = factors if isinstance(factors, float) else max(factors)
        if math.isfinite(value):
            steps.setdefault(round(100 * largest), {})[name] = value
    return steps


class ScaleLog:
    """Log the means of an evaluation by :func:`scale_metrics`, and finish the run.

    Attach it after the evaluation.

    Args:
        evaluation: what is evaluated.
        mlflow: the run in MLflow.
    """

    def __init__(self, evaluation: Evaluation, mlflow: MLflowLog) -> None:
        self.evaluation = evaluation
        self.mlflow = mlflow

    def attach(self, engine: Engine) -> None:
        """Log at the end."""
        engine.add_event_handler(Events.COMPLETED, self.log)

    def log(self) -> None:
        """Log the means of the report."""
        for step, metrics in sorted(scale_metrics(self.evaluation.report).items()):
            self.mlflow.log_metrics(metrics, step)
        self.mlflow.close()
