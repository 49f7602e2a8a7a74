"""What a user gives as a volume, and a result as what it was made from."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from miassr_monai.data import load_volume
from miassr_monai.geometry import zoomed_affine
from miassr_monai.prediction.plan import Plan
from miassr_monai.volume_files import DTYPES

__all__ = ["as_volume", "dtype_of", "grid_meta", "on_fine_grid"]

# A stack of more images than this is rather a volume without a channel axis.
MAX_CHANNELS = 64


def dtype_of(image: Any, given: MetaTensor) -> str:
    """Type of an image's values, as it is in the file, among those that are written.

    Raises:
        ValueError: when it is none of them.
    """
    name = given.meta.get("original_dtype", str(getattr(image, "dtype", "float32"))).removeprefix("torch.")
    if name in ("float16", "float64", "bfloat16"):
        return "float32"
    if name not in DTYPES:
        raise ValueError(f"a result of type {name} as the input has is not made: give a dtype, such as 'int32'.")
    return name


def as_volume(image: Any, fill_missing: bool = False) -> MetaTensor:
    """A file, those of channels, an array or a tensor as a float32 MetaTensor ``(C, h, w)`` or ``(C, h, w, d)``.

    Raises:
        ValueError: when it has another number of axes, or one of size 0.
    """
    if isinstance(image, (str, os.PathLike)):
        return load_volume(image)
    if isinstance(image, (list, tuple)) and all(one is None or isinstance(one, (str, os.PathLike)) for one in image):
        return load_volume(image, fill_missing=fill_missing)
    if isinstance(image, MetaTensor):
        content: Any = image.as_tensor()
        meta = dict(image.meta)
    else:
        # NumPy, because PyTorch takes neither flipped arrays nor those of another byte order.
        content = image if torch.is_tensor(image) else np.ascontiguousarray(image, np.float32)
        meta = None
    data = torch.as_tensor(content).detach().to(device="cpu", dtype=torch.float32)
    shape = tuple(data.shape)
    if len(shape) not in (3, 4) or (len(shape) == 3 and shape[0] > MAX_CHANNELS):
        raise ValueError(
            f"the image must be channel first, (C, h, w) or (C, h, w, d), got {shape}: add the channel axis, such as "
            "image[None]."
        )
    if data.numel() == 0:
        raise ValueError(f"the image has an axis of size 0, its shape is {shape}.")
    return MetaTensor(data, meta=meta)


def on_fine_grid(fine: torch.Tensor, source: MetaTensor, plan: Plan) -> MetaTensor:
    """A result ``(C, h, w, d)`` with the axes and ``meta`` of what it was made from, and the finer grid's affine."""
    # Finer slices are not what the scanner's were.
    meta = {key: value for key, value in source.meta.items() if key != "slice_thickness" or plan.through_plane == 1}
    result = MetaTensor(fine.squeeze(-1) if source.ndim == 3 else fine, meta=meta)
    result.affine = zoomed_affine(source.affine, plan.factors[: source.affine.shape[-1] - 1])
    result.meta.update(grid_meta(result))
    return result


def grid_meta(image: MetaTensor) -> dict[str, Any]:
    """Entries of an image's ``meta`` that repeat its shape, spacing and affine, brought up to date.

    MONAI's readers take them over from the file's header, and its writers resample to them when they are told to.
    """
    shape, spacing = np.array(image.shape[1:]), image.pixdim.numpy()[: image.ndim - 1]
    current = {"spatial_shape": shape, "original_affine": image.affine.numpy().copy()}
    for key, values in (("dim", shape), ("pixdim", spacing)):
        # In NIfTI's header the first entry belongs to no axis.
        header = np.array(image.meta.get(key, ()), dtype=values.dtype)
        if header.ndim == 1 and header.size > values.size:
            header[1 : values.size + 1] = values
            current[key] = header
    return {key: value for key, value in current.items() if key in image.meta}
