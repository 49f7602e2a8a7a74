"""Degradation by ultrasound with fewer beams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from miassr_monai.degradations.kspace import cosine_matrix
from miassr_monai.degradations.parameters import check_word
from miassr_monai.geometry import Scale
from miassr_monai.resampling import cubic_matrix, downsample, fold_taps, sample_positions

__all__ = ["ultrasound_degradation"]


def nearest_matrix(in_size: int, out_size: int, step_numerator: int, step_denominator: int) -> torch.Tensor:
    """The input sample nearest to each output position, the first of two."""
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    index = (whole + (fraction > 0.5)).unsqueeze(1)
    return fold_taps(index, torch.ones(index.shape, dtype=torch.float64), in_size)


BEAMS: dict[str, Callable[..., torch.Tensor]] = {
    "sampled": cubic_matrix,
    "dropped": nearest_matrix,
    "band_limited": partial(cosine_matrix, window="none", alpha=0.0, fraction=1.0),
}


def ultrasound_degradation(image: torch.Tensor, scale: Scale, *, beams: str = "sampled") -> torch.Tensor:
    """Ultrasound image of fewer beams, before scan conversion: one axis of the image runs across the beams.

    Scales such as ``(1, 4)`` are meant: samples along a beam are many, and are left alone. With more than one axis it
    is applied to each. For scan-converted images see :func:`ultrasound_sector_degradation`.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample, at least 1: one number for the last two axes, or one for each of the last axes.
        beams: ``"sampled"``, a scanner with as narrow beams, farther apart: the image at the places of the LR beams, by
            cubic interpolation, which aliases. ``"dropped"``, every ``scale``-th beam as it is: the nearest one, which
            lies up to half a beam beside its place. ``"band_limited"``, beams as wide as their distance asks for:
            frequencies across them that the LR grid can hold.

    Returns:
        Each of these axes with ``floor(size / scale)`` samples; an axis at scale 1 is left alone.
    """
    check_word("beams", beams, BEAMS)
    return downsample(image, scale, BEAMS[beams])
