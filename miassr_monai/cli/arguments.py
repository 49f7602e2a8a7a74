"""How the commands read their arguments, and tell of errors."""

from __future__ import annotations

import argparse
import os
import traceback
from pathlib import Path

__all__ = ["explain", "file_path", "number", "number_per_axis", "one_line"]

# Set to anything, it shows where in the code an error was raised that nobody foresaw.
DEBUG = "MIASSR_DEBUG"


def file_path(text: str) -> Path:
    """A path, which a variable of the shell that is not set is not."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def number_per_axis(text: str) -> float | tuple[float, ...]:
    """A number, or one for each axis, such as ``1x1x4``."""
    try:
        values = tuple(float(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, or one for each axis such as 1x1x4") from None
    return values if len(values) > 1 else values[0]


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    # The system's own errors begin with a number, and name the file last.
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split())


def explain(error: Exception, what: object) -> str:
    """One sentence about an error; one that is not of the user's input is said to be of ``what``."""
    if isinstance(error, (ValueError, OSError)):
        return one_line(error)
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    # MONAI wraps an error in others that only say where in a configuration it was raised.
    cause: BaseException = error
    while cause.__cause__ is not None and cause.__cause__.__traceback__ is not None:
        cause = cause.__cause__
    *_, place = traceback.extract_tb(cause.__traceback__)
    where = f"line {place.lineno} of {Path(place.filename).name}"
    return f"{what} failed in an unforeseen way, please report it: {type(cause).__name__} ({one_line(cause)}), {where}."
