"""Batches whose images all have the same scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, cast

import torch
from monai.data import Dataset, list_data_collate
from monai.utils import CommonKeys, ImageMetaKey, convert_to_tensor

from miassr_monai.degradations import RandomDegradation, degraded_pair, parse_degradation
from miassr_monai.geometry import Scale, nearest_fraction, scale_per_axis

__all__ = ["RandomScaleCollate", "ScaleGridDataset", "as_slices", "slices_collate", "volume_collate"]

# Random scales are whole multiples of 1 / SCALE_UNITS, so that every one is an exact fraction.
SCALE_UNITS = 10_000


class RandomScaleCollate:
    """``collate_fn`` that draws one scale for the batch, uniformly from ``(low, high]``, with torch's generator.

    Args:
        low: smallest scale, at least 1; itself excluded, unless it is ``high``.
        high: largest scale; the only one where both are the same.
        anisotropic: give every other batch one scale for each axis, half of these with a scale above 1 along one axis
            only, as slices across a volume have.
        input_size: how many LR pixels along each axis a patch shall give at most; larger ones are cropped, at random.
            Without it most of the time goes into scales close to 1, where a patch has the most LR pixels.
        spatial_dims: axes of a patch: 2 of slices, 3 of volumes.
        axes: those that the scale is along, as ``(1,)`` across the beams of ultrasound; the others stay at 1. All
            unless given.
        one_axis_high: largest scale of batches that are ``anisotropic`` with a scale along one axis only, as of thick
            slices; ``high`` unless given.
        degradation: degrade the batch here, so in the processes that load the data, and not on the device: LR images in
            ``image``, the HR images in ``label``. Its name or text, a function of images and a scale for each axis, or
            a :class:`RandomDegradation`. A GPU would wait for the many small steps of it. Samples that have a
            ``label`` already are images that were degraded on the grid of these HR images, see ``degraded_pair``.

    Raises:
        ValueError: when there is no scale of at least 1 from ``low`` to ``high``, ``input_size`` is below 1, or there
            are no such ``axes``.
    """

    def __init__(
        self,
        low: float = 1.0,
        high: float = 4.0,
        *,
        anisotropic: bool = False,
        input_size: int | None = None,
        spatial_dims: int = 2,
        axes: Sequence[int] | None = None,
        one_axis_high: float | None = None,
        degradation: str | Callable[[torch.Tensor, Scale], torch.Tensor] | RandomDegradation | None = None,
    ) -> None:
        lowest, self.last = (round(p * SCALE_UNITS / q) for p, q in map(nearest_fraction, (low, high)))
        if lowest >= self.last and low != high:
            raise ValueError(f"the smallest scale of training, {low}, must be below the largest, {high}, or the same.")
        self.first = min(lowest + 1, self.last)
        p, q = nearest_fraction(high if one_axis_high is None else one_axis_high)
        self.last_of_one_axis = round(p * SCALE_UNITS / q)
        if self.last_of_one_axis < self.first:
            raise ValueError(f"the largest scale along one axis, {one_axis_high}, must not be below the least, {low}.")
        if input_size is not None and input_size < 1:
            raise ValueError(f"patches need at least one LR pixel, got an input_size of {input_size}.")
        if axes is not None and not set(axes) <= set(range(spatial_dims)):
            raise ValueError(f"a scale can be along the axes 0 to {spatial_dims - 1} of a patch, got {axes}.")
        self.axes = axes
        self.anisotropic = anisotropic
        self.input_size = input_size
        self.spatial_dims = spatial_dims
        self.degradation = parse_degradation(degradation) if isinstance(degradation, str) else degradation

    def __call__(self, batch: Sequence) -> dict[str, Any]:
        """Collate samples, or lists of samples, and add ``scale``; with a degradation also ``label`` and what was
        drawn."""
        collated = list_data_collate(batch)
        collated["scale"] = scale = self.draw_scale()
        keys = [key for key in (CommonKeys.IMAGE, CommonKeys.LABEL) if key in collated]
        collated.update({key: convert_to_tensor(collated[key], track_meta=False) for key in keys})
        if self.input_size is not None:
            collated.update(zip(keys, self.crop([collated[key] for key in keys], scale, self.input_size), strict=True))
        if self.degradation is not None:
            whole = collated.get(CommonKeys.LABEL)
            image, label, drawn = degraded_pair(collated[CommonKeys.IMAGE], scale, self.degradation, whole)
            collated.update({CommonKeys.IMAGE: image, CommonKeys.LABEL: label, **drawn})
        return collated

    @staticmethod
    def crop(
        images: Sequence[torch.Tensor], scale: float | tuple[float, ...], input_size: int
    ) -> Sequence[torch.Tensor]:
        """The same random part, no larger than ``input_size`` LR pixels, of images ``(N, C, *size)`` of one size."""
        for axis, factor in enumerate(scale_per_axis(scale, images[0].dim() - 2), start=2):
            p, q = nearest_fraction(factor)
            whole = images[0].shape[axis]
            size = min(whole, -(-input_size * p // q))
            start = int(torch.randint(whole - size + 1, ()))
            images = [image.narrow(axis, start, size) for image in images]
        return images

    def draw_scale(self) -> float | tuple[float, ...]:
        """The scale of a batch."""
        if self.axes is not None:
            scale = self.draw()
            return tuple(scale if axis in self.axes else 1.0 for axis in range(self.spatial_dims))
        return self.draw_axes() if self.anisotropic else self.draw()

    def draw(self, last: int | None = None) -> float:
        """One scale, up to a last one in units of :data:`SCALE_UNITS`; to the largest of all axes unless given."""
        return int(torch.randint(self.first, (last or self.last) + 1, ())) / SCALE_UNITS

    def draw_axes(self) -> tuple[float, ...]:
        """A scale for each axis."""
        kind = int(torch.randint(4, ()))
        scale = self.draw(self.last_of_one_axis if kind == 3 else None)
        if kind < 2:
            return (scale,) * self.spatial_dims
        if kind == 2:
            return scale, *[self.draw() for _ in range(self.spatial_dims - 1)]
        scales = [1.0] * self.spatial_dims
        scales[int(torch.randint(self.spatial_dims, ()))] = scale
        return tuple(scales)


class ScaleGridDataset(Dataset):
    """Every item of a data set at every scale, and by every degradation: one item after the other.

    An item has ``scale`` and, with degradations, ``degradation`` added, and ``index``, its place in the data set. The
    latest item is kept, so that a data set that loads its items does so once for each.

    Args:
        data: data set of dictionaries.
        scales: scales of at least 1, one number or one for each axis.
        degradations: names of the degradations, if :class:`miassr_monai.engines.DegradeBatch` has several.
        skip: called with index, degradation and scale; true for what is to be left out.
        keep_errors: of an item that cannot be loaded, hand out the exception as ``error`` instead of raising it.

    Raises:
        ValueError: when a scale is below 1 or not finite.
    """

    def __init__(
        self,
        data: Dataset,
        scales: Sequence[Scale],
        degradations: Sequence[str | None] = (None,),
        *,
        skip: Callable[[int, str | None, float | tuple[float, ...]], bool] | None = None,
        keep_errors: bool = False,
    ) -> None:
        # JSON has lists, which cannot be looked up.
        chosen = [tuple(scale) if isinstance(scale, Sequence) else scale for scale in scales]
        for scale in chosen:
            for factor in scale if isinstance(scale, tuple) else [scale]:
                nearest_fraction(factor)
        super().__init__(cast("Sequence", data))
        self.keep_errors = keep_errors
        grid = product(range(len(data)), degradations, chosen)
        self.grid = [place for place in grid if skip is None or not skip(*place)]
        self.latest: tuple[int, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.grid)

    def _transform(self, index: int) -> dict[str, Any]:
        place, degradation, scale = self.grid[index]
        if self.latest is None or self.latest[0] != place:
            # The old one goes before the new one comes.
            self.latest = None
            self.latest = place, self.load(place)
        added = {} if degradation is None else {"degradation": degradation}
        return {**self.latest[1], **added, "scale": scale, "index": place}

    def load(self, place: int) -> dict[str, Any]:
        """An item of the data set."""
        try:
            return self.data[place]
        except Exception as error:
            if not self.keep_errors:
                raise
            return {"error": error}


def volume_collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``collate_fn`` that makes a batch of one volume.

    Args:
        batch: a single item of a :class:`ScaleGridDataset` with a MetaTensor ``image`` ``(C, H, W, D)``.

    Returns:
        ``image`` ``(1, C, H, W, D)``, the volume's file ``name``, and the item's ``scale``, ``index`` and
        ``degradation``; or, of a volume that could not be loaded, ``error`` and the latter three.

    Raises:
        ValueError: when the batch holds more than one volume.
    """
    if len(batch) != 1:
        raise ValueError(
            f"a batch is of one volume here, but the data loader's batch_size is {len(batch)}: set it to 1."
        )
    kept = ("scale", "index", "degradation", "error")
    collated: dict[str, Any] = {key: batch[0][key] for key in kept if key in batch[0]}
    if "error" not in collated:
        image = batch[0][CommonKeys.IMAGE]
        collated[CommonKeys.IMAGE] = image.as_tensor().unsqueeze(0)
        collated["name"] = str(image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "volume"))
    return collated


def slices_collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``collate_fn`` that makes one batch of the slices of one volume: :func:`volume_collate` with ``image`` ``(D, C,
    H, W)``."""
    collated = volume_collate(batch)
    if CommonKeys.IMAGE in collated:
        collated[CommonKeys.IMAGE] = as_slices(collated[CommonKeys.IMAGE])
    return collated


def as_slices(images: torch.Tensor) -> torch.Tensor:
    """Volumes ``(N, C, H, W, D)`` as slices across their last axis ``(N * D, C, H, W)``; slices as they are."""
    return images if images.dim() == 4 else images.movedim(-1, 1).flatten(0, 1)
