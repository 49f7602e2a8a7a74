"""Subjects to sections of a data set."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SECTIONS", "Subject", "split_subjects"]

SECTIONS = ("training", "validation", "test")


@dataclass(frozen=True)
class Subject:
    """Somebody whose images are in a data set.

    Attributes:
        name: in the data set.
        images: items of a datalist: ``image``, a path or several for the channels of one image, and what else is known.
        group: kind that is to be spread evenly over the sections.
        sections: those that the owners of the data set allow.
    """

    name: str
    images: Sequence[Mapping[str, Any]]
    group: str = ""
    sections: tuple[str, ...] = SECTIONS


def split_subjects(
    subjects: Sequence[Subject], counts: Sequence[int] | None = None, *, seed: int = 0
) -> dict[str, list[Subject]]:
    """Draw subjects for the sections of a data set, each for one at most, every group spread evenly over them.

    Args:
        subjects: whom to draw from.
        counts: how many for training, validation and test; the rest is left out. Unless given, a tenth of all, at least
            one, for each of the last two, and all others for training.
        seed: of the draw, which depends on nothing else but the subjects' names and groups.

    Returns:
        Subjects by section, in the order of their names.

    Raises:
        ValueError: when a count is negative, nobody is asked for, or there are fewer subjects than asked for.
    """
    if counts is None:
        tenth = max(1, len(subjects) // 10)
        counts = (max(1, len(subjects) - 2 * tenth), tenth, tenth)
    if len(counts) != len(SECTIONS) or min(counts) < 0 or max(counts) == 0:
        raise ValueError(f"{' '.join(map(str, counts))} subjects cannot be drawn: give one number for each section.")
    waiting = shuffled(subjects, seed)
    sections: dict[str, list[Subject]] = {}
    for section, count in zip(SECTIONS, counts, strict=True):
        # First those who may be nowhere else, or they would be missing in the end.
        allowed = sorted((s for s in waiting if section in s.sections), key=lambda s: len(s.sections))
        if len(allowed) < count:
            meant = sum(section in subject.sections for subject in subjects)
            owners = f", for which the data set's owners mean {meant}" if meant < len(subjects) else ""
            raise ValueError(
                f"{' + '.join(map(str, counts))} subjects are asked for ({', '.join(SECTIONS)}), but of the "
                f"{len(subjects)} that there are, {len(allowed)} are left for {section}{owners}: give smaller numbers, "
                "such as --counts 20 2 5, or the folder of the whole data set."
            )
        drawn = allowed[:count]
        waiting = [subject for subject in waiting if subject not in drawn]
        sections[section] = sorted(drawn, key=lambda subject: subject.name)
    return sections


def shuffled(subjects: Sequence[Subject], seed: int) -> list[Subject]:
    """Subjects in a random order, of which every part has its share of each group."""
    generator = random.Random(seed)
    places: list[tuple[float, str, Subject]] = []
    for group in sorted({subject.group for subject in subjects}):
        members = sorted((subject for subject in subjects if subject.group == group), key=lambda s: s.name)
        generator.shuffle(members)
        places += [((place + 0.5) / len(members), group, subject) for place, subject in enumerate(members)]
    return [subject for _, _, subject in sorted(places, key=lambda place: place[:2])]
