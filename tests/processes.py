"""Processes for tests that start at once: a server imports what they need, once, and forks them."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["monai.bundle", "miassr_monai.engines", "miassr_monai.evaluation", "mlflow.store.tracking.sqlalchemy_store"]
)


class MonaiBundle(FORKSERVER.Process):
    """What ``python -m monai.bundle`` does with these arguments in a folder, in a process of its own."""

    def __init__(self, arguments, folder):
        super().__init__()
        self.arguments = [str(argument) for argument in arguments]
        self.folder = str(folder)
        self.output = [tempfile.mkstemp()[1] for _ in ("stdout", "stderr")]

    def run(self):
        for number, path in enumerate(self.output, 1):
            os.dup2(os.open(path, os.O_WRONLY), number)
        os.chdir(self.folder)
        sys.argv = ["monai.bundle", *self.arguments]
        torch.set_num_threads(1)
        try:
            runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
        except Exception:
            # As the interpreter does, but not multiprocessing.
            sys.excepthook(*sys.exc_info())
            sys.exit(1)

    def done(self):
        """How it ended and what it printed."""
        self.join()
        printed = [Path(path).read_text() for path in self.output]
        for path in self.output:
            os.unlink(path)
        return subprocess.CompletedProcess(self.arguments, self.exitcode, *printed)
