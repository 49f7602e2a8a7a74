"""Scale and geometry: the one convention that degradation, networks, affines and reports share.

``scale`` is the number of high-resolution (HR) samples per low-resolution (LR) sample along an axis. Inside the package
it is an exact fraction ``p / q`` with ``q <= 10_000``, and every size and index is integer arithmetic, because
``floor(i * (1 / s))`` in floating point puts pixels in the wrong row or column at scales such as 2.3, 2.7 and 3.7.

The outer faces of the first LR and HR samples coincide, so HR sample ``i`` has its centre at LR coordinate
``(i + 1/2) / s - 1/2``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = [
    "Scale",
    "axis_scales",
    "downscaled_size",
    "format_scale",
    "nearest_fraction",
    "parse_scale",
    "scale_per_axis",
    "upright",
    "upscaled_range",
    "upscaled_size",
    "zoomed_affine",
]

# One number for all axes, or one for each.
Scale = float | Sequence[float]


def nearest_fraction(scale: float, max_denominator: int = 10_000) -> tuple[int, int]:
    """Write a scale as the nearest fraction with a limited denominator, in lowest terms.

    Equals ``fractions.Fraction(scale).limit_denominator(max_denominator)``, which TorchScript cannot run: the best
    approximation among the convergents and semiconvergents of the continued fraction.

    Args:
        scale: HR samples per LR sample, in [1, 1024).
        max_denominator: largest denominator; the whole package uses the default.

    Returns:
        Numerator ``p`` and denominator ``q``.

    Raises:
        ValueError: when ``scale`` is not finite, below 1, or 1024 and above.
    """
    if not (scale >= 1.0 and scale < 1024.0):
        raise ValueError(f"scale must be a finite number in [1, 1024), got {scale}.")
    # A float of at least 1 is a whole number of 2^-52, so the ratio of these two integers is the scale exactly.
    unit = 1 << 52
    numerator, denominator = int(scale * unit), unit
    p_before, q_before, p, q = 0, 1, 1, 0
    while denominator != 0:
        digit = numerator // denominator
        if q_before + digit * q > max_denominator:
            steps = (max_denominator - q_before) // q
            p_between, q_between = p_before + steps * p, q_before + steps * q
            if 2 * denominator * q_between > unit:
                return p_between, q_between
            return p, q
        p_before, q_before, p, q = p, q, p_before + digit * p, q_before + digit * q
        numerator, denominator = denominator, numerator - digit * denominator
    return p, q


def parse_scale(text: str) -> float | tuple[float, ...]:
    """Read a scale as :func:`format_scale` writes it: ``2.5``, or one for each axis, ``1x2`` or ``1x1x4``.

    Raises:
        ValueError: when it is something else, has more than three axes, or is not in [1, 1024) along each.
    """
    try:
        values = tuple(float(part) for part in text.split("x"))
    except ValueError:
        values = ()
    if not 1 <= len(values) <= 3:
        raise ValueError(f"{text!r} is not a scale: give a number, such as 2.5, or one for each axis, such as 1x2.")
    for value in values:
        nearest_fraction(value)
    return values if len(values) > 1 else values[0]


def format_scale(scale: Scale) -> str:
    """Write a scale for file names, reports and command lines: ``2.5``, or one for each axis, ``1x2`` or ``1x1x4``.

    :func:`parse_scale` reads the same exact fractions from it.
    """
    return "x".join(f"{value:.12g}" for value in (scale if isinstance(scale, Sequence) else [scale]))


def scale_per_axis(scale: Scale, spatial_dims: int) -> tuple[float, ...]:
    """One scale for each of ``spatial_dims`` axes: one number is the scale of all.

    Raises:
        ValueError: when there are more or fewer numbers than axes.
    """
    values = tuple(scale) if isinstance(scale, Sequence) else (scale,) * spatial_dims
    if len(values) != spatial_dims:
        raise ValueError(f"the scale {format_scale(scale)} has {len(values)} axes, but {spatial_dims} are needed.")
    return values


def axis_scales(scale: float | tuple[float, float]) -> tuple[float, float]:
    """:func:`scale_per_axis` for rows and columns, which TorchScript can run."""
    if isinstance(scale, (list, tuple)):
        rows, columns = scale
        return rows, columns
    return scale, scale


def upscaled_size(size: int, scale: float) -> int:
    """Number of HR samples made from ``size`` LR samples: ``floor(size * scale)``, exactly."""
    p, q = nearest_fraction(scale)
    return size * p // q


def upscaled_range(size: int, p: int, q: int, origin: int = 0) -> tuple[int, int]:
    """First HR sample, and one past the last, that lie wholly within ``size`` LR samples from ``origin`` on.

    A part of an image is upscaled to these samples: at scale ``p / q`` a whole image to ``0 .. floor(size * p / q)``.
    """
    return -(-origin * p // q), (origin + size) * p // q


def downscaled_size(size: int, scale: float) -> int:
    """Number of LR samples that ``size`` HR samples fill completely: ``floor(size / scale)``, exactly."""
    p, q = nearest_fraction(scale)
    return size * q // p


def zoomed_affine(affine: torch.Tensor, factors: Sequence[float]) -> torch.Tensor:
    """Affine of a grid that is resampled with its outer faces kept in place.

    Args:
        affine: voxel-to-world matrix ``(..., r + 1, r + 1)`` of the input grid.
        factors: output samples per input sample for each of the ``r`` spatial axes: above 1 for super-resolution, the
            reciprocal of the scale for a degradation.

    Returns:
        ``affine @ Z`` in float64 with ``Z[i, i] = 1 / f_i`` and ``Z[i, -1] = (1 / f_i - 1) / 2``.

    Raises:
        ValueError: when the number of factors does not match the affine.
    """
    if affine.shape[-1] != len(factors) + 1:
        raise ValueError(
            f"the affine is for {affine.shape[-1] - 1} spatial axes, but {len(factors)} factors were given."
        )
    step = 1.0 / torch.as_tensor(list(factors), dtype=torch.float64)
    zoom = torch.diag(torch.cat([step, step.new_ones(1)]))
    zoom[:-1, -1] = (step - 1.0) / 2.0
    return affine.to(torch.float64).cpu() @ zoom


def upright(image: torch.Tensor, axcodes: str) -> torch.Tensor:
    """A slice ``(H, W)`` turned so that it stands upright when its first axis points right and its second one up.

    Args:
        image: the slice.
        axcodes: where its axes point, such as ``"RAS"``, of which the first two count: to the patient's left or right,
            front (A) or back (P), head (S) or feet (I).
    """
    first, second = axcodes[0].upper(), axcodes[1].upper()
    if first in "SI" or (first in "AP" and second in "LR"):
        image, first, second = image.t(), second, first
    flipped = [axis for axis, code in enumerate((first, second)) if code in "LPI"]
    return image.flip(flipped)
