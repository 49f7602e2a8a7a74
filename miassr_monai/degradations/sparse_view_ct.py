"""Degradation by computed tomography from few projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from miassr_monai.degradations.parameters import check_number, check_numbers, check_word
from miassr_monai.degradations.psf import psf_degradation
from miassr_monai.degradations.radon import FILTERS, filtered_back_projection, half_turn, radon
from miassr_monai.geometry import Scale

__all__ = ["ct_projections", "sparse_view_ct_degradation"]

# Attenuation of water at 70 keV, about the mean energy of a tube at 120 kV, per mm (NIST XCOM).
WATER = 0.0193


def sparse_view_ct_degradation(
    image: torch.Tensor,
    scale: Scale,
    *,
    views: int | None = None,
    undersampling: float = 4.0,
    filter_name: str = "ramp",
    photons: float = 0.0,
    window: Sequence[float] = (-1000.0, 1000.0),
    spacing: float = 0.8,
    fwhm: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """CT image from few projections: parallel beams, filtered back-projection to the same grid, and streaks.

    An image is needed whole: what lies beyond its border is air. At a scale above 1 the image is then blurred and
    sampled as by :func:`psf_degradation`.

    Args:
        image: ``(..., H, W)``, the last two axes in the plane of the slices.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        views: number of projections, evenly over half a turn.
        undersampling: unless ``views`` is given, how many times fewer than the ``pi / 2 * max(H, W)`` that an image
            needs, in [1, 64].
        filter_name: see :func:`filtered_back_projection`.
        photons: that reach a detector bin one pixel wide through air, in each projection; their number in the
            projections is drawn from Poisson's distribution. 0 is no noise.
        window: Hounsfield units that 0 and 1 in the image stand for.
        spacing: of the pixels, in mm, on which the noise depends.
        fwhm: of the point-spread function at scales above 1, in LR samples.
        generator: of the noise, on the image's device; torch's own unless given.

    Returns:
        Each of the axes with ``floor(size / scale)`` samples, in the units of the image.
    """
    check_word("filter_name", filter_name, FILTERS)
    check_number("photons", photons, 0.0, 1e12)
    check_number("spacing", spacing, 0.01, 10.0)
    low, high = check_numbers("window", window, 2)
    sinogram, angles = ct_projections(image, views=views, undersampling=undersampling, window=window)
    if photons:
        sinogram = counted(sinogram * (WATER * spacing), photons, generator) / (WATER * spacing)
    attenuation = filtered_back_projection(sinogram, angles, image.shape[-2:], filter_name=filter_name)
    return psf_degradation((attenuation * 1000 - (low + 1000)) / (high - low), scale, fwhm=fwhm)


def ct_projections(
    image: torch.Tensor,
    *,
    views: int | None = None,
    undersampling: float = 4.0,
    window: Sequence[float] = (-1000.0, 1000.0),
) -> tuple[torch.Tensor, tuple[float, ...]]:
    """Projections ``(..., angles, bins)`` of an image ``(..., H, W)``, in attenuations of a pixel of water, and their
    angles; the arguments are those of :func:`sparse_view_ct_degradation`."""
    check_number("undersampling", undersampling, 1.0, 64.0)
    count = math.ceil(math.pi / 2 * max(image.shape[-2:]) / undersampling) if views is None else views
    check_number("views", count, 1, 10_000)
    low, high = check_numbers("window", window, 2)
    if not low < high:
        raise ValueError(f"window must be two Hounsfield units, the lower one first, got {window!r}.")
    angles = half_turn(int(count))
    # Attenuation in that of water: air has none, so that nothing is cut off at the border.
    return radon((image * (high - low) + (low + 1000)) / 1000, angles), angles


def counted(line_integral: torch.Tensor, photons: float, generator: torch.Generator | None) -> torch.Tensor:
    """Line integrals of the attenuation as measured by counting photons, one at least (Beer and Lambert's law)."""
    count = torch.poisson(photons * torch.exp(-line_integral), generator=generator)
    return -torch.log(count.clamp(min=1) / photons)
