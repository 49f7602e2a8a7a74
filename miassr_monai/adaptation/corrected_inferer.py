"""Inference on slices that are coarse along one axis, corrected to agree with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from miassr_monai.adaptation.slice_pairs import Degrade
from miassr_monai.geometry import Scale, scale_per_axis
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.metrics import back_project

__all__ = ["CorrectedInferer"]


class CorrectedInferer(SuperResolutionInferer):
    """Super-resolve images along their last axis and correct them as a predictor corrects its results.

    A network that is trained through it does not spend itself on what the correction brings anyway, and what is better
    with it on images whose truth is known is better in the corrected result, too. Gradients go through the correction.

    Args:
        degradation: what made the images coarse, given images ``(..., h, w)`` and a scale for each of the two axes.
        args, kwargs: see :class:`SuperResolutionInferer`.
    """

    def __init__(self, degradation: Degrade, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.degradation = degradation

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, scale: Scale, **kwargs: Any
    ) -> torch.Tensor:
        """Super-resolve ``inputs`` ``(N, C, h, w)`` by a ``scale`` of 1 along the first axis of each image.

        Raises:
            ValueError: when the scale is another one there.
        """
        rows, columns = scale_per_axis(scale, 2)
        if rows != 1:
            raise ValueError(f"images are corrected along their last axis alone: give a scale of (1, s), got {scale}.")
        fine = super().__call__(inputs, network, *args, scale=scale, **kwargs)
        # As volumes (N C, h, 1, w), whose slices lie across the last axis.
        coarse, fine = (images.flatten(0, 1).unsqueeze(2) for images in (inputs, fine))
        corrected = back_project(coarse, fine, (1.0, 1.0, columns), 2, unchanged, self.degradation)
        return corrected.squeeze(2).unflatten(0, inputs.shape[:2])


def unchanged(image: torch.Tensor, scale: tuple[float, ...]) -> torch.Tensor:
    """What an image that is not degraded in its plane is."""
    return image
