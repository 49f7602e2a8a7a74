"""The configurations for several processes, with two on the CPU."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.utils import path_to_sqlite_uri

CONFIGS = Path(__file__).parents[1] / "bundle/configs"
# One step of each stage with a penalty; patches are whole images, so that no process draws where they lie.
TINY = {
    "width": 4,
    "depth": 1,
    "critic_width": 2,
    "critic_dense_channels": 4,
    "perceptual_weight": 0,
    "penalty_interval": 1,
    "patch_size": 32,
    "batch_size": 4,
    "samples_per_volume": 1,
    "epoch_length": 2,
    "warmup_epochs": 1,
    "gan_epochs": 1,
    "val_scales": [2.0, 3.0],
    "learning_rate": 0.001,
    "critic_learning_rate": 0.001,
    "log_interval": 1,
    "device": "cpu",
}
# Nowhere, which is found out at once.
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "sqlite:////proc/nowhere/mlruns.db"}


@pytest.fixture
def data(tmp_path):
    """Six images of one slice for training, one for validation and two for testing, all different."""
    generator = np.random.default_rng(0)
    for section, count in (("training", 6), ("validation", 1), ("test", 2)):
        (tmp_path / "data" / section).mkdir(parents=True)
        for number in range(count):
            values = generator.uniform(100, 900, (32, 32, 1)).astype(np.float32)
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "data" / section / f"{number}.nii.gz")
    return tmp_path / "data"


def processes(run_id, files, count=2, mlflow=NO_MLFLOW["MLFLOW_TRACKING_URI"], **overrides):
    """Run a workflow in several processes, as on several GPUs."""
    arguments = [item for key, value in overrides.items() for item in (f"--{key}", str(value))]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    names = json.dumps([str(CONFIGS / file) for file in files])
    return subprocess.run(
        [*launch, "-m", "monai.bundle", "run", run_id, "--config_file", names, *arguments],
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def logged(folder):
    """What a training logged, less what it took."""
    log = pd.read_csv(folder / "log.csv").drop(columns="time")
    return log[log["metric"] != "training_seconds"].reset_index(drop=True)


def test_two_processes_train_as_one_does_with_the_whole_batch(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_MLFLOW["MLFLOW_TRACKING_URI"])
    runs = tmp_path / "mlruns.db"
    done = processes(
        "training",
        ["train.json", "multi_gpu_train.json"],
        mlflow=path_to_sqlite_uri(runs),
        dataset_dir=data,
        output_dir=tmp_path / "two",
        **TINY,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("The weights are in") == 1
    with closing(sqlite3.connect(runs)) as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]

    workflow = ConfigWorkflow(
        str(CONFIGS / "train.json"),
        workflow_type="train",
        dataset_dir=str(data),
        output_dir=str(tmp_path / "one"),
        **TINY,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    one, two = (logged(tmp_path / name) for name in ("one", "two"))
    assert {"loss", "critic_loss", "penalty", "adversarial", "psnr_x3"} <= set(one["metric"])
    pd.testing.assert_frame_equal(two, one, rtol=1e-4, atol=1e-6)
    for name in ("model.pt", "model_best_psnr.pt", "gan_checkpoint.pt"):
        trained = [torch.load(tmp_path / folder / name, weights_only=True) for folder in ("one", "two")]
        trained = [content.get("discriminator", content) for content in trained]
        torch.testing.assert_close(trained[1], trained[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["train", "evaluate", "inference"])
def test_processes_that_would_all_do_the_same_are_refused(kind, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    workflow = ConfigWorkflow(str(CONFIGS / f"{kind}.json"), workflow_type="train" if kind == "train" else "infer")
    with pytest.raises(RuntimeError) as caught:
        workflow.initialize()
    assert "this was started as 2 processes, which would all do the same: give" in str(caught.value.__cause__)


def run_share(kind, rank, monkeypatch, **overrides):
    """The part of one of two processes, one after the other, which wait for nobody; rank 2 is one process for all."""
    monkeypatch.setenv("WORLD_SIZE", "2" if rank < 2 else "1")
    monkeypatch.setenv("RANK", str(rank % 2))
    monkeypatch.setattr("miassr_monai.processes.start_processes", lambda hours: None)
    monkeypatch.setattr("miassr_monai.processes.wait", lambda: None)
    files = [str(CONFIGS / f"{kind}.json"), *([str(CONFIGS / f"multi_gpu_{kind}.json")] if rank < 2 else [])]
    workflow = ConfigWorkflow(files, workflow_type="infer", device="$torch.device('cpu')", **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def test_each_volume_is_evaluated_by_one_process_and_the_first_reports_all(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_MLFLOW["MLFLOW_TRACKING_URI"])
    monkeypatch.setattr("miassr_monai.metrics.statistics.RESAMPLES", 19)
    wanted = {
        "dataset_dir": str(data),
        "methods": {"bicubic": "bicubic"},
        "scales": [2.0],
        "degradations": ["paper"],
    }
    two = {**wanted, "output_dir": str(tmp_path / "two")}
    run_share("evaluate", 1, monkeypatch, **two)
    parts = sorted(path.name[:4] for path in (tmp_path / "two").rglob("*.pt"))
    assert parts == ["0001"] and not (tmp_path / "two/report.csv").exists()
    run_share("evaluate", 0, monkeypatch, **two)
    run_share("evaluate", 2, monkeypatch, **wanted, output_dir=str(tmp_path / "one"))
    one, two = (pd.read_csv(tmp_path / name / "report.csv") for name in ("one", "two"))
    assert len(one) == 2
    pd.testing.assert_frame_equal(two, one)


def test_each_file_is_written_once_and_what_a_lost_process_left_is_made_later(data, tmp_path, monkeypatch):
    wanted = {
        "input": str(data / "training"),
        "output_dir": str(tmp_path / "fine"),
        "ckpt_path": "bicubic",
        "scale": 1.5,
    }
    run_share("inference", 1, monkeypatch, **wanted)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "fine").iterdir()}
    assert sorted(first) == [f"{number}_x1.5.nii.gz" for number in (1, 3, 5)]
    # The other process is lost. Started anew, the first has nothing to do, and the other makes what is missing.
    for rank in (1, 0):
        run_share("inference", rank, monkeypatch, **wanted)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "fine").iterdir()}
    assert sorted(after) == [f"{number}_x1.5.nii.gz" for number in range(6)]
    assert {name: after[name] for name in first} == first
