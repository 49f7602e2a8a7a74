"""Pairs of coarse and fine images from the slices of one scan.

What is fine in the plane of the slices is made as coarse along one axis as the scan is across them: that is what its
orthogonal planes look like, and the slices themselves are the truth (self-supervised, as SMORE, Zhao et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from monai.transforms import generate_spatial_bounding_box
from monai.utils import CommonKeys, convert_to_tensor

from miassr_monai.degradations import sampling_degradation
from miassr_monai.geometry import upscaled_size
from miassr_monai.metrics import foreground_mask

__all__ = ["SlicePairs", "in_whole_pixels", "split_slices"]

Degrade = Callable[[torch.Tensor, tuple[float, ...]], torch.Tensor]

# Of every so many slices one is held out, but no more of them than are needed for a mean.
HELD_OUT_EVERY, MOST_HELD_OUT = 8, 6
# How small a part of a pixel a voxel may be for a pixel to stand for it.
LEAST_VOXEL = 2 / 3


class SlicePairs:
    """``prepare_batch`` of MONAI's engines: slices made coarse along their last axis, and the slices themselves.

    Args:
        degradation: what the scan's slices see, see :class:`miassr_monai.prediction.SliceModel`.
        spacing: from slice to slice, in pixels.
        fine: the spacing that is wanted across the slices, in pixels, at least 1: the truth is sampled to it. See
            :func:`in_whole_pixels`.
    """

    def __init__(self, degradation: Degrade, *, spacing: float, fine: float = 1.0) -> None:
        self.degradation = degradation
        self.spacing = spacing
        self.fine = fine

    def __call__(
        self, batchdata: MutableMapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, Any]]:
        """Make pairs of a batch with slices ``image`` ``(N, C, h, w)``.

        Returns:
            Coarse images, truth, no positional arguments, and the scale as keyword argument of the network.
        """
        image = convert_to_tensor(batchdata[CommonKeys.IMAGE], track_meta=False)
        image = image.to(device=device, non_blocking=non_blocking, **kwargs)
        small = self.degradation(image, (1.0, self.spacing))
        scale = self.spacing / self.fine
        truth = sampling_degradation(image, (1.0, self.fine))[..., : upscaled_size(small.size(-1), scale)]
        return small[..., : truth.size(-1)], truth, (), {"scale": (1.0, scale)}


def in_whole_pixels(spacing: float, scale: float) -> tuple[float, int]:
    """Distances for :class:`SlicePairs`, as if the voxels wanted were a whole number of pixels.

    What is sampled between pixels is softer than voxels are, and so would be what is learnt from it. A body that looks
    larger or smaller by up to a half matters less. Voxels much smaller than pixels have no truth: there, the distance
    stays as it is, and the scale that is learnt is that to the pixels.

    Args:
        spacing: from slice to slice, in pixels.
        scale: wanted across the slices.

    Returns:
        From slice to slice, and from voxel to voxel, in pixels.
    """
    voxel = spacing / scale
    fine = max(1, round(voxel))
    return (scale * fine if voxel > LEAST_VOXEL else spacing), fine


def split_slices(slices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The slices to train on, and those that are held out.

    Slices of one value are left out, and so is the air around what all of them show. Held out is one of eight, evenly
    through those that show much.

    Args:
        slices: ``(N, C, h, w)``.

    Raises:
        ValueError: when there are not two that show something.
    """
    mask = foreground_mask(slices)
    area = mask.flatten(1).sum(1)
    kept = area > 0
    if kept.sum() < 2:
        raise ValueError("there are not two slices that show something, from which a network could be adapted.")
    start, end = generate_spatial_bounding_box(mask[kept].any(0), allow_smaller=True)
    slices, area = slices[kept][..., start[0] : end[0], start[1] : end[1]], area[kept]
    much = torch.nonzero(2 * area >= area.float().mean()).flatten()
    count = min(MOST_HELD_OUT, -(-len(much) // HELD_OUT_EVERY))
    chosen = much[(2 * torch.arange(count) + 1) * len(much) // (2 * count)]
    training = torch.ones(len(slices), dtype=torch.bool)
    training[chosen] = False
    return slices[training], slices[chosen]
