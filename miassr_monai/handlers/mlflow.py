"""MLflow tracking of a run of several stages."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from monai.handlers import MLFlowHandler

from miassr_monai.handlers.output import scalar_output

__all__ = ["StageMLFlowHandler", "save_running_config"]


def save_running_config(path: str | os.PathLike) -> Path:
    """Write the configuration of the bundle workflow that is running, overlays and overrides merged, as JSON.

    MONAI hands it to nobody, so the workflow is looked up among the callers.

    Raises:
        RuntimeError: when no bundle workflow is running.
    """
    callers = (frame.frame.f_locals.get("self") for frame in inspect.stack(0))
    workflow = next((caller for caller in callers if isinstance(caller, ConfigWorkflow)), None)
    if workflow is None:
        raise RuntimeError("the running configuration can only be saved from within `python -m monai.bundle run`.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workflow.parser.get(), indent=2))
    return path


class StageMLFlowHandler(MLFlowHandler):
    """MONAI's ``MLFlowHandler`` for one of several training stages that share a run.

    Metrics are named ``<stage>/<name>``: every scalar of the trainer's output and the learning rates at iterations, and
    the validator's metrics at epochs, so that the stages' steps, which all start at one, do not mix.

    Args:
        stage: name of the stage.
        validator: evaluator whose metrics are logged after each epoch; attach this handler after the
            ``ValidationHandler``.
        panel_path: picture to keep as an artifact of each epoch with a validation, if it is there.
        interval: iterations between two logs.
        kwargs: see ``MLFlowHandler``.
    """

    def __init__(
        self,
        stage: str,
        validator: Engine | None = None,
        *,
        panel_path: str | os.PathLike | None = None,
        interval: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            output_transform=scalar_output, iteration_log=lambda _, iteration: iteration % interval == 0, **kwargs
        )
        self.stage = stage
        self.validator = validator
        self.panel_path = panel_path

    def start(self, engine: Engine) -> None:
        """Start a run or, without ``run_name``, go on in the latest that is not finished (MONAI takes the oldest)."""
        if self.run_name is None and self.cur_run is None:
            self._set_experiment()
            runs = self.client.search_runs([self.experiment.experiment_id], order_by=["attributes.start_time DESC"])
            unfinished = [run.info.run_name for run in runs if run.info.status != self.run_finish_status]
            self.run_name = next(iter(unfinished), None)
        super().start(engine)

    def _default_iteration_log(self, engine: Engine) -> None:
        super()._default_iteration_log(engine)
        if hasattr(engine, "d_optimizer"):
            rate = float(engine.d_optimizer.param_groups[0]["lr"])
            self._log_metrics({"critic_lr": rate}, step=engine.state.iteration)

    def _default_epoch_log(self, engine: Engine) -> None:
        validated = self.validator is not None and self.validator.state.epoch == engine.state.epoch
        metrics = dict(self.validator.state.metrics) if validated else {}
        metrics["discarded_steps"] = getattr(engine.state, "discarded", 0)
        self._log_metrics(metrics, step=engine.state.epoch)
        if validated and self.panel_path is not None and os.path.isfile(self.panel_path):
            folder = f"{self.stage}/epoch_{engine.state.epoch:04d}"
            self.client.log_artifact(self.cur_run.info.run_id, str(self.panel_path), folder)

    def _log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        super()._log_metrics({f"{self.stage}/{name}": value for name, value in metrics.items()}, step=step)

    def _log_params(self, params: dict[str, Any]) -> None:
        params = {f"{self.stage}/{name}": value for name, value in params.items()}
        # MLflow refuses another value, as the longer run has that a resumed one may become.
        self._delete_exist_param_in_dict(params)
        super()._log_params(params)
