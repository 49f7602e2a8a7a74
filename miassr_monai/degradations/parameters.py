"""What the parameters of degradations may be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["check_number", "check_numbers", "check_word"]


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise a ValueError unless a parameter is a number in ``[low, high]``."""
    if not (isinstance(value, (int, float)) and low <= value <= high):
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}.")


def check_numbers(name: str, values: Any, count: int) -> Sequence[float]:
    """Raise a ValueError unless a parameter is as many numbers; they are returned."""
    if not (isinstance(values, (list, tuple)) and [isinstance(v, (int, float)) for v in values] == [True] * count):
        raise ValueError(f"{name} must be {count} numbers, got {values!r}.")
    return values


def check_word(name: str, value: Any, words: Collection[str]) -> None:
    """Raise a ValueError unless a parameter is one of ``words``."""
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}.")
