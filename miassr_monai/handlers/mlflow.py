"""A run in MLflow that does without MLflow where it has to."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from monai.handlers import MLFlowHandler

from miassr_monai.files import partial_path

__all__ = ["MLflowLog", "make_database"]

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
# Seconds after which it is tried again where it failed, and for which a database that is in use is waited for.
PAUSE = 300.0
PATIENCE = 5.0


def make_database(path: str | os.PathLike) -> None:
    """Make a SQLite database with MLflow's tables, if there is none.

    MLflow makes and changes its tables for seconds; what a kill leaves of a database meanwhile cannot be used, and two
    processes that make it at once disturb each other. So it is made in memory, and put in its place whole.

    Raises:
        OSError: when it cannot be written.
    """
    path = Path(path)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    partial.touch()
    try:
        engine = MlflowClient(f"{SQLITE}:memory:")._tracking_client.store.engine
        with closing(sqlite3.connect(partial)) as target, closing(engine.raw_connection()) as source:
            source.driver_connection.backup(target)
        # Unlike a rename, this keeps the database of a process that was faster.
        os.link(partial, path)
    except FileExistsError:
        pass
    # Not every disk knows links.
    except OSError:
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """A run, or None where MLflow does not know it."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


class MLflowLog:
    """A run in MLflow that several training stages share, and that never stops or delays them much.

    Where MLflow cannot be used, as on a server that is away or in a database that is locked, there is one warning, and
    another try every five minutes; what is logged meanwhile is not in MLflow. Its state belongs in the
    :class:`ResumableCheckpoint`, so that a resumed run goes on in the same MLflow run.

    Args:
        tracking_uri: where MLflow keeps its runs; the environment variable ``MLFLOW_TRACKING_URI`` takes precedence.
        experiment_name: the experiment's name.
        run_name: name of a new run.
        artifacts: files to keep in MLflow when the run is finished, those of them that are there.
    """

    def __init__(
        self, tracking_uri: str, experiment_name: str, run_name: str | None = None, artifacts: tuple[str, ...] = ()
    ) -> None:
        self.tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.artifacts = artifacts
        self.run_id: str | None = None
        self.handler: MLFlowHandler | None = None
        self.warned = False
        self.retry_at = 0.0
        # A server that is away is asked eight times, for minutes, otherwise.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; one that the run has already keeps its value, because MLflow refuses another."""

        def log(handler: MLFlowHandler) -> None:
            known = handler.client.get_run(self.run_id).data.params
            handler._log_params({name: value for name, value in params.items() if name not in known})

        self.attempt(log)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at a step."""
        self.attempt(lambda handler: handler._log_metrics(dict(metrics), step))

    def log_file(self, path: str | os.PathLike, folder: str | None = None) -> None:
        """Keep a file, if it is there, in a folder of the run's artifacts."""
        if os.path.isfile(path):
            self.attempt(lambda handler: handler.client.log_artifact(self.run_id, str(path), folder))

    def close(self) -> None:
        """Keep the artifacts and mark the run as finished."""
        for path in self.artifacts:
            self.log_file(path)
        self.attempt(MLFlowHandler.close)
        self.handler = None

    def attempt(self, action: Callable[[MLFlowHandler], None]) -> None:
        """Do something with MLflow, or warn once that it cannot be done."""
        if time.monotonic() < self.retry_at:
            return
        try:
            if self.handler is None:
                self.handler = self.connect()
            action(self.handler)
        # MLflow's errors, the database's, the network's: none of them is worth a training.
        except Exception as error:
            self.handler = None
            self.retry_at = time.monotonic() + PAUSE
            if not self.warned:
                self.warned = True
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                logger.warning(f"MLflow at {self.tracking_uri} cannot be used, the run goes on without it: {reason}")

    def connect(self) -> MLFlowHandler:
        """MONAI's handler with this run: the one that a resumed run had, or a new one."""
        if self.tracking_uri.startswith(SQLITE):
            path = Path(self.tracking_uri.removeprefix(SQLITE))
            make_database(path)
            # MLflow itself tries this for minutes.
            with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        # MONAI declares what it sets later as None.
        handler: Any = MLFlowHandler(self.tracking_uri, experiment_name=self.experiment_name)
        handler._set_experiment()
        run = None if self.run_id is None else find_run(handler.client, self.run_id)
        if run is None:
            run = handler.client.create_run(handler.experiment.experiment_id, run_name=self.run_name)
        handler.cur_run, self.run_id = run, run.info.run_id
        handler.client.update_run(self.run_id, status="RUNNING")
        return handler

    def state_dict(self) -> dict[str, str | None]:
        """The run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, str | None]) -> None:
        """Go on with a run."""
        self.run_id = state["run_id"]
