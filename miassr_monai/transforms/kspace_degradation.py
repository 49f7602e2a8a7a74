"""Degradation by a smaller k-space."""

from __future__ import annotations

from miassr_monai.degradations import kspace_degradation
from miassr_monai.transforms.downsample import Degradation, Degradationd

__all__ = ["KSpaceDegradation", "KSpaceDegradationd", "kspace_degradation"]


class KSpaceDegradation(Degradation):
    """Low-resolution image of an MR scanner that samples the centre of k-space only: as sharp as its grid allows.

    Edges ring (Gibbs), as they do in MR. The image is mirrored at its borders instead of wrapped.
    """

    degrade = staticmethod(kspace_degradation)


class KSpaceDegradationd(Degradationd):
    """Dictionary form of :class:`KSpaceDegradation`."""

    transform = KSpaceDegradation
