"""Dropping of slices without content."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor

from miassr_monai.transforms.image_name import image_name

__all__ = ["DropEmptySlices", "DropEmptySlicesd"]


class DropEmptySlices(Transform):
    """Drop the slices of a 3-D image that are constant in every channel, as background is.

    Made for sets of training slices: the affine moves to the first slice that is kept, but a gap inside the volume is
    closed up.

    Args:
        slice_axis: spatial axis across the slices.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, slice_axis: int = -1) -> None:
        self.slice_axis = slice_axis

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Drop slices of an image ``(C, H, W, D)``.

        Raises:
            ValueError: when the image is not 3-D or every slice is empty.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 4:
            raise ValueError(
                f"dropping slices needs a 3-D image (C, H, W, D), but {image_name(img)} is {tuple(img.shape)}."
            )
        axis = self.slice_axis % 3
        data = img.as_tensor() if isinstance(img, MetaTensor) else img
        slices = data.movedim(axis + 1, 1).flatten(2)
        kept = torch.nonzero((slices.amax(2) > slices.amin(2)).any(0)).flatten()
        if len(kept) == 0:
            raise ValueError(f"every slice of {image_name(img)} is constant, so none is left to work with.")
        data = data.index_select(axis + 1, kept)
        if not isinstance(img, MetaTensor):
            return data
        result = MetaTensor(data, meta=img.meta, applied_operations=img.applied_operations)
        affine = img.affine.clone()
        affine[:3, 3] += affine[:3, axis] * kept[0].item()
        result.affine = affine
        return result


class DropEmptySlicesd(MapTransform):
    """Dictionary form of :class:`DropEmptySlices`.

    Args:
        keys: images whose slices are dropped, each on its own.
        slice_axis: see :class:`DropEmptySlices`.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = DropEmptySlices.backend

    def __init__(self, keys: KeysCollection, slice_axis: int = -1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.dropper = DropEmptySlices(slice_axis)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Drop slices of the images under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.dropper(d[key])
        return d
