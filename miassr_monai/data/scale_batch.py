"""Batches whose images all have the same scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import Dataset, list_data_collate
from monai.utils import CommonKeys, ImageMetaKey

from miassr_monai.geometry import nearest_fraction

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

    Raises:
        ValueError: when ``low`` is below 1 or not below ``high``.
    """

    def __init__(self, low: float = 1.0, high: float = 4.0, *, anisotropic: bool = False) -> None:
        self.first, self.last = (round(p * SCALE_UNITS / q) for p, q in map(nearest_fraction, (low, high)))
        if not self.first < self.last:
            raise ValueError(f"the smallest scale of training, {low}, must be below the largest, {high}.")
        self.anisotropic = anisotropic

    def __call__(self, batch: Sequence) -> dict[str, Any]:
        """Collate samples, or lists of samples, and add ``scale``."""
        collated = list_data_collate(batch)
        collated["scale"] = self.draw_pair() if self.anisotropic else self.draw()
        return collated

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
    """Every item of a data set at every scale, the scale added as ``scale``.

    Args:
        data: data set of dictionaries.
        scales: scales of at least 1.

    Raises:
        ValueError: when a scale is below 1 or not finite.
    """

    def __init__(self, data: Dataset, scales: Sequence[float]) -> None:
        for scale in scales:
            nearest_fraction(scale)
        super().__init__(data)
        self.scales = list(scales)

    def __len__(self) -> int:
        return len(self.data) * len(self.scales)

    def _transform(self, index: int) -> dict[str, Any]:
        item, scale = divmod(index, len(self.scales))
        return {**self.data[item], "scale": self.scales[scale]}


def slices_collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``collate_fn`` that makes one batch of the slices of one volume.

    Args:
        batch: a single item with a MetaTensor ``image`` ``(C, H, W, D)`` and ``scale``.

    Returns:
        ``image`` ``(D, C, H, W)``, ``scale``, and the volume's file ``name``.

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
        "scale": batch[0]["scale"],
        "name": str(image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "volume")),
    }
