"""Degradation of scan-converted ultrasound by fewer beams."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from miassr_monai.degradations.parameters import check_number, check_numbers
from miassr_monai.degradations.psf import psf_degradation
from miassr_monai.degradations.ultrasound import ultrasound_degradation
from miassr_monai.geometry import Scale
from miassr_monai.scan_conversion import Sector, find_sector, from_beams, to_beams

__all__ = ["ultrasound_sector_degradation"]


def ultrasound_sector_degradation(
    image: torch.Tensor,
    scale: Scale,
    *,
    sector: Sequence[float] | None = None,
    undersampling: float = 4.0,
    beams: str = "sampled",
    fwhm: float = 1.0,
) -> torch.Tensor:
    """Scan-converted ultrasound image of fewer beams, on the same grid: softer across the beams, more so with depth.

    The image is taken back to beams, of which fewer are kept, and scan-converted again. What lies outside the sector
    stays as it is. At a scale above 1 the image is then blurred and sampled as by :func:`psf_degradation`.

    Args:
        image: ``(..., H, W)``, the transducer at the top.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        sector: row and column of the apex, the nearest and the farthest radius in pixels, and the first and the last
            angle in degrees from straight down, to the right positive, see :class:`Sector`. Found from what is not dark
            in the image unless given; an empty image has none and stays empty.
        undersampling: beams of the image per beam that is kept, in [1, 64].
        beams: how they are kept, see :func:`ultrasound_degradation`.
        fwhm: of the point-spread function at scales above 1, in LR samples.

    Returns:
        Each of the axes with ``floor(size / scale)`` samples.

    Raises:
        ValueError: when there is no sector in the image.
    """
    check_number("undersampling", undersampling, 1.0, 64.0)
    if sector is None and not image.any():
        return psf_degradation(image, scale, fwhm=fwhm)
    shape = find_sector(image) if sector is None else Sector(*check_numbers("sector", sector, 6))
    full = to_beams(image, shape)
    # A whole number of beams, from one side to the other.
    kept = max(1, round(full.size(-1) / undersampling))
    fewer = ultrasound_degradation(full, (1.0, full.size(-1) / kept), beams=beams)
    converted, inside = from_beams(fewer, shape, image.shape[-2:])
    return psf_degradation(torch.where(inside, converted, image), scale, fwhm=fwhm)
