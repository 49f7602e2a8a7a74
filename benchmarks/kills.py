"""Trainings that are killed at random moments, on disks that fill up, without MLflow, and two at once.

python benchmarks/kills.py --rounds 40 --json kills.json

Each is a tiny training of both stages on noise. After a kill every file has to be readable; resumed until it is
finished, the training has to have the weights, bit by bit, and the log of one that was never stopped. Filling a disk
needs the right to mount one (root); without it that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pandas as pd
import torch
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri
from timing import write_json

from miassr_monai.bundle import default_bundle
from miassr_monai.handlers.mlflow import make_database
from miassr_monai.networks import load_network
from miassr_monai.workflow import tell

TINY: dict[str, Any] = {
    "width": 4,
    "depth": 1,
    "projection": "center",
    "skip": "bicubic",
    "critic_width": 2,
    "critic_dense_channels": 4,
    "perceptual_weight": 0,
    "patch_size": 32,
    "batch_size": 4,
    "samples_per_volume": 2,
    "epoch_length": 4,
    "warmup_epochs": 4,
    "gan_epochs": 4,
    "val_scales": [2.0],
    "learning_rate": 0.001,
    "log_interval": 1,
    "device": "cpu",
}
# Kills of one training before it is let finish.
KILLS = 3


class Training:
    """A training in a process of its own, forked off this one, which has imported everything."""

    def __init__(self, data: Path, printed: Path, folder: Path, **overrides: Any) -> None:
        self.printed = printed / f"{folder.parent.name}_{folder.name}.txt"
        sys.stdout.flush()
        self.process = os.fork()
        if self.process == 0:
            self.run({**TINY, "dataset_dir": str(data), "output_dir": str(folder), **overrides})

    def run(self, overrides: dict[str, Any]) -> None:
        """What ``python -m monai.bundle run training`` does."""
        for stream in (1, 2):
            os.dup2(os.open(self.printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        code = 0
        try:
            monai.bundle.run("training", config_file=str(default_bundle() / "configs" / "train.json"), **overrides)
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:
            tell(type(error), error, error.__traceback__)
            code = 1
        sys.stdout.flush()
        os._exit(code)

    def wait(self) -> int:
        """The exit code; minus the signal's number for one that was killed."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def last_line(self) -> str:
        """What the user sees last."""
        return (self.printed.read_text().splitlines() or [""])[-1]


def write_data(folder: Path) -> None:
    """Volumes of noise."""
    generator = np.random.default_rng(0)
    for section in ("training", "validation"):
        (folder / section).mkdir(parents=True)
        volume = generator.uniform(100, 900, (40, 36, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, np.diag([0.7, 0.7, 3.0, 1.0])), folder / section / "volume.nii.gz")


def unreadable(folder: Path) -> list[str]:
    """Files of a run that are not whole."""
    bad = []
    for path in folder.glob("*.pt"):
        try:
            load_network(path) if path.name.startswith("model") else torch.load(path, weights_only=True)
        except Exception:
            bad.append(path.name)
    try:
        if (folder / "config.json").exists():
            json.loads((folder / "config.json").read_text())
    except ValueError:
        bad.append("config.json")
    return bad


def log_of(folder: Path) -> pd.DataFrame:
    """The metrics of a run without the times."""
    log = pd.read_csv(folder / "log.csv").drop(columns="time")
    return log[log["metric"] != "training_seconds"].reset_index(drop=True)


def same_end(folder: Path, reference: Path) -> list[str]:
    """In what a finished training differs from one that was never stopped."""
    different = []
    for name in ("model.pt", "model_best_psnr.pt"):
        first, second = (torch.load(place / name, weights_only=True) for place in (folder, reference))
        if not all(torch.equal(first[key], second[key]) for key in second):
            different.append(name)
    if not log_of(folder).equals(log_of(reference)):
        different.append("log.csv")
    return different


def finish(training: Callable[..., Training], folder: Path, reference: Path, counts: Counter, **overrides: Any) -> None:
    """Resume until the training is finished, and look at what it came to."""
    run = training(folder, resume=True, **overrides)
    if run.wait() != 0:
        counts["unusable folder"] += 1
        print(f"unusable: {run.last_line()}", flush=True)
        return
    for name in same_end(folder, reference):
        counts["other end"] += 1
        print(f"{folder}: {name} differs", flush=True)


def kill(training: Callable[..., Training], root: Path, reference: Path, seconds: float, rounds: int) -> Counter:
    """Kill trainings at random moments, again and again, and let them finish."""
    counts: Counter = Counter()
    for number in range(rounds):
        folder = root / f"killed_{number}"
        for _ in range(KILLS):
            stop = random.choice((signal.SIGKILL, signal.SIGTERM))
            run = training(folder, resume=folder.exists())
            time.sleep(random.uniform(0, seconds))
            os.kill(run.process, stop)
            code = run.wait()
            counts["finished before it was killed" if code == 0 else stop.name] += 1
            counts["unreadable file"] += len(unreadable(folder))
            # A run that made a step and could clean up has weights.
            weightless = (folder / "config.json").exists() and not (folder / "model.pt").exists()
            counts["no weights after SIGTERM"] += int(code == 128 + signal.SIGTERM and weightless)
            # Before the first stage, SIGTERM ends the process without further ado.
            expected = (0, -signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
            counts["stopped by something else"] += int(code not in expected)
        finish(training, folder, reference, counts)
        (run_info,) = runs_of(folder)[-1:] or [None]
        counts["not finished in MLflow"] += int(run_info is None or run_info.info.status != "FINISHED")
    return counts


def runs_of(folder: Path) -> list:
    """The MLflow runs of a folder, the oldest first."""
    client = MlflowClient(path_to_sqlite_uri(folder / "mlruns.db"))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, order_by=["attributes.start_time ASC"])


def fill_disk(training: Callable[..., Training], root: Path, reference: Path, rounds: int) -> Counter:
    """Train on disks that are too small, make room, and let the trainings finish."""
    counts: Counter = Counter()
    for number in range(rounds):
        with small_disk(root / f"disk_{number}", random.randint(8, 1500)) as disk:
            run = training(disk / "run")
            code = run.wait()
            counts["stopped" if code else "finished without room for MLflow"] += 1
            counts["unreadable file"] += len(unreadable(disk / "run"))
            counts["no sentence"] += int(code != 0 and not run.last_line().startswith("error: "))
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            finish(training, disk / "run", reference, counts)
    return counts


def lose_mlflow(training: Callable[..., Training], root: Path, reference: Path, rounds: int) -> Counter:
    """Train without a server, with one that says nothing, and with a database that is locked, removed, half made or on
    a disk that is read-only."""
    counts: Counter = Counter()

    def check(name: str, run: Training, folder: Path) -> None:
        start = time.monotonic()
        code, warnings = run.wait(), run.printed.read_text().count("cannot be used, the run goes on without it")
        good = code == 0 and warnings == 1 and not same_end(folder, reference)
        counts[f"{name}: {'went on, one warning' if good else 'WRONG'}"] += 1
        print(f"{name}: exit code {code}, {warnings} warning(s), {time.monotonic() - start:.0f} s", flush=True)

    for number in range(rounds):
        place = root / f"mlflow_{number}"
        place.mkdir()
        check("away", training(place / "away", tracking_uri="http://127.0.0.1:9"), place / "away")
        with socket.create_server(("127.0.0.1", 0)) as server:
            uri = f"http://127.0.0.1:{server.getsockname()[1]}"
            check("silent", training(place / "silent", tracking_uri=uri), place / "silent")
        spoil_database(training, place, check)
        if os.geteuid() == 0:
            with small_disk(place / "disk", 4096) as disk:
                make_database(disk / "mlruns.db")
                subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
                uri = path_to_sqlite_uri(disk / "mlruns.db")
                check("read-only", training(place / "read_only", tracking_uri=uri), place / "read_only")
    return counts


def spoil_database(
    training: Callable[..., Training], place: Path, check: Callable[[str, Training, Path], None]
) -> None:
    """Train with a database that is locked, locked or removed later, or half made."""
    for name in ("locked", "locked later", "removed", "half made"):
        folder = place / name
        folder.mkdir()
        database = folder / "mlruns.db"
        connection = sqlite3.connect(database if name != "removed" else ":memory:", isolation_level=None)
        if name == "half made":
            connection.execute("CREATE TABLE _alembic_tmp_experiments (id INTEGER)")
            connection.execute("CREATE TABLE experiments (id INTEGER)")
        if name == "locked":
            connection.execute("BEGIN EXCLUSIVE")
        if name in ("locked later", "removed"):
            database.unlink(missing_ok=True)
        run = training(folder)
        if name in ("locked later", "removed"):
            while not (folder / "warmup_checkpoint.pt").exists():
                time.sleep(0.02)
        if name == "locked later":
            connection = sqlite3.connect(database, isolation_level=None, timeout=30)
            connection.execute("BEGIN EXCLUSIVE")
        if name == "removed":
            database.unlink()
        check(name, run, folder)
        connection.close()


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path]:
    """A disk of so many KiB."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def two_at_once(training: Callable[..., Training], root: Path, reference: Path, rounds: int) -> Counter:
    """Start two trainings in one folder at about the same time."""
    counts: Counter = Counter()
    for number in range(rounds):
        folder = root / f"shared_{number}"
        first = training(folder)
        time.sleep(random.uniform(0, 0.5))
        second = training(folder)
        codes = sorted((first.wait(), second.wait()))
        counts["one refused, the other as if alone" if codes == [0, 1] else f"exit codes {codes}"] += 1
        counts["other end"] += len(same_end(folder, reference))
        counts["not refused by name"] += int("is in use by process" not in first.printed.read_text())
    return counts


def main() -> None:
    """Do all of it and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="trainings that are killed; the others are fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_data(root / "data")

        def training(folder: Path, **overrides: Any) -> Training:
            return Training(root / "data", root, folder, **overrides)

        reference, start = root / "reference", time.monotonic()
        if training(reference).wait() != 0:
            raise SystemExit((root / f"{root.name}_reference.txt").read_text())
        seconds = time.monotonic() - start
        print(f"a training takes {seconds:.1f} s", flush=True)
        results = {"kills": kill(training, root, reference, seconds, args.rounds)}
        results["mlflow"] = lose_mlflow(training, root, reference, args.rounds // 5)
        results["two at once"] = two_at_once(training, root, reference, args.rounds // 4)
        if os.geteuid() == 0:
            results["full disks"] = fill_disk(training, root, reference, args.rounds // 2)
        for what, counts in results.items():
            print(f"\n{what}")
            for event, count in sorted(counts.items()):
                print(f"  {count:4d}  {event}")
        print(f"\n{time.monotonic() - start:.0f} s")
    if args.json:
        write_json(args.json, results)


if __name__ == "__main__":
    main()
