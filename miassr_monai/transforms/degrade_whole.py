"""Pairs of whole images, for degradations that cannot be made of a patch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys

from miassr_monai.transforms.degrade import Degrade

__all__ = ["DegradeWholed"]


class DegradeWholed(MapTransform):
    """Degrade images as a whole at their own size, and keep them as they were: pairs to be cropped alike.

    Streaks of sparse-view CT come from far away, and a sector is one only as a whole, so a patch shows neither. Without
    a degradation nothing is done.

    Args:
        keys: the image, ``(C, H, W)`` or ``(C, H, W, D)``.
        degradation: see :class:`Degrade`; it is applied at scale 1.
        label_key: where the image goes as it was.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: when there is no such degradation, or one that does nothing at scale 1.
    """

    backend = Degrade.backend

    def __init__(
        self,
        keys: KeysCollection,
        degradation: str | None,
        *,
        label_key: str = CommonKeys.LABEL,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.degrade = None if degradation is None else Degrade(degradation, 1.0)
        if self.degrade is not None and not self.degrade.degradation.same_size:
            raise ValueError(f"{degradation!r} leaves images alone at scale 1: degrade the patches by it instead.")

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Degrade the image under ``keys``."""
        d = dict(data)
        if self.degrade is None:
            return d
        for key in self.key_iterator(d):
            d[self.label_key], d[key] = d[key], self.degrade(d[key])
        return d
