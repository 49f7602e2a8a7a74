"""Down-sampling to any scale."""

from __future__ import annotations

from monai.config import KeysCollection

from miassr_monai.geometry import Scale
from miassr_monai.resampling import bicubic_downsample
from miassr_monai.transforms.degrade import Degrade, Degraded

__all__ = ["Downsample", "Downsampled"]


class Downsample(Degrade):
    """Bicubic down-sampling to any scale, without anti-aliasing: samples of the image at the LR voxels' centres.

    Args:
        scale: see :class:`Degrade`.
        slice_axis: see :class:`Degrade`.
    """

    def __init__(self, scale: Scale, *, slice_axis: int = -1) -> None:
        super().__init__(bicubic_downsample, scale, slice_axis=slice_axis)


class Downsampled(Degraded):
    """Dictionary form of :class:`Downsample`.

    Args:
        keys: images to sample.
        scale: see :class:`Degrade`.
        slice_axis: see :class:`Degrade`.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self, keys: KeysCollection, scale: Scale, *, slice_axis: int = -1, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, bicubic_downsample, scale, slice_axis=slice_axis, allow_missing_keys=allow_missing_keys)
