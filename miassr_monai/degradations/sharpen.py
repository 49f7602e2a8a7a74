"""The sharpening filter of a scanner's console."""

from __future__ import annotations

import torch

from miassr_monai.degradations.paper import binomial_matrix
from miassr_monai.resampling import apply_matrices

__all__ = ["sharpen"]


def sharpen(image: torch.Tensor, amount: float, *, axes: int = 2) -> torch.Tensor:
    """Unsharp mask: add what [1/4, 1/2, 1/4] along each axis takes away.

    Args:
        image: any number of leading axes.
        amount: how many times that is added; at the Nyquist frequency the image grows by ``1 + amount``.
        axes: how many of the last axes are filtered.
    """
    blurred = apply_matrices(image, [binomial_matrix(size) for size in image.shape[-axes:]])
    return image + amount * (image - blurred)
