"""Which channels of an image are missing."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

__all__ = ["MISSING_CHANNELS", "missing_channels"]

# In an image's ``meta``, the numbers of the channels that were missing and are filled with 0.
MISSING_CHANNELS = "missing_channels"


def missing_channels(img: torch.Tensor) -> list[int]:
    """The numbers of the channels that were filled because they are missing, as far as it is known."""
    return list(img.meta.get(MISSING_CHANNELS, ())) if isinstance(img, MetaTensor) else []
