"""Cropping of an image's margin."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import Crop, Cropd
from monai.transforms.utils import generate_spatial_bounding_box
from monai.utils import ensure_tuple, ensure_tuple_rep

from miassr_monai.transforms.image_name import image_name

__all__ = ["MarginCrop", "MarginCropd"]


def non_zero(x: torch.Tensor) -> torch.Tensor:
    """Voxels that are not background."""
    return x != 0


class MarginCrop(Crop):
    """Cut a margin off a channel-first image; the affine follows, and the inverse pads it back.

    Args:
        margin: voxels to cut off both ends of each spatial axis, one number or one for each axis (OASIS in the MIASSR
            paper: 14 and 16 in the axial plane); ``None`` cuts the border that is zero in every channel, and never a
            non-zero voxel.

    Raises:
        ValueError: when a margin is negative.
    """

    def __init__(self, margin: int | Sequence[int] | None = None) -> None:
        super().__init__()
        if margin is not None and min(ensure_tuple(margin)) < 0:
            raise ValueError(f"margin must not be negative, got {margin}.")
        self.margin = margin

    @property
    def requires_current_data(self) -> bool:
        """Whether a lazy pipeline has to be carried out before this transform: the zero border is read off the data."""
        return self.margin is None

    def __call__(self, img: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:
        """Crop an image ``(C, *size)``.

        Raises:
            ValueError: when nothing would be left.
        """
        size = img.shape[1:]
        if self.margin is None:
            start, end = generate_spatial_bounding_box(img, select_fn=non_zero, allow_smaller=True)
        else:
            margin = ensure_tuple_rep(self.margin, len(size))
            start, end = margin, [n - m for n, m in zip(size, margin, strict=True)]
        if any(e <= s for s, e in zip(start, end, strict=True)):
            what = "zero border" if self.margin is None else f"margin {self.margin}"
            raise ValueError(f"cropping the {what} leaves nothing of {image_name(img)}, whose size is {tuple(size)}.")
        return super().__call__(img, slices=self.compute_slices(roi_start=start, roi_end=end), lazy=lazy)


class MarginCropd(Cropd):
    """Dictionary form of :class:`MarginCrop`; each key is cropped on its own.

    Args:
        keys: images to crop.
        margin: see :class:`MarginCrop`.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self, keys: KeysCollection, margin: int | Sequence[int] | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, cropper=MarginCrop(margin), allow_missing_keys=allow_missing_keys)

    @property
    def requires_current_data(self) -> bool:
        """See :class:`MarginCrop`."""
        return self.cropper.requires_current_data
