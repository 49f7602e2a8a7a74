"""Arbitrary-scale down-sampling, and the transform that every degradation shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor

from miassr_monai.geometry import axis_scales, nearest_fraction, zoomed_affine
from miassr_monai.resampling import bicubic_downsample

__all__ = ["Degradation", "Degradationd", "Downsample", "Downsampled"]


class Degradation(Transform):
    """Make a low-resolution image of a high-resolution one, in the plane of its slices.

    Subclasses name the pure function that does it, ``degrade(image (..., H, W), scale) -> (..., floor(H/s),
    floor(W/s))``. The affine follows: the outer faces of the first voxels coincide, and in-plane spacing is multiplied
    by ``scale``.

    Args:
        scale: HR samples per LR sample, at least 1, or one for each of the two axes in the plane, in their order.
        slice_axis: spatial axis across the slices of a 3-D image, which is left alone.

    Raises:
        ValueError: when ``scale`` is below 1 or not finite.
    """

    backend = (TransformBackends.TORCH,)
    degrade: Callable[[torch.Tensor, float | tuple[float, float]], torch.Tensor]

    def __init__(self, scale: float | tuple[float, float], *, slice_axis: int = -1) -> None:
        self.scale = tuple(scale) if isinstance(scale, Sequence) else scale
        for axis_scale in axis_scales(self.scale):
            nearest_fraction(axis_scale)
        self.slice_axis = slice_axis

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Degrade a channel-first image ``(C, H, W)`` or ``(C, H, W, D)``; integers become float32."""
        img = convert_to_tensor(img, track_meta=get_track_meta())
        spatial_dims = img.ndim - 1
        data = img.as_tensor() if isinstance(img, MetaTensor) else img
        factors = [1.0 / axis_scale for axis_scale in axis_scales(self.scale)]
        if spatial_dims == 2:
            data = type(self).degrade(data, self.scale)
        else:
            axis = self.slice_axis % spatial_dims
            factors.insert(axis, 1.0)
            slices = data.movedim(axis + 1, 1)
            data = type(self).degrade(slices, self.scale).movedim(1, axis + 1).contiguous()
        if not isinstance(img, MetaTensor):
            return data
        if spatial_dims == 2 and img.affine.shape[-1] == 4:
            factors.append(1.0)
        result = MetaTensor(data, meta=img.meta, applied_operations=img.applied_operations)
        result.affine = zoomed_affine(img.affine, factors)
        return result


class Degradationd(MapTransform):
    """Dictionary form of a :class:`Degradation`, which subclasses name as ``transform``.

    Args:
        keys: images to degrade.
        scale: see :class:`Degradation`.
        slice_axis: see :class:`Degradation`.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = Degradation.backend
    transform: type[Degradation]

    def __init__(
        self,
        keys: KeysCollection,
        scale: float | tuple[float, float],
        *,
        slice_axis: int = -1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.degradation = type(self).transform(scale, slice_axis=slice_axis)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Degrade the images under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.degradation(d[key])
        return d


class Downsample(Degradation):
    """Bicubic down-sampling to any scale, without anti-aliasing: the first half of the ``paper`` degradation."""

    degrade = staticmethod(bicubic_downsample)


class Downsampled(Degradationd):
    """Dictionary form of :class:`Downsample`."""

    transform = Downsample
