"""Trainings of a comparison, each a process of its own: `python -m monai.bundle run training` with its overlays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miassr_monai.comparison.plan import OVERLAYS
from miassr_monai.files import whole_file

__all__ = ["Training", "bundle_command", "train_all"]

PAUSE = 0.2


def bundle_command(run_id: str, files: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """A run of the bundle as a command; values are written as Python's literals, as the bundle reads them."""
    arguments = [item for key, value in options.items() for item in (f"--{key}", repr(value))]
    return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", repr(list(files)), *arguments]


@dataclass(frozen=True)
class Training:
    """The training of one network in a folder of its own, which goes on where it was stopped.

    Args:
        name: the network's name.
        folder: where it is trained.
        files: configuration files, ``train.json`` first.
        settings: what else is set and decides the result.
        options: what else is set and does not, such as the device.
    """

    name: str
    folder: Path
    files: Sequence[str]
    settings: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """What the training leaves."""
        return self.folder / "model.pt"

    @property
    def overlay(self) -> Path:
        """Settings of the training that is in the folder."""
        return self.folder / "overlay.json"

    @property
    def done(self) -> Path:
        """A file that is there once the training has come to its end."""
        return self.folder / "done"

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.folder / "training.txt"

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return any(self.folder.glob("*_checkpoint.pt"))

    def check(self) -> None:
        """Check that what is in the folder was trained in the same way.

        Raises:
            ValueError: when it was not.
        """
        if not (self.done.exists() or self.begun):
            return
        before = json.loads(self.overlay.read_text(encoding="utf-8")) if self.overlay.is_file() else {}
        now = json.loads(self.content())
        different = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if different:
            raise ValueError(
                f"{self.folder} holds a training with another {different[0]} ({before.get(different[0])!r}, not "
                f"{now.get(different[0])!r}): give another folder for the comparison, or remove that one."
            )

    def content(self) -> str:
        """What decides the result, as an overlay that names those before it."""
        named = {OVERLAYS: [Path(file).stem for file in self.files[1:]]} if self.files[1:] else {}
        return json.dumps({**named, **self.settings}, indent=4) + "\n"

    def start(self, environment: Mapping[str, str]) -> subprocess.Popen:
        """Start the process.

        Raises:
            OSError: when its folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.overlay) as partial:
            partial.write_text(self.content(), encoding="utf-8")
        resumed = {"resume": True} if self.begun else {}
        options = {**self.options, "output_dir": str(self.folder), "run_name": self.name, **resumed}
        command = bundle_command("training", [*self.files, str(self.overlay)], options)
        with self.log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(environment))

    def finish(self, code: int) -> str | None:
        """Note the end of the process; what went wrong, if anything."""
        if code == 0 and self.weights.is_file():
            self.done.touch()
            return None
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("error: ") if lines else f"it ended with exit code {code}"
        return f"{said} (see {self.log})"


def train_all(trainings: Sequence[Training], jobs: int, tell: Callable[[str], None]) -> dict[str, str]:
    """Train all that is not trained yet, several at once; whatever ends this ends their processes.

    Args:
        trainings: the trainings.
        jobs: how many at once.
        tell: is told what begins and what ends.

    Returns:
        What went wrong, by the network's name.
    """
    waiting = [training for training in trainings if not training.done.exists()]
    if len(waiting) < len(trainings):
        tell(f"{len(trainings) - len(waiting)} of {len(trainings)} networks are trained already.")
    threads = str(max(1, (os.cpu_count() or 1) // max(1, min(jobs, len(waiting)))))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    running: dict[subprocess.Popen, tuple[Training, float]] = {}
    failed = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                training = waiting.pop(0)
                how = "goes on with its training" if training.begun else "is trained"
                running[training.start(environment)] = training, time.monotonic()
                tell(f"{training.name} {how} (see {training.log})")
            time.sleep(PAUSE)
            for process in [process for process in running if process.poll() is not None]:
                training, start = running.pop(process)
                wrong = training.finish(process.returncode)
                took = f"after {(time.monotonic() - start) / 60:.1f} min"
                if wrong is None:
                    tell(f"{training.name} is done {took}")
                else:
                    tell(f"{training.name} has failed {took}: {wrong}")
                    failed[training.name] = wrong
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed
