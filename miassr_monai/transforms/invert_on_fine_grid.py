"""Undoing a preprocessing on a super-resolved image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import deepcopy

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, allow_missing_keys_mode
from monai.utils import ensure_tuple_rep

__all__ = ["InvertOnFineGridd"]


class InvertOnFineGridd(MapTransform):
    """Undo the preprocessing of an image on what was super-resolved from it: intensity units and axis order.

    MONAI's ``Invertd`` gives a prediction the metadata of its input, and with it the input's affine; here the
    prediction keeps its own, finer grid. Only transforms that do not depend on the grid may be undone so, such as
    ``Orientationd`` and :class:`ScaleToUnitRanged`.

    Args:
        keys: super-resolved images.
        transform: the preprocessing.
        orig_keys: for each key, the image whose preprocessing is undone.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: InvertibleTransform,
        orig_keys: KeysCollection,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform
        self.orig_keys = ensure_tuple_rep(orig_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Undo the preprocessing on the images under ``keys``."""
        d = dict(data)
        for key, orig_key in self.key_iterator(d, self.orig_keys):
            image = MetaTensor(d[key], meta=d[key].meta, applied_operations=deepcopy(d[orig_key].applied_operations))
            with allow_missing_keys_mode(self.transform):
                d[key] = self.transform.inverse({orig_key: image})[orig_key]
        return d
