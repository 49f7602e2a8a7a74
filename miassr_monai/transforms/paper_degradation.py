"""The degradation of the MIASSR paper."""

from __future__ import annotations

from miassr_monai.degradations import paper_degradation
from miassr_monai.transforms.downsample import Degradation, Degradationd

__all__ = ["PaperDegradation", "PaperDegradationd", "paper_degradation"]


class PaperDegradation(Degradation):
    """Low-resolution image as the MIASSR paper makes it: for comparisons with published figures.

    Bicubic down-sampling without anti-aliasing, which aliases, then a blur of the small image. For any other use,
    :class:`PSFDegradation` is the sounder model of a scanner.
    """

    degrade = staticmethod(paper_degradation)


class PaperDegradationd(Degradationd):
    """Dictionary form of :class:`PaperDegradation`."""

    transform = PaperDegradation
