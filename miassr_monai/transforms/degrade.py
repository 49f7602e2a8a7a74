"""Low-resolution images of high-resolution ones, by any degradation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor

from miassr_monai.degradations import parse_degradation
from miassr_monai.geometry import Scale, nearest_fraction, scale_per_axis, zoomed_affine

__all__ = ["Degrade", "Degraded"]


class Degrade(Transform):
    """Make a low-resolution image of a high-resolution one, in the plane of its slices or along all three axes.

    The affine follows: the outer faces of the first voxels coincide, and spacing is multiplied by the scale.

    Args:
        degradation: name, or text with parameters such as ``"kspace:window=hann"``, see
            :func:`miassr_monai.degradations.parse_degradation`; or a function of an image and a scale.
        scale: HR samples per LR sample, at least 1, or one for each of the two axes in the plane, in their order, or
            one for each axis of a volume.
        slice_axis: spatial axis across the slices of a 3-D image, which is left alone unless it has a scale.
        parameters: of a degradation that is named, such as ``fwhm=0.8`` or ``noise=0.02``.

    Raises:
        ValueError: when ``scale`` is below 1 or not finite, or the degradation is none.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(
        self,
        degradation: str | Callable[[torch.Tensor, Scale], torch.Tensor],
        scale: Scale,
        *,
        slice_axis: int = -1,
        **parameters: Any,
    ) -> None:
        self.scale = tuple(scale) if isinstance(scale, Sequence) else scale
        for axis_scale in self.scale if isinstance(self.scale, tuple) else [self.scale]:
            nearest_fraction(axis_scale)
        if isinstance(degradation, str):
            degradation = parse_degradation(degradation, **parameters)
        self.degradation = degradation
        self.slice_axis = slice_axis

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Degrade a channel-first image ``(C, H, W)`` or ``(C, H, W, D)``; integers become float32.

        Raises:
            ValueError: when the scale does not have the axes of the image or of its slices.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        data = img.as_tensor() if isinstance(img, MetaTensor) else img
        whole = isinstance(self.scale, tuple) and len(self.scale) == 3
        if whole or img.ndim == 3:
            factors = scale_per_axis(self.scale, img.ndim - 1)
            data = self.degradation(data, factors)
        else:
            axis = self.slice_axis % 3
            in_plane = scale_per_axis(self.scale, 2)
            factors = (*in_plane[:axis], 1.0, *in_plane[axis:])
            data = self.degradation(data.movedim(axis + 1, 1), in_plane).movedim(1, axis + 1).contiguous()
        if not isinstance(img, MetaTensor):
            return data
        beside = [1.0] * (img.affine.shape[-1] - 1 - len(factors))
        result = MetaTensor(data, meta=img.meta, applied_operations=img.applied_operations)
        result.affine = zoomed_affine(img.affine, [*(1.0 / factor for factor in factors), *beside])
        return result


class Degraded(MapTransform):
    """Dictionary form of :class:`Degrade`.

    Args:
        keys: images to degrade.
        degradation: see :class:`Degrade`.
        scale: see :class:`Degrade`.
        slice_axis: see :class:`Degrade`.
        allow_missing_keys: do not raise when a key is missing.
        parameters: see :class:`Degrade`.
    """

    backend = Degrade.backend

    def __init__(
        self,
        keys: KeysCollection,
        degradation: str | Callable[[torch.Tensor, Scale], torch.Tensor],
        scale: Scale,
        *,
        slice_axis: int = -1,
        allow_missing_keys: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.degrade = Degrade(degradation, scale, slice_axis=slice_axis, **parameters)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Degrade the images under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.degrade(d[key])
        return d
