"""Overshoot: does a super-resolved image leave the range of the voxels that it was made from?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import max_pool3d

from miassr_monai.resampling import nearest_upscale

__all__ = ["overshoot"]

# A part of the intensity range below which an excess is not seen.
VISIBLE = 0.02
# Of the output that are looked at together.
ROWS = 16


def overshoot(coarse: torch.Tensor, fine: torch.Tensor, factors: Sequence[float]) -> dict[str, float]:
    """How far a volume leaves the local range of what it was super-resolved from.

    The local range of a voxel is from the lowest to the highest of the 3 x 3 x 3 input voxels about it. What is sharper
    than the input leaves it here and there; ringing and bright rims leave it along whole edges.

    Args:
        coarse: the input ``(C, h, w, d)``, intensities in [0, 1].
        fine: the output ``(C, H, W, D)`` in the same units.
        factors: HR samples per LR sample along each axis.

    Returns:
        ``share``, the part of the voxels that are out of the range by more than 0.02, and ``largest``, the largest
        excess.
    """
    beyond, largest = 0, 0.0
    # The rows of the input that those of the output lie in; a few at a time, since the output may be large.
    rows = nearest_upscale(torch.arange(coarse.size(1)).view(-1, 1, 1), (factors[0], 1, 1)).flatten()
    for small, large in zip(coarse, fine, strict=True):
        for part, places in zip(large.split(ROWS), rows.split(ROWS), strict=True):
            # With the neighbours of the first and of the last row.
            start = max(0, int(places[0]) - 1)
            # A single slice looks like an image whose channels lie together, which is not pooled.
            near = small[start : int(places[-1]) + 2].unsqueeze(0).contiguous()
            limits = (-max_pool3d(-near, 3, stride=1, padding=1), max_pool3d(near, 3, stride=1, padding=1))
            lowest, highest = (nearest_upscale(limit[0, places - start], (1, *factors[1:])) for limit in limits)
            excess = torch.maximum(lowest.sub_(part), highest.neg_().add_(part))
            beyond += int((excess > VISIBLE).sum())
            largest = max(largest, excess.max().item())
    return {"share": beyond / fine.numel(), "largest": largest}
