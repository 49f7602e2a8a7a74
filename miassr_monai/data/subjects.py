"""Whose image a file is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miassr_monai.data.datalist import files_of

__all__ = ["check_disjoint", "subject_of"]

BIDS_LABEL = re.compile(r"(?<![^/\\])sub-[A-Za-z0-9]+")


def subject_of(item: Mapping[str, Any]) -> str | None:
    """The subject of an item of a datalist: its key ``subject``, or else the ``sub-<label>`` of a BIDS path, if any."""
    if "subject" in item:
        return str(item["subject"])
    # The last one: folders above the data set may have such a name as well.
    labels = BIDS_LABEL.findall(files_of(item)[0])
    return labels[-1] if labels else None


def check_disjoint(training: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]]) -> None:
    """Check that no file and no subject, as far as known, is both trained on and tested.

    Raises:
        ValueError: when one is.
    """
    named: tuple[tuple[str, Callable[[Mapping[str, Any]], list[str]]], ...] = (
        ("subject", lambda item: [name] if (name := subject_of(item)) is not None else []),
        ("file", lambda item: [str(Path(file).resolve()) for file in files_of(item)]),
    )
    for what, names_of in named:
        trained, tested = ({name for item in items for name in names_of(item)} for items in (training, test))
        both = sorted(trained & tested)
        if both:
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise ValueError(
                f"the {what} {both[0]}{more} is in the lists of training and of testing: take it out of one of them."
            )
