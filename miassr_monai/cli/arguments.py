"""How the commands read their arguments."""

from __future__ import annotations

import argparse

__all__ = ["number", "number_per_axis"]


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
