"""The degradation of the MIASSR paper."""

from __future__ import annotations

import torch

from miassr_monai.resampling import bicubic_downsample
from miassr_monai.transforms.downsample import Degradation, Degradationd
from miassr_monai.transforms.gaussian_blur import gaussian_blur

__all__ = ["PaperDegradation", "PaperDegradationd", "paper_degradation"]

SIGMA = 0.8


def paper_degradation(image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
    """Bicubic down-sampling without anti-aliasing, then a 3 x 3 Gaussian of 0.8 LR pixels (Zhu et al. 2021).

    Args:
        image: ``(C, ..., H, W)``, at least three axes.
        scale: HR samples per LR sample, at least 1, or one for rows and one for columns.

    Returns:
        ``(C, ..., floor(H / scale), floor(W / scale))``.
    """
    small = bicubic_downsample(image, scale)
    flat = small.reshape(-1, 1, *small.shape[-2:])
    return gaussian_blur(flat, (SIGMA, SIGMA), (1, 1)).view(small.shape)


class PaperDegradation(Degradation):
    """Low-resolution image as the MIASSR paper makes it: for comparisons with published figures.

    Bicubic down-sampling without anti-aliasing, which aliases, then a blur of the small image. For any other use,
    :class:`PSFDegradation` is the sounder model of a scanner.
    """

    degrade = staticmethod(paper_degradation)


class PaperDegradationd(Degradationd):
    """Dictionary form of :class:`PaperDegradation`."""

    transform = PaperDegradation
