"""Intensities to [0, 1] per volume and channel, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TransformBackends, convert_data_type, convert_to_tensor

from miassr_monai.transforms.image_name import image_name
from miassr_monai.transforms.missing_channels import missing_channels

__all__ = ["ScaleToUnitRange", "ScaleToUnitRanged", "intensity_range"]


def intensity_range(
    img: torch.Tensor, lower: float, upper: float, window: bool = False, *, name: str | None = None
) -> tuple[float, float]:
    """The intensities that become 0 and 1: two percentiles of an image, or a window as it is.

    Args:
        img: the image, or a channel of it.
        lower, upper, window: see :class:`ScaleToUnitRange`.
        name: what errors call it.

    Raises:
        ValueError: when the percentiles are equal, or the image holds values that are not finite.
    """
    name = name or image_name(img)
    if not torch.isfinite(img).all():
        raise ValueError(f"{name} holds NaN or infinite values, so its intensities cannot be mapped to [0, 1].")
    if window:
        return lower, upper
    low, high = (float(v) for v in np.percentile(convert_data_type(img, np.ndarray)[0], (lower, upper)))
    if not low < high:
        raise ValueError(
            f"{name} is constant ({low:g}) between its percentiles {lower:g} and {upper:g}, "
            "so its intensities cannot be mapped to [0, 1]: give a window of intensities instead."
        )
    return low, high


class ScaleToUnitRange(InvertibleTransform):
    """Map a volume's intensities linearly to [0, 1] and remember how, so that the inverse returns the original units.

    The range of each channel is either two of its percentiles (MR) or a fixed window (CT, in Hounsfield units). Values
    beyond the range are kept beyond [0, 1] unless ``clip`` is set, so nothing is lost on the way back. A channel that
    was missing and is filled with 0 stays so.

    Args:
        lower: percentile that becomes 0, or the window's lower end.
        upper: percentile that becomes 1, or the window's upper end.
        window: take ``lower`` and ``upper`` as intensities instead of percentiles.
        clip: cut values beyond the range.

    Raises:
        ValueError: when ``lower`` is not below ``upper``, or a percentile is outside [0, 100].
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, lower: float = 0.0, upper: float = 99.95, *, window: bool = False, clip: bool = False) -> None:
        if not lower < upper:
            raise ValueError(f"lower must be below upper, got {lower} and {upper}.")
        if not window and not (lower >= 0 and upper <= 100):
            raise ValueError(f"percentiles must lie in [0, 100], got {lower} and {upper}.")
        self.lower, self.upper, self.window, self.clip = lower, upper, window, clip

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Map an image ``(C, *size)``.

        Raises:
            ValueError: when a channel is constant, so that it has no range, or holds values that are not finite.
        """
        img = convert_to_tensor(img, dtype=torch.float32, track_meta=get_track_meta())
        ranges = [self.range_of(img, number) for number in range(len(img))]
        low, high = ([pair[end] for pair in ranges] for end in (0, 1))
        out = (img - per_channel(low, img)) / (per_channel(high, img) - per_channel(low, img))
        if self.clip:
            out = out.clamp(0.0, 1.0)
        self.push_transform(out, extra_info={"low": low, "high": high})
        return out

    def range_of(self, img: torch.Tensor, number: int) -> tuple[float, float]:
        """Intensities of a channel that become 0 and 1."""
        if number in missing_channels(img):
            return 0.0, 1.0
        name = image_name(img) if len(img) == 1 else f"channel {number} of {image_name(img)}"
        return intensity_range(img[number], self.lower, self.upper, self.window, name=name)

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Return an image to the units that it came in."""
        info = self.pop_transform(data)["extra_info"]
        low, high = (per_channel(info[end], data) for end in ("low", "high"))
        return data * (high - low) + low


def per_channel(values: Sequence[float], img: torch.Tensor) -> torch.Tensor:
    """A value for each channel of ``(C, *size)``, to compute with it."""
    return torch.tensor(values, dtype=img.dtype, device=img.device).reshape(-1, *[1] * (img.ndim - 1))


class ScaleToUnitRanged(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`ScaleToUnitRange`; each key has its own ranges.

    Args:
        keys: images to map.
        lower: see :class:`ScaleToUnitRange`.
        upper: see :class:`ScaleToUnitRange`.
        window: see :class:`ScaleToUnitRange`.
        clip: see :class:`ScaleToUnitRange`.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = ScaleToUnitRange.backend

    def __init__(
        self,
        keys: KeysCollection,
        lower: float = 0.0,
        upper: float = 99.95,
        *,
        window: bool = False,
        clip: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scaler = ScaleToUnitRange(lower, upper, window=window, clip=clip)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Map the images under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scaler(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the images under ``keys`` to the units that they came in."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scaler.inverse(d[key])
        return d
