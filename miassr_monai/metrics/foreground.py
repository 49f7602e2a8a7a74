"""Which pixels show the patient."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
from skimage.filters import threshold_otsu

__all__ = ["foreground_mask"]


def foreground_mask(slices: torch.Tensor) -> torch.Tensor:
    """Pixels above the volume's Otsu threshold (IEEE Trans. SMC 1979), with the holes of each slice filled.

    Args:
        slices: ``(N, C, H, W)``, the slices of one volume.

    Returns:
        Boolean ``(N, 1, H, W)``: foreground where any channel is; empty for a volume of one value.
    """
    volume = slices.detach().float().cpu().numpy()
    if volume.min() == volume.max():
        return torch.zeros_like(slices[:, :1], dtype=torch.bool)
    above = (volume > threshold_otsu(volume)).any(1)
    filled = np.stack([binary_fill_holes(slice_) for slice_ in above])
    return torch.from_numpy(filled)[:, None].to(slices.device)
