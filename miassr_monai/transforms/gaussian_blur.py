"""Gaussian blur that keeps the border."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor, ensure_tuple, ensure_tuple_rep

__all__ = ["GaussianBlur", "GaussianBlurd", "gaussian_blur"]


def gaussian_kernel(sigma: float, radius: int) -> torch.Tensor:
    """Sampled, normalised Gaussian of ``2 * radius + 1`` pixels; a single one for ``sigma`` 0."""
    if sigma == 0:
        return torch.ones(1)
    return gaussian_1d(torch.tensor(sigma), truncated=radius / sigma, approx="sampled", normalize=True)


def gaussian_blur(image: torch.Tensor, sigma: Sequence[float], radius: Sequence[int]) -> torch.Tensor:
    """Blur the spatial axes of ``image`` ``(N, C, *size)``, its border samples repeated outwards.

    MONAI's ``GaussianSmooth`` pads with zeros, which darkens the border.

    Args:
        image: batch of images with one, two or three spatial axes.
        sigma: standard deviation in pixels for each spatial axis; 0 leaves an axis alone.
        radius: pixels that the kernel reaches on each side, at least 1, for each spatial axis.
    """
    kernels = [gaussian_kernel(s, r).to(image) for s, r in zip(sigma, radius, strict=True)]
    return separable_filtering(image, kernels, mode="replicate")


class GaussianBlur(Transform):
    """Gaussian blur of a channel-first image along its spatial axes, the border repeated instead of padded with zeros.

    Args:
        sigma: standard deviation in pixels, one number or one for each spatial axis; 0 leaves an axis alone.
        radius: pixels that the kernel reaches on each side, likewise; ``None`` is four standard deviations, rounded up.

    Raises:
        ValueError: when ``sigma`` is negative or ``radius`` is below 1.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, sigma: float | Sequence[float], radius: int | Sequence[int] | None = None) -> None:
        if not all(s >= 0 for s in ensure_tuple(sigma)):
            raise ValueError(f"sigma must be a number of at least 0, got {sigma}.")
        if radius is not None and min(ensure_tuple(radius)) < 1:
            raise ValueError(f"radius must be at least 1 pixel, got {radius}.")
        self.sigma = sigma
        self.radius = radius

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Blur an image ``(C, *size)``."""
        img = convert_to_tensor(img, track_meta=get_track_meta())
        sigma = ensure_tuple_rep(self.sigma, img.ndim - 1)
        radius = self.radius if self.radius is not None else [max(1, math.ceil(4 * s)) for s in sigma]
        data = convert_to_tensor(img, dtype=torch.float32, track_meta=False).unsqueeze(0)
        blurred = gaussian_blur(data, sigma, ensure_tuple_rep(radius, img.ndim - 1)).squeeze(0)
        return convert_to_dst_type(blurred, img, dtype=blurred.dtype)[0]


class GaussianBlurd(MapTransform):
    """Dictionary form of :class:`GaussianBlur`.

    Args:
        keys: images to blur.
        sigma: see :class:`GaussianBlur`.
        radius: see :class:`GaussianBlur`.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = GaussianBlur.backend

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float | Sequence[float],
        radius: int | Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.blur = GaussianBlur(sigma, radius)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Blur the images under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.blur(d[key])
        return d
