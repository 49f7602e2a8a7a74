"""Super-resolution in front of a preprocessing that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    EnsureChannelFirstd,
    LoadImage,
    LoadImaged,
)

__all__ = ["ComposeInFront"]

LOADING = (LoadImage, LoadImaged, EnsureChannelFirst, EnsureChannelFirstd)


class ComposeInFront(Compose):
    """``Compose`` with one transform more, which comes as soon as the image is loaded and its channel first.

    In a bundle's configuration it takes the place of the ``Compose`` of the preprocessing, whose transforms stay as
    they are; a postprocessing that inverts them (``Invertd``) inverts this one, too.

    Args:
        transforms: of the preprocessing.
        in_front: what comes before them, such as :class:`SuperResolved`.
        kwargs: further arguments of ``Compose``.

    Raises:
        ValueError: when nothing in ``transforms`` loads an image, so that it cannot be told where its place is.
    """

    def __init__(self, transforms: Sequence[Callable], in_front: Callable, **kwargs: Any) -> None:
        given = Compose(transforms).flatten().transforms
        loading = [place for place, transform in enumerate(given) if isinstance(transform, LOADING)]
        if not loading:
            raise ValueError("the preprocessing has no LoadImage(d), behind which the super-resolution would come.")
        place = loading[-1] + 1
        super().__init__([*given[:place], in_front, *given[place:]], **kwargs)
