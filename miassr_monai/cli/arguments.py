"""What the commands' arguments have in common: how they are read, and where results may go."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["check_new", "number"]


def number(text: str) -> float:
    """A number of ``--scale``, ``--spacing`` or ``--window``, of which the first two take all words that follow."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number (IN and OUT go before the options)") from None


def check_new(path: Path | None, overwrite: bool) -> None:
    """Check that a file may be written, before the work whose result goes there."""
    if path is None:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to write {path.name} in: make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} is read-only: write {path.name} somewhere else.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file.")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already: give another name, or --overwrite.")
