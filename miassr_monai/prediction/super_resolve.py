"""Super-resolution as a stage of a MONAI pipeline."""

from __future__ import annotations

import inspect
import os
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from monai.utils import TraceKeys, TransformBackends, ensure_tuple_rep, look_up_option

from miassr_monai.prediction.images import grid_meta
from miassr_monai.prediction.labels import upscale_labels
from miassr_monai.prediction.plan import check_request
from miassr_monai.prediction.predictor import Predictor

__all__ = ["SuperResolve", "SuperResolved"]

# One for each way that a process asks for, shared by all transforms.
predictor_of = lru_cache(maxsize=8)(Predictor)
NETWORK = "network"
MODES = (NETWORK, "nearest", "one_hot")


class SuperResolve(InvertibleTransform):
    """Super-resolve an image and set its affine; the inverse brings what was made on the fine grid back.

    The model is loaded once in each process, when it is first needed, so that the transform can be sent to the workers
    of a ``DataLoader``; where there is a GPU, give ``device="cpu"`` for these, because CUDA does not work in forked
    workers. The inverse resamples to the grid of the input: linearly, or by nearest neighbour for label maps and where
    MONAI's ``Invertd`` is told to (``nearest_interp=True``), as labels need.

    Args:
        scale: HR samples per LR sample: one number for the two axes of a slice, or one for each axis.
        spacing: wanted, in mm, instead of a scale: one number for all axes, or one for each.
        model: bundle folder or weights file; ``"bicubic"``; or ``None`` for the bundle of this package.
        mode: ``"network"`` for images. For label maps, which get the same grid and keep their type, ``"nearest"``; or
            ``"one_hot"``, where each label is interpolated linearly and the largest wins, which has smoother edges.
        predictor_args: further arguments of :class:`Predictor`, by name; the consistency is not measured unless asked
            for.

    Raises:
        TypeError: when :class:`Predictor` has no such argument.
        ValueError: when not one of ``scale`` and ``spacing`` is given, or it is out of range, or there is no such mode.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(
        self,
        scale: float | Sequence[float] | None = None,
        *,
        spacing: float | Sequence[float] | None = None,
        model: str | os.PathLike | None = None,
        mode: str = NETWORK,
        **predictor_args: Any,
    ) -> None:
        check_request(scale, spacing)
        known = set(inspect.signature(Predictor).parameters)
        if unknown := sorted(set(predictor_args) - known):
            raise TypeError(f"there is no argument {unknown[0]!r}: Predictor has {', '.join(sorted(known))}.")
        self.mode = look_up_option(mode, MODES)
        self.scale, self.spacing = scale, spacing
        self.predictor_args = {"model": None if model is None else os.fspath(model), "consistency": None}
        # Lists, as a JSON config has them, cannot be looked up.
        self.predictor_args |= {k: tuple(v) if isinstance(v, list) else v for k, v in predictor_args.items()}

    @property
    def predictor(self) -> Predictor:
        """The predictor of this process."""
        return predictor_of(**self.predictor_args)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Super-resolve an image, or a label map, ``(C, h, w)`` or ``(C, h, w, d)``."""
        fine = self.upscale(img)
        if not get_track_meta():
            return fine.as_tensor()
        source = img if isinstance(img, MetaTensor) else MetaTensor(img)
        fine.applied_operations = list(source.applied_operations)
        grid = {key: source.meta[key] for key in grid_meta(source)}
        mode = "bilinear" if self.mode == NETWORK else "nearest"
        info = {"mode": mode, "size": list(img.shape[1:]), "affine": source.affine.tolist(), "grid": grid}
        self.push_transform(fine, extra_info=info)
        return fine

    def upscale(self, img: torch.Tensor) -> MetaTensor:
        """The image or label map on the finer grid."""
        if self.mode == NETWORK:
            return self.predictor(img, scale=self.scale, spacing=self.spacing)
        labels = img if isinstance(img, MetaTensor) else MetaTensor(img)
        return upscale_labels(
            labels,
            scale=self.scale,
            spacing=self.spacing,
            slice_axis=self.predictor_args.get("slice_axis"),
            spatial_dims=self.predictor.spatial_dims,
            one_hot=self.mode == "one_hot",
        )

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Resample an image on the fine grid to the grid of the input."""
        info = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        affine = torch.tensor(info["affine"], dtype=torch.float64)
        resample = SpatialResample(mode=info["mode"], padding_mode="border", align_corners=False, dtype=torch.float64)
        with resample.trace_transform(False):
            coarse = resample(data, dst_affine=affine, spatial_size=info["size"]).to(data.dtype)
        coarse.meta.update(info["grid"])
        return coarse


class SuperResolved(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`SuperResolve`.

    Args:
        keys: images and label maps to super-resolve.
        scale: see :class:`SuperResolve`.
        spacing: see :class:`SuperResolve`.
        model: see :class:`SuperResolve`.
        mode: see :class:`SuperResolve`; one, or one for each key, such as ``("network", "nearest")`` for the keys
            ``("image", "label")``.
        allow_missing_keys: do not raise when a key is missing.
        predictor_args: see :class:`SuperResolve`.
    """

    backend = SuperResolve.backend

    def __init__(
        self,
        keys: KeysCollection,
        scale: float | Sequence[float] | None = None,
        *,
        spacing: float | Sequence[float] | None = None,
        model: str | os.PathLike | None = None,
        mode: str | Sequence[str] = NETWORK,
        allow_missing_keys: bool = False,
        **predictor_args: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.super_resolve = tuple(
            SuperResolve(scale, spacing=spacing, model=model, mode=each, **predictor_args)
            for each in ensure_tuple_rep(mode, len(self.keys))
        )

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Super-resolve the images under ``keys``."""
        d = dict(data)
        for key, super_resolve in self.key_iterator(d, self.super_resolve):
            d[key] = super_resolve(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Bring the images under ``keys`` back to the grids of the inputs."""
        d = dict(data)
        for key, super_resolve in self.key_iterator(d, self.super_resolve):
            d[key] = super_resolve.inverse(d[key])
        return d
