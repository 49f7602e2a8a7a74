"""Patches of the sample volume, for benchmarks that train."""

from __future__ import annotations

import nibabel as nib
import torch

from miassr_monai.data import load_datalist, write_sample

BATCH, PATCH = 16, 96


def load_slices(section: str, folder: str) -> torch.Tensor:
    """Slices ``(N, 1, H, W)`` of a section of the sample data, with intensities in [0, 1]."""
    items = load_datalist(write_sample(folder), section)
    slices = torch.cat([torch.tensor(nib.load(item["image"]).get_fdata()).float().movedim(-1, 0) for item in items])
    return (slices / slices.max()).unsqueeze(1)


def draw_patches(
    slices: torch.Tensor, generator: torch.Generator, batch: int = BATCH, size: int = PATCH
) -> torch.Tensor:
    """A batch of patches ``(batch, 1, size, size)``."""
    n, _, height, width = slices.shape
    patches = []
    for _ in range(batch):
        index, top, left = (
            int(torch.randint(limit, (), generator=generator)) for limit in (n, height - size + 1, width - size + 1)
        )
        patches.append(slices[index, :, top : top + size, left : left + size])
    return torch.stack(patches)
