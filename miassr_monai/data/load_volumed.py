"""Loading of volumes in a pipeline of transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from miassr_monai.data.volume import load_volume
from miassr_monai.volume_files import VolumeError

__all__ = ["LoadVolumed"]


class LoadVolumed(MapTransform):
    """Load images by :func:`load_volume`, whose errors name the file, and check that they are what a pipeline expects.

    Args:
        keys: paths, or lists of those of the channels, which become MetaTensors ``(C, *spatial)``.
        spatial_dims: number of spatial axes that an image must have, 2 or 3; any of these unless given. With 3 a single
            slice, such as a picture, becomes a volume of one slice.
        channels: number of channels that an image must have; any unless given.
        fill_missing: see :func:`load_volume`.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        spatial_dims: int | None = None,
        channels: int | None = None,
        fill_missing: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spatial_dims = spatial_dims
        self.channels = channels
        self.fill_missing = fill_missing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the images under ``keys``.

        Raises:
            FileNotFoundError: see :func:`load_volume`.
            VolumeError: see :func:`load_volume`; and when an image has other axes or channels than expected.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            path, volume = d[key], load_volume(d[key], fill_missing=self.fill_missing)
            if self.spatial_dims == 3 and volume.ndim == 3:
                volume = MetaTensor(volume.as_tensor()[..., None], meta=volume.meta)
            if self.spatial_dims not in (None, volume.ndim - 1):
                raise VolumeError(
                    f"{path} has {volume.ndim - 1} spatial axes, but {self.spatial_dims} are needed: leave it out."
                )
            if self.channels not in (None, len(volume)):
                raise VolumeError(
                    f"{path} has {len(volume)} channel(s), but {self.channels} (channels) are needed: leave it out, or "
                    f"split it."
                )
            d[key] = volume
        return d
