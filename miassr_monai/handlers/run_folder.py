"""The folder of a training run."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import socket
import time
from pathlib import Path
from typing import TextIO

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.utils import optional_import

from miassr_monai.workflow import running_workflow, save_running_config

__all__ = ["RunFolder"]

fcntl, has_locks = optional_import("fcntl")
logger = logging.getLogger(__name__)

LOCK = ".lock"
CONFIG = "config.json"
CHECKPOINTS = "*_checkpoint.pt"
# What a run leaves, checkpoints first: without one, what is left of a run is no longer gone on with.
RESULTS = (CHECKPOINTS, "*.pt", "*.csv", "*.png", CONFIG)


class RunFolder:
    """Keep the folder of a training run for one run at a time, and what an earlier run left there.

    What is there is moved to ``previous_1``, ``previous_2`` and so on when a run that does not go on with it makes its
    first step. A run that fails before leaves everything as it was. The configuration of a bundle workflow is
    written to ``config.json`` then.

    Args:
        path: the folder, made when it is claimed.
        resume: whether this run goes on with the checkpoints in it.
    """

    def __init__(self, path: str | os.PathLike, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.resume = resume
        self.lock: TextIO | None = None
        self.begun = False

    def claim(self) -> None:
        """Make the folder and lock it for this process until that ends, however it ends.

        Raises:
            RuntimeError: when another process has it; that one is named.
            OSError: when the folder cannot be written.
        """
        if idist.get_rank() != 0:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = (self.path / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise OSError(f"{self.path} cannot be written ({error.strerror}): give another output_dir.") from error
        if not has_locks:
            return
        try:
            # The system drops it with the process, also for another machine that shares the disk, and processes that
            # load data do not inherit it: unlike a file that only says so, it never stays behind.
            fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                self.lock.seek(0)
                raise RuntimeError(
                    f"{self.path} is in use by {self.lock.read() or 'another process'}: wait for it, stop it, or give "
                    "another output_dir."
                ) from error
            logger.warning(f"{self.path} cannot be locked ({error.strerror}): let no other training write there.")
            return
        self.lock.truncate(0)
        self.lock.write(f"process {os.getpid()} on {socket.gethostname()} (since {time.strftime('%Y-%m-%d %H:%M:%S')})")
        self.lock.flush()

    def attach(self, engine: Engine) -> None:
        """Begin with the engine's first step; one folder is attached to all stages of a run."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.ITERATION_STARTED, self.begin)

    def begin(self) -> None:
        """Move away what is there, once and only if this run does not go on with it."""
        if self.begun:
            return
        self.begun = True
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.resume and any(self.path.glob(CHECKPOINTS))):
            self.put_aside()
        if running_workflow() is not None:
            save_running_config(self.path / CONFIG)

    def put_aside(self) -> None:
        """Move what an earlier run left to a folder of its own."""
        results = dict.fromkeys(path for pattern in RESULTS for path in sorted(self.path.glob(pattern)))
        if not results:
            return
        folders = (self.path / f"previous_{number}" for number in itertools.count(1))
        folder = next(folder for folder in folders if not folder.exists())
        folder.mkdir()
        for path in results:
            os.replace(path, folder / path.name)
        logger.warning(f"what an earlier run left in {self.path} is now in {folder}.")
