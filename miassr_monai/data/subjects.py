"""Whose image a file is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["check_disjoint", "subject_of"]

BIDS_LABEL = re.compile(r"(?<![^/\\])sub-[A-Za-z0-9]+")


def subject_of(item: Mapping[str, str]) -> str | None:
    """The subject of an item of a datalist: its key ``subject``, or else the ``sub-<label>`` of a BIDS path, if any."""
    if "subject" in item:
        return str(item["subject"])
    # The last one: folders above the data set may have such a name as well.
    labels = BIDS_LABEL.findall(item["image"])
    return labels[-1] if labels else None


def check_disjoint(training: Sequence[Mapping[str, str]], test: Sequence[Mapping[str, str]]) -> None:
    """Check that no file and no subject, as far as known, is both trained on and tested.

    Raises:
        ValueError: when one is.
    """
    for what, name_of in (("subject", subject_of), ("file", lambda item: str(Path(item["image"]).resolve()))):
        shared = {name_of(item) for item in training} & {name_of(item) for item in test}
        both = sorted(name for name in shared if name is not None)
        if both:
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise ValueError(
                f"the {what} {both[0]}{more} is in the lists of training and of testing: take it out of one of them."
            )
