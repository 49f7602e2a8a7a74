"""What to call an image in an error."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.utils import ImageMetaKey

__all__ = ["image_name"]


def image_name(img: torch.Tensor) -> str:
    """The file that an image was loaded from, as far as it is known."""
    meta = img.meta if isinstance(img, MetaTensor) else {}
    return str(meta.get(ImageMetaKey.FILENAME_OR_OBJ, "the image"))
