"""The table of a comparison in MLflow: each row beside the losses of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from miassr_monai.evaluation.summary import Record
from miassr_monai.handlers import MLflowLog
from miassr_monai.networks.network import flatten

__all__ = ["log_comparison"]

EXPERIMENT = "miassr"


def log_comparison(
    tracking_uri: str,
    rows: Sequence[Record],
    weights: Mapping[str, Path],
    settings: Mapping[str, Mapping[str, Any]],
    files: Sequence[Path],
) -> None:
    """Log each network's row as metrics ``comparison/...`` and its settings as parameters of the run of its training,
    and the files in a run ``comparison``.

    Args:
        tracking_uri: where MLflow keeps its runs.
        rows: see :func:`miassr_monai.comparison.comparison_rows`.
        weights: of each network, in the folder of its training.
        settings: overlay of each network.
        files: what was written.
    """
    for row in rows:
        name = row["network"]
        if name not in weights:
            continue
        log = MLflowLog(tracking_uri, EXPERIMENT, name)
        log.load_state_dict({"run_id": run_of_training(weights[name].parent)})
        log.log_params({key.replace("#", "."): value for key, value in flatten(settings[name]).items()})
        log.log_metrics({f"comparison/{key}": value for key, value in row.items() if key != "network"}, step=0)
        log.close()
    log = MLflowLog(tracking_uri, EXPERIMENT, "comparison", artifacts=tuple(map(str, files)))
    log.close()


def run_of_training(folder: Path) -> str | None:
    """The run in MLflow of a training, if its checkpoint tells of one."""
    # The stages share a run.
    for path in folder.glob("*_checkpoint.pt"):
        return torch.load(path, map_location="cpu", weights_only=True)["mlflow_log"]["run_id"]
    return None
