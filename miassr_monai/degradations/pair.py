"""Pairs of LR and HR images, as training and evaluation need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from miassr_monai.degradations.random import RandomDegradation
from miassr_monai.geometry import Scale, scale_per_axis, upscaled_size

__all__ = ["degraded_pair"]

Degrade = Callable[[torch.Tensor, Scale], torch.Tensor]


def degraded_pair(
    image: torch.Tensor,
    scale: Scale,
    degradation: Degrade | RandomDegradation,
    label: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """LR images and the HR images that a network shall make of them.

    Args:
        image: HR images ``(N, C, *size)``.
        scale: HR samples per LR sample, at least 1, or one for each axis.
        degradation: a function of images and a scale for each axis; a :class:`RandomDegradation` may change the HR
            images, too.
        label: the HR images, where ``image`` has been degraded on their grid already, see
            :class:`miassr_monai.transforms.DegradeWholed`.

    Returns:
        LR images; the part of the HR images that the network's output covers, ``floor(s * lr)`` samples along each
        axis; and what was drawn.
    """
    scales = scale_per_axis(scale, image.ndim - 2)
    drawn: dict[str, Any] = {}
    if isinstance(degradation, RandomDegradation):
        small, image, drawn = degradation(image, scales)
    else:
        small = degradation(image, scales)
    target = image if label is None else label
    covered: list[Any] = [slice(upscaled_size(n, s)) for n, s in zip(small.shape[2:], scales, strict=True)]
    return small, target[(..., *covered)], drawn
