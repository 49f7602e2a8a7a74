"""The losses and validations of a training run, from its MLflow data base, as CSV and as a picture.

python benchmarks/training_log.py bundle/output/training/mlruns.db --csv log.csv --picture log.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri


def read_log(path: Path) -> pd.DataFrame:
    """All metrics of the runs in a data base: ``metric``, ``step``, ``value``, ``minutes`` since the start."""
    client = MlflowClient(path_to_sqlite_uri(path))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    rows = []
    for run in client.search_runs(experiments, order_by=["attributes.start_time ASC"]):
        for name in run.data.metrics:
            for metric in client.get_metric_history(run.info.run_id, name):
                minutes = round((metric.timestamp - run.info.start_time) / 60_000, 2)
                rows.append({"metric": name, "step": metric.step, "value": metric.value, "minutes": minutes})
    return pd.DataFrame(rows)


def draw(log: pd.DataFrame, path: Path) -> None:
    """Loss and validation PSNR."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = log[log["metric"] == "warmup/loss"]
    left.plot(loss["step"], loss["value"], color="#bbbbbb", lw=0.5)
    left.plot(loss["step"], loss["value"].rolling(40, min_periods=1).mean(), color="#0072b2")
    left.set(xlabel="step", title="L1 loss", yscale="log")
    for name, rows in log[log["metric"].str.match(r"warmup/psnr_x")].groupby("metric"):
        right.plot(rows["step"], rows["value"], "o-", markersize=3, label=name.removeprefix("warmup/psnr_"))
    right.set(xlabel="epoch", title="validation PSNR (dB)")
    right.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args(arguments)
    log = read_log(args.database)
    print(log.groupby("metric").last().to_string())
    if args.csv:
        log.to_csv(args.csv, index=False)
    if args.picture:
        draw(log, args.picture)


if __name__ == "__main__":
    main()
