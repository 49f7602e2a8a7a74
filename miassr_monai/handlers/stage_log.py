"""What a training stage tells of itself."""

from __future__ import annotations

import os
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from miassr_monai.handlers.csv_log import CsvLog
from miassr_monai.handlers.mlflow import MLflowLog
from miassr_monai.handlers.output import mean_over_processes, scalar_output

__all__ = ["StageLog"]


class StageLog:
    """Hand the metrics of one of several training stages to the logs that the stages share.

    At iterations these are all scalars of the trainer's output and the learning rates, at epochs how many steps were
    discarded, the time of all steps, where :class:`StageTimeLimit` tells it, and, after a validation, the validator's
    metrics.

    Args:
        stage: name of the stage.
        csv: file of the metrics.
        mlflow: the MLflow run, if there is one.
        validator: evaluator whose metrics are logged; attach this handler after the ``ValidationHandler``.
        panel_path: picture of each validation, for MLflow.
        interval: iterations between two logs.
    """

    def __init__(
        self,
        stage: str,
        csv: CsvLog,
        mlflow: MLflowLog | None = None,
        *,
        validator: Engine | None = None,
        panel_path: str | os.PathLike | None = None,
        interval: int = 1,
    ) -> None:
        self.stage = stage
        self.csv = csv
        self.mlflow = mlflow
        self.validator = validator
        self.panel_path = panel_path
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self.log_iteration)
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self.start)
            # An epoch that ends before its time, too.
            engine.add_event_handler(Events.EPOCH_COMPLETED | Events.TERMINATE, self.log_epoch)

    def start(self, engine: Engine) -> None:
        """Tell MLflow how long the stage is."""
        if self.mlflow is not None:
            self.mlflow.log_params(
                {f"{self.stage}/{name}": getattr(engine.state, name) for name in ("max_epochs", "epoch_length")}
            )

    def log_iteration(self, engine: Engine) -> None:
        """Log losses, which are the means over all processes, and learning rates."""
        metrics = {name: mean_over_processes(value) for name, value in scalar_output(engine.state.output).items()}
        if idist.get_rank() > 0:
            return
        metrics["learning_rate"] = engine.optimizer.param_groups[0]["lr"]
        if hasattr(engine, "d_optimizer"):
            metrics["critic_learning_rate"] = engine.d_optimizer.param_groups[0]["lr"]
        self.log(engine, metrics, engine.state.iteration)

    def log_epoch(self, engine: Engine) -> None:
        """Log the validation, if there was one, and how many steps were discarded."""
        validated = self.validator is not None and self.validator.state.epoch == engine.state.epoch
        metrics = dict(self.validator.state.metrics) if validated else {}
        metrics["discarded_steps"] = getattr(engine.state, "discarded", 0)
        if hasattr(engine.state, "training_seconds"):
            metrics["training_seconds"] = engine.state.training_seconds
        self.log(engine, metrics, engine.state.epoch)
        if validated and self.mlflow is not None and self.panel_path is not None:
            self.mlflow.log_file(self.panel_path, f"{self.stage}/epoch_{engine.state.epoch:04d}")

    def log(self, engine: Engine, metrics: dict[str, Any], step: int) -> None:
        """Hand metrics to all logs."""
        self.csv.log(self.stage, engine.state, metrics)
        if self.mlflow is not None:
            self.mlflow.log_metrics({f"{self.stage}/{name}": value for name, value in metrics.items()}, step)
