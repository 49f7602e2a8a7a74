"""Files that are whole or not there, and that replace nothing unasked; imports nothing heavy."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["check_apart", "check_new", "is_running", "partial_path", "save_atomically", "whole_file"]

# Whose a partial file is: the machine, because folders are shared, and the process.
HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
LONGEST_END = 150
PARTIAL = re.compile(rf"\.{HOST}\.(\d+)\.partial\.")


def partial_path(path: str | os.PathLike) -> Path:
    """Where this process writes what is then put at ``path``; what a kill leaves there is removed by later ones."""
    path = Path(path)
    # The end of the name, by which writers go, is enough: a file system allows no more than 255 bytes.
    end = os.fsdecode(os.fsencode(path.name)[-LONGEST_END:])
    return path.with_name(f".{HOST}.{os.getpid()}.partial.{end}")


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A hidden file to write beside ``path``, which is renamed to ``path`` once it is complete.

    A link stays one: the file that it leads to is written. What processes of this machine that were killed have left
    half written in the folder is removed first.

    Raises:
        OSError: when it cannot be written.
    """
    path = Path(os.path.realpath(path))
    partial = partial_path(path)
    try:
        remove_orphans(path.parent)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}): make room, or write elsewhere."
        ) from error
    finally:
        # It is not there once renamed; where it could never be, this must not hide why.
        with suppress(OSError):
            partial.unlink()


def remove_orphans(folder: Path) -> None:
    """Remove the partial files of processes that run no more."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = PARTIAL.match(path.name)
        if found and not is_running(int(found[1])):
            # Another process may remove it first.
            with suppress(OSError):
                path.unlink()


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine, or whether that cannot be told."""
    # Elsewhere os.kill ends the process, whatever the signal.
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def check_new(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Check that a file may be written, before the work whose result goes there.

    A link is there already even if it leads nowhere, and stays a link when what it leads to is written.

    Raises:
        FileNotFoundError: when the folder is missing.
        PermissionError: when the folder is read-only.
        IsADirectoryError: when ``path`` is a folder.
        FileExistsError: when it is there already, unless ``overwrite`` is set, or is a device or a pipe.
    """
    path = Path(path)
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to write {path.name} in: make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} is read-only: write {path.name} somewhere else.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file.")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a device or a pipe: give the name of a file.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists already: give another name, or --overwrite (in Python overwrite=True).")


def check_apart(written: Iterable[str | os.PathLike], read: Iterable[str | os.PathLike]) -> None:
    """Check that no file that is to be written is another one of these or one that is read, under whatever name.

    Raises:
        ValueError: when one is.
    """
    taken = {identity: path for path in read for identity in identities(path)}
    inputs = set(taken.values())
    for path in written:
        for identity in identities(path):
            if (other := taken.get(identity)) is not None:
                shown = f"{path}" if str(path) == str(other) else f"{path}, the same file as {other},"
                reason = "is read" if other in inputs else "would be written twice"
                raise ValueError(f"{shown} {reason} by this very command: give another name for the result.")
        taken |= dict.fromkeys(identities(path), path)


def identities(path: str | os.PathLike) -> Iterator[str | tuple[int, int]]:
    """What a file is known by: its name without links, and its number on its disk."""
    yield os.path.realpath(path)
    with suppress(OSError):
        status = os.stat(path)
        yield status.st_dev, status.st_ino


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """Save with ``torch.save`` so that ``path`` is whole or as it was, whatever ends the process or the machine.

    Raises:
        OSError: when it cannot be written.
    """
    import torch

    # PyTorch hides what the system says of a full disk, so it writes to memory.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            # A rename can reach the disk before what is renamed.
            file.flush()
            os.fsync(file.fileno())
