"""Degradation by a point-spread function."""

from __future__ import annotations

from miassr_monai.degradations import psf_degradation
from miassr_monai.transforms.downsample import Degradation, Degradationd

__all__ = ["PSFDegradation", "PSFDegradationd", "psf_degradation"]


class PSFDegradation(Degradation):
    """Low-resolution image of a scanner with a Gaussian point-spread function as wide (FWHM) as an LR pixel."""

    degrade = staticmethod(psf_degradation)


class PSFDegradationd(Degradationd):
    """Dictionary form of :class:`PSFDegradation`."""

    transform = PSFDegradation
