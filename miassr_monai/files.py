"""Files that are whole or not there."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["save_atomically", "whole_file"]


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A hidden file to write beside ``path``, which is renamed to ``path`` once it is complete.

    Raises:
        OSError: when it cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
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
