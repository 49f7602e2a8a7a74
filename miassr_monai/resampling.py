"""Separable resampling of images between the LR and HR grids, exact at every rational scale.

Along one axis, resampling is a matrix ``(out_size, in_size)``. Output sample ``i`` sits at input coordinate
``(i + 1/2) * step - 1/2``, where ``step`` is an exact fraction of input samples per output sample: ``q / p`` to go up
by scale ``p / q``, ``p / q`` to go down. Past the border the outermost sample is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from miassr_monai.geometry import axis_scales, downscaled_size, nearest_fraction, upscaled_range

__all__ = [
    "bicubic_axis",
    "bicubic_downsample",
    "bicubic_rescale",
    "bicubic_upscale",
    "gaussian_downsample",
    "kspace_downsample",
    "linear_upscale",
]

# Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


def sample_positions(
    out_size: int, step_numerator: int, step_denominator: int, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input coordinates ``(out_size,)`` of the output samples from ``first`` on: whole part (int64) and fraction in
    [0, 1) (float64)."""
    index = torch.arange(first, first + out_size, dtype=torch.int64)
    doubled = (2 * index + 1) * step_numerator - step_denominator
    whole = torch.div(doubled, 2 * step_denominator, rounding_mode="floor")
    fraction = (doubled - whole * 2 * step_denominator).to(torch.float64) / (2 * step_denominator)
    return whole, fraction


def fold_taps(index: torch.Tensor, weight: torch.Tensor, in_size: int) -> torch.Tensor:
    """Matrix ``(out_size, in_size)`` from the taps ``(out_size, n)`` of the output samples, the border repeated."""
    matrix = torch.zeros([index.size(0), in_size], dtype=weight.dtype)
    return matrix.scatter_add_(1, index.clamp(0, in_size - 1), weight)


def cubic_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, origin: int = 0, first: int = 0
) -> torch.Tensor:
    """Cubic convolution (Keys 1981, a = -0.75 as in OpenCV and PyTorch) sampled at the output positions, in float64.

    Of a part of an image, ``origin`` is the index of its first sample in the whole, ``first`` that of its first output.
    """
    a = -0.75
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator, first)
    whole = whole - origin
    offset = torch.arange(-1, 3, dtype=torch.int64)
    distance = (fraction.unsqueeze(1) - offset).abs()
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return fold_taps(whole.unsqueeze(1) + offset, torch.where(distance <= 1, near, far), in_size)


def linear_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, origin: int = 0, first: int = 0
) -> torch.Tensor:
    """Linear interpolation at the output positions, in float64; ``origin`` and ``first`` as of ``cubic_matrix``."""
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator, first)
    index = (whole - origin).unsqueeze(1) + torch.arange(2, dtype=torch.int64)
    return fold_taps(index, torch.stack([1 - fraction, fraction], 1), in_size)


def gaussian_matrix(in_size: int, out_size: int, step_numerator: int, step_denominator: int) -> torch.Tensor:
    """Gaussian point-spread function as wide (FWHM) as an output sample, sampled at the output positions, in float64.

    The kernel is the linear interpolation of the input samples convolved with a Gaussian, of total variance
    ``(step / 2.355)^2``. Unlike a sampled Gaussian, it sums to one and keeps a ramp a ramp at every sub-sample
    position.
    """
    sigma = math.sqrt((step_numerator / step_denominator / FWHM_PER_SIGMA) ** 2 - 1.0 / 6.0)
    radius = math.ceil(5.0 * sigma) + 1
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    offset = torch.arange(-radius, radius + 2, dtype=torch.int64)
    edge = torch.arange(-radius - 1, radius + 3, dtype=torch.float64) - fraction.unsqueeze(1)
    # Second integral of the Gaussian; its second difference is the triangle-smoothed kernel.
    ramp = edge * torch.special.ndtr(edge / sigma) + sigma / math.sqrt(2 * math.pi) * torch.exp(
        -0.5 * (edge / sigma) ** 2
    )
    weight = ramp[:, 2:] - 2 * ramp[:, 1:-1] + ramp[:, :-2]
    return fold_taps(whole.unsqueeze(1) + offset, weight / weight.sum(1, keepdim=True), in_size)


def cosine_matrix(in_size: int, out_size: int, step_numerator: int, step_denominator: int) -> torch.Tensor:
    """Ideal low-pass filter up to the output grid's Nyquist frequency, sampled at the output positions, in float64.

    The input is a cosine series, as if mirrored at its borders, so that one border does not leak into the other; the
    series is cut off and evaluated between the samples.
    """
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator)
    kept = -(-in_size * step_denominator // step_numerator)
    frequency = math.pi * torch.arange(kept, dtype=torch.float64) / in_size
    analysis = torch.cos(frequency.unsqueeze(1) * (torch.arange(in_size, dtype=torch.float64) + 0.5)) * 2 / in_size
    analysis[0] /= 2
    return torch.cos((whole + fraction + 0.5).unsqueeze(1) * frequency) @ analysis


def apply_matrices(
    image: torch.Tensor, rows: torch.Tensor | None, columns: torch.Tensor | None, chunk_elements: int = 1 << 22
) -> torch.Tensor:
    """Resample an image ``(..., h, w)`` by ``rows (h', h)`` and ``columns (w', w)``; integers become float32.

    ``None`` leaves an axis as it is. Of a stack of planes, as many as have
    ``chunk_elements`` are worked on at a time, which bounds the memory.
    """
    dtype = image.dtype if image.is_floating_point() else torch.float32
    if rows is None and columns is None:
        return image.to(dtype)
    planes = image.reshape(-1, image.size(-2), image.size(-1))
    done: list[torch.Tensor] = []
    for part in planes.split(max(1, chunk_elements // (planes.size(1) * planes.size(2)))):
        # In float64, which autocast leaves alone: interpolation weights want more digits than half precision has.
        part = part.to(torch.float64)
        if rows is not None:
            part = rows.to(image.device) @ part
        if columns is not None:
            part = part @ columns.to(image.device).t()
        done.append(part.to(dtype))
    resampled = torch.cat(done)
    shape = list(image.shape[:-2])
    shape.extend(resampled.shape[1:])
    return resampled.view(shape)


def upscale_matrix(size: int, scale: float, origin: int, cubic: bool) -> torch.Tensor | None:
    """Matrix of an axis of which ``size`` samples from ``origin`` on are given; ``None`` at scale 1."""
    p, q = nearest_fraction(scale)
    if p == q:
        return None
    first, end = upscaled_range(size, p, q, origin)
    if cubic:
        return cubic_matrix(size, end - first, q, p, origin, first)
    return linear_matrix(size, end - first, q, p, origin, first)


def upscale(
    image: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int], cubic: bool
) -> torch.Tensor:
    """Interpolation, cubic or linear along each axis, of ``(..., h, w)`` to ``(..., floor(s h), floor(s w))``."""
    row_scale, column_scale = axis_scales(scale)
    rows = upscale_matrix(image.size(-2), row_scale, origin[0], cubic)
    columns = upscale_matrix(image.size(-1), column_scale, origin[1], cubic)
    return apply_matrices(image, rows, columns)


def bicubic_upscale(
    image: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Bicubic interpolation of ``(..., h, w)`` to ``(..., floor(s h), floor(s w))``, one scale or one for each axis.

    Of a part of an image that begins at LR pixel ``origin``, to the HR pixels that lie wholly within the part.
    """
    return upscale(image, scale, origin, cubic=True)


def linear_upscale(
    image: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Bilinear interpolation of ``(..., h, w)`` to the pixels that ``bicubic_upscale`` makes."""
    return upscale(image, scale, origin, cubic=False)


def rescale_matrix(size: int, done: int, scale: float, origin: int) -> torch.Tensor | None:
    """Matrix of an axis of which ``size`` samples at scale ``done`` are given; ``None`` at that scale."""
    p, q = nearest_fraction(scale)
    if p == done * q:
        return None
    first, end = upscaled_range(size // done, p, q, origin)
    return cubic_matrix(size, end - first, done * q, p, done * origin, first)


def bicubic_rescale(
    image: torch.Tensor, done: int, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Bicubic interpolation of an image that has been upscaled by a whole number, to another scale.

    Args:
        image: ``(..., done * h, done * w)``.
        done: samples of the image per LR sample.
        scale: wanted samples per LR sample, one or one for each axis; there is no anti-aliasing below ``done``.
        origin: of a part of an image, the LR sample of the whole at which it begins.

    Returns:
        The HR pixels that lie wholly within the part: ``(..., floor(s h), floor(s w))`` of a whole image.
    """
    row_scale, column_scale = axis_scales(scale)
    rows = rescale_matrix(image.size(-2), done, row_scale, origin[0])
    columns = rescale_matrix(image.size(-1), done, column_scale, origin[1])
    return apply_matrices(image, rows, columns)


def bicubic_axis(image: torch.Tensor, axis: int, size: int, done: float, scale: float) -> torch.Tensor:
    """Bicubic interpolation along one axis to scale ``scale``, of an image that is at scale ``done`` there already.

    Args:
        image: any number of axes, at least two.
        axis: the axis to resample.
        size: its new size.
        done: samples of the image per sample of the original.
        scale: wanted samples per sample of the original.
    """
    (p, q), (done_p, done_q) = nearest_fraction(scale), nearest_fraction(done)
    matrix = cubic_matrix(image.size(axis), size, done_p * q, done_q * p)
    return apply_matrices(image.movedim(axis, -1), None, matrix).movedim(-1, axis)


def downsample(
    image: torch.Tensor, scale: float | tuple[float, float], matrix: Callable[[int, int, int, int], torch.Tensor | None]
) -> torch.Tensor:
    """Resample ``(..., H, W)`` at the centres of the LR pixels by the matrix of each axis.

    Raises:
        ValueError: when the image is smaller than one LR pixel.
    """
    matrices = []
    for size, axis_scale in zip(image.shape[-2:], axis_scales(scale), strict=True):
        p, q = nearest_fraction(axis_scale)
        small = downscaled_size(size, axis_scale)
        if small < 1:
            raise ValueError(
                f"an image of {image.size(-2)} x {image.size(-1)} pixels is too small to be degraded by {scale}."
            )
        matrices.append(matrix(size, small, p, q))
    return apply_matrices(image, *matrices)


def bicubic_downsample(image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
    """Sample ``(..., H, W)`` at the centres of the ``floor(H / s)`` x ``floor(W / s)`` LR pixels; no anti-aliasing."""
    return downsample(image, scale, lambda size, small, p, q: None if p == q else cubic_matrix(size, small, p, q))


def gaussian_downsample(image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
    """Blur ``(..., H, W)`` by a Gaussian with a FWHM of ``scale`` pixels, then sample it at the LR pixels' centres."""
    return downsample(image, scale, gaussian_matrix)


def kspace_downsample(image: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
    """Keep the frequencies of ``(..., H, W)`` that the LR grid can hold, and sample at the LR pixels' centres."""
    return downsample(image, scale, lambda size, small, p, q: None if p == q else cosine_matrix(size, small, p, q))
