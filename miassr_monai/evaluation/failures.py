"""What is said of a volume that cannot be evaluated."""

from __future__ import annotations

__all__ = ["sentence_of", "unforeseen"]


def causes(error: BaseException) -> list[BaseException]:
    """An error, and what it came from, and so on: MONAI wraps those of transforms."""
    found = [error]
    while found[-1].__cause__ is not None:
        found.append(found[-1].__cause__)
    return found


def unforeseen(error: BaseException) -> bool:
    """Whether an error is of a kind that does not come from the user's input."""
    return not any(isinstance(cause, (ValueError, OSError)) for cause in causes(error))


def sentence_of(error: BaseException) -> str:
    """What went wrong, in a line."""
    chain = causes(error)
    told = next((cause for cause in chain if isinstance(cause, (ValueError, OSError))), None)
    lines = str(told or chain[-1]).splitlines() or [""]
    return lines[0] if told is not None and lines[0] else f"{type(chain[-1]).__name__}: {lines[0]}"
