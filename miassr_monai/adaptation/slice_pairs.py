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

from miassr_monai.degradations import gaussian_noise, sampling_degradation
from miassr_monai.geometry import upscaled_size
from miassr_monai.metrics import foreground_mask

__all__ = ["SlicePairs", "noise_level", "split_slices"]

Degrade = Callable[[torch.Tensor, tuple[float, float]], torch.Tensor]

# A normal distribution's median absolute value, in standard deviations.
MEDIAN_PER_SIGMA = 0.6745
# Of every so many slices one is held out, but no more of them than are needed for a mean.
HELD_OUT_EVERY, MOST_HELD_OUT = 8, 6


class SlicePairs:
    """``prepare_batch`` of MONAI's engines: slices made coarse along their last axis, and the slices themselves.

    Args:
        degradation: what the scan's slices see, see :class:`miassr_monai.prediction.SliceModel`.
        spacing: from slice to slice, in pixels.
        fine: the spacing that is wanted across the slices, in pixels, at least 1: the truth is sampled to it.
        noise: standard deviation of the scan's noise, which slices have but what is averaged of pixels has not.
        seed: of the noise.
    """

    def __init__(
        self, degradation: Degrade, *, spacing: float, fine: float = 1.0, noise: float = 0.0, seed: int = 0
    ) -> None:
        self.degradation = degradation
        self.spacing = spacing
        self.fine = fine
        # Whatever the slice, in the middle of it.
        lines = torch.eye(8 * round(spacing) + 8, dtype=torch.float64)
        kept = degradation(lines, (1.0, spacing)).square().sum(0)
        self.missing_noise = noise * max(0.0, 1.0 - kept[len(kept) // 2].item()) ** 0.5
        self.generator = torch.Generator().manual_seed(seed)

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
        if self.missing_noise:
            noise = gaussian_noise(torch.zeros(small.shape), self.missing_noise, generator=self.generator)
            # Air that was set to zero has none.
            small = small + noise.to(small.device) * (small > 0)
        scale = self.spacing / self.fine
        truth = sampling_degradation(image, (1.0, self.fine))[..., : upscaled_size(small.size(-1), scale)]
        return small[..., : truth.size(-1)], truth, (), {"scale": (1.0, scale)}


def noise_level(slices: torch.Tensor) -> float:
    """Standard deviation of the noise of slices ``(N, C, h, w)``, from the finest detail of their flat parts.

    The median of the absolute Haar coefficients (Donoho & Johnstone, Biometrika 1994), over the quarter of the
    foreground where the means of 2 x 2 pixels change the least. White noise makes these means and the coefficients
    independent of each other, so that what is chosen by the former is fair for the latter.
    """
    height, width = (size // 2 * 2 for size in slices.shape[2:])
    blocks = slices[..., :height, :width].unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    (a, b), (c, d) = (row.unbind(-1) for row in blocks.unbind(-3))
    detail, mean = (a - b - c + d) / 2, (a + b + c + d) / 4
    inside = foreground_mask(slices)[..., 1:height:2, 1:width:2].expand_as(detail)
    if not inside.any() or min(mean.shape[2:]) < 2:
        return 0.0
    rows, columns = torch.gradient(mean, dim=(-2, -1))
    change = (rows.abs() + columns.abs())[inside]
    flat = change <= change.kthvalue(-(-len(change) // 4)).values
    return detail[inside][flat].abs().median().item() / MEDIAN_PER_SIGMA


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
