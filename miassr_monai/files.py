"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["whole_file"]


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
