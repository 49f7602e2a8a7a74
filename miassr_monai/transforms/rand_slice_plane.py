"""Slices of a volume in another plane."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Randomizable, RandomizableTransform
from monai.utils import TransformBackends, convert_to_tensor

__all__ = ["RandSlicePlane", "RandSlicePlaned"]


class RandSlicePlane(RandomizableTransform):
    """Turn a volume ``(C, H, W, D)`` so that its last axis, across the slices, is one of the other two.

    The slices of an isotropic volume are images of one quality in all three planes; across thick slices they are not,
    so a volume whose spacings differ by more than ``tolerance`` stays as it is. The affine follows.

    Args:
        prob: how often another plane is taken, either with the same chance; 2 / 3 takes all three alike.
        tolerance: how much larger the largest spacing may be than the smallest, as a part of it.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, prob: float = 2.0 / 3.0, *, tolerance: float = 0.25) -> None:
        super().__init__(prob)
        self.tolerance = tolerance
        self.axis = 0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to turn, and which axis comes last."""
        super().randomize(None)
        self.axis = int(self.R.randint(2))

    def __call__(self, img: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """Turn an image ``(C, H, W, D)``.

        Raises:
            ValueError: when the image is not 3-D.
        """
        if randomize:
            self.randomize()
        spacing = img.pixdim if isinstance(img, MetaTensor) else torch.ones(3)
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 4:
            raise ValueError(f"choosing a plane needs a 3-D image (C, H, W, D), got {tuple(img.shape)}.")
        if not self._do_transform or spacing.max() > (1 + self.tolerance) * spacing.min():
            return img
        order = [axis for axis in range(3) if axis != self.axis] + [self.axis]
        data = img.as_tensor() if isinstance(img, MetaTensor) else img
        data = data.permute(0, *(axis + 1 for axis in order))
        if not isinstance(img, MetaTensor):
            return data
        result = MetaTensor(data, meta=img.meta, applied_operations=img.applied_operations)
        result.affine = img.affine[:, [*order, 3]]
        return result


class RandSlicePlaned(MapTransform, Randomizable):
    """Dictionary form of :class:`RandSlicePlane`; all keys are turned alike.

    Args:
        keys: images to turn.
        prob: see :class:`RandSlicePlane`.
        tolerance: see :class:`RandSlicePlane`.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = RandSlicePlane.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 2.0 / 3.0,
        *,
        tolerance: float = 0.25,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.turn = RandSlicePlane(prob, tolerance=tolerance)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> RandSlicePlaned:
        """Set the random state of what is drawn."""
        super().set_random_state(seed, state)
        self.turn.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Turn the images under ``keys``."""
        d = dict(data)
        self.turn.randomize()
        for key in self.key_iterator(d):
            d[key] = self.turn(d[key], randomize=False)
        return d
