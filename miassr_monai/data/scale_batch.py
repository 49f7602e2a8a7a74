"""Batches whose images all have the same scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from monai.data import Dataset, list_data_collate
from monai.utils import CommonKeys, ImageMetaKey

from miassr_monai.geometry import axis_scales, nearest_fraction

__all__ = ["RandomScaleCollate", "ScaleGridDataset", "slices_collate"]

# Random scales are whole multiples of 1 / SCALE_UNITS, so that every one is an exact fraction.
SCALE_UNITS = 10_000


class RandomScaleCollate:
    """``collate_fn`` that draws one scale for the batch, uniformly from ``(low, high]``, with torch's generator.

    Args:
        low: smallest scale, itself excluded; at least 1.
        high: largest scale.
        anisotropic: give every other batch one scale for rows and one for columns, half of these with a scale of 1
            along one axis, as slices across a volume have.
        input_size: how many LR pixels along each axis a patch shall give at most; larger ones are cropped, at random.
            Without it most of the time goes into scales close to 1, where a patch has the most LR pixels.

    Raises:
        ValueError: when ``low`` is below 1 or not below ``high``, or ``input_size`` is below 1.
    """

    def __init__(
        self, low: float = 1.0, high: float = 4.0, *, anisotropic: bool = False, input_size: int | None = None
    ) -> None:
        self.first, self.last = (round(p * SCALE_UNITS / q) for p, q in map(nearest_fraction, (low, high)))
        if not self.first < self.last:
            raise ValueError(f"the smallest scale of training, {low}, must be below the largest, {high}.")
        if input_size is not None and input_size < 1:
            raise ValueError(f"patches need at least one LR pixel, got an input_size of {input_size}.")
        self.anisotropic = anisotropic
        self.input_size = input_size

    def __call__(self, batch: Sequence) -> dict[str, Any]:
        """Collate samples, or lists of samples, and add ``scale``."""
        collated = list_data_collate(batch)
        collated["scale"] = scale = self.draw_pair() if self.anisotropic else self.draw()
        if self.input_size is not None:
            collated[CommonKeys.IMAGE] = self.crop(collated[CommonKeys.IMAGE], scale)
        return collated

    def crop(self, image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
        """A random part of images ``(N, C, H, W)`` that is no larger than ``input_size`` LR pixels."""
        for axis, factor in zip((2, 3), axis_scales(scale), strict=True):
            p, q = nearest_fraction(factor)
            size = min(image.shape[axis], -(-self.input_size * p // q))
            image = image.narrow(axis, int(torch.randint(image.shape[axis] - size + 1, ())), size)
        return image

    def draw(self) -> float:
        """One scale."""
        return int(torch.randint(self.first + 1, self.last + 1, ())) / SCALE_UNITS

    def draw_pair(self) -> tuple[float, float]:
        """A scale for rows and one for columns."""
        kind, scale = int(torch.randint(8, ())), self.draw()
        if kind < 4:
            return scale, scale
        if kind < 6:
            return scale, self.draw()
        return (1.0, scale) if kind == 6 else (scale, 1.0)


class ScaleGridDataset(Dataset):
    """Every item of a data set at every scale, and by every degradation: one item after the other.

    An item has ``scale`` and, with degradations, ``degradation`` added, and ``index``, its place in the data set. The
    latest item is kept, so that a data set that loads its items does so once for each.

    Args:
        data: data set of dictionaries.
        scales: scales of at least 1.
        degradations: names of the degradations, if :class:`miassr_monai.engines.DegradeBatch` has several.
        skip: called with index, degradation and scale; true for what is to be left out.

    Raises:
        ValueError: when a scale is below 1 or not finite.
    """

    def __init__(
        self,
        data: Dataset,
        scales: Sequence[float],
        degradations: Sequence[str | None] = (None,),
        *,
        skip: Callable[[int, str | None, float], bool] | None = None,
    ) -> None:
        for scale in scales:
            nearest_fraction(scale)
        super().__init__(data)
        grid = product(range(len(data)), degradations, scales)
        self.grid = [place for place in grid if skip is None or not skip(*place)]
        self.latest: tuple[int, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.grid)

    def _transform(self, index: int) -> dict[str, Any]:
        place, degradation, scale = self.grid[index]
        if self.latest is None or self.latest[0] != place:
            # The old one goes before the new one comes.
            self.latest = None
            self.latest = place, self.data[place]
        added = {} if degradation is None else {"degradation": degradation}
        return {**self.latest[1], **added, "scale": scale, "index": place}


def slices_collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``collate_fn`` that makes one batch of the slices of one volume.

    Args:
        batch: a single item of a :class:`ScaleGridDataset` with a MetaTensor ``image`` ``(C, H, W, D)``.

    Returns:
        ``image`` ``(D, C, H, W)``, the volume's file ``name``, and the item's ``scale``, ``index`` and ``degradation``.

    Raises:
        ValueError: when the batch holds more than one volume.
    """
    if len(batch) != 1:
        raise ValueError(
            f"slices of one volume make a batch, but the data loader's batch_size is {len(batch)}: set it to 1."
        )
    image = batch[0][CommonKeys.IMAGE]
    return {
        CommonKeys.IMAGE: image.as_tensor().movedim(-1, 0),
        "name": str(image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "volume")),
        **{key: batch[0][key] for key in ("scale", "index", "degradation") if key in batch[0]},
    }
