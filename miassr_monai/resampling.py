"""Separable resampling of images between the LR and HR grids, exact at every rational scale.

Along one axis, resampling is a matrix ``(out_size, in_size)``. Output sample ``i`` sits at input coordinate
``(i + 1/2) * step - 1/2``, where ``step`` is an exact fraction of input samples per output sample: ``q / p`` to go up
by scale ``p / q``, ``p / q`` to go down. Past the border the outermost sample is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from miassr_monai.exporting import exporting
from miassr_monai.geometry import (
    Scale,
    axis_scales,
    downscaled_size,
    format_scale,
    nearest_fraction,
    scale_per_axis,
    upscaled_range,
)

__all__ = [
    "bicubic_axis",
    "bicubic_downsample",
    "bicubic_rescale",
    "bicubic_upscale",
    "downsample",
    "interpolate",
    "linear_upscale",
    "nearest_upscale",
    "tricubic_upscale",
]


def sample_positions(
    out_size: int, step_numerator: int, step_denominator: int, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input coordinates ``(out_size,)`` of the output samples from ``first`` on: whole part (int64) and fraction in
    [0, 1) (float64)."""
    index = torch.arange(first, first + out_size, dtype=torch.int64)
    doubled = (2 * index + 1) * step_numerator - step_denominator
    whole = doubled // (2 * step_denominator)
    fraction = (doubled - whole * 2 * step_denominator).to(torch.float64) / (2 * step_denominator)
    return whole, fraction


def fold_taps(index: torch.Tensor, weight: torch.Tensor, in_size: int) -> torch.Tensor:
    """Matrix ``(out_size, in_size)`` from the taps ``(out_size, n)`` of the output samples, the border repeated."""
    matrix = torch.zeros([index.size(0), in_size], dtype=weight.dtype)
    return matrix.scatter_add_(1, index.clamp(0, in_size - 1), weight)


def keys_kernel(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Cubic convolution kernel (Keys 1981) at distances of at least 0, in samples; zero from 2 on."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def cubic_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, origin: int = 0, first: int = 0
) -> torch.Tensor:
    """Cubic convolution (a = -0.75 as in OpenCV and PyTorch) sampled at the output positions, in float64.

    Of a part of an image, ``origin`` is the index of its first sample in the whole, ``first`` that of its first output.
    """
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator, first)
    whole = whole - origin
    offset = torch.arange(-1, 3, dtype=torch.int64)
    weight = keys_kernel((fraction.unsqueeze(1) - offset).abs(), -0.75)
    return fold_taps(whole.unsqueeze(1) + offset, weight, in_size)


def linear_matrix(
    in_size: int, out_size: int, step_numerator: int, step_denominator: int, origin: int = 0, first: int = 0
) -> torch.Tensor:
    """Linear interpolation at the output positions, in float64; ``origin`` and ``first`` as of ``cubic_matrix``."""
    whole, fraction = sample_positions(out_size, step_numerator, step_denominator, first)
    index = (whole - origin).unsqueeze(1) + torch.arange(2, dtype=torch.int64)
    return fold_taps(index, torch.stack([1 - fraction, fraction], 1), in_size)


def along_axis(matrix: torch.Tensor, image: torch.Tensor, axis: int) -> torch.Tensor:
    """Product of a matrix ``(new size, size)`` and one axis of an image."""
    if axis == image.dim() - 1:
        transposed = matrix.t()
        # Of slices one product each: as fast as one of all, which torch.export cannot do where sizes vary.
        return image @ (transposed.expand(image.size(0), -1, -1) if axis == 2 else transposed)
    return (matrix @ image.flatten(axis + 1)).unflatten(-1, image.shape[axis + 1 :])


def apply_matrices(
    image: torch.Tensor, matrices: list[torch.Tensor | None], chunk_elements: int = 1 << 22
) -> torch.Tensor:
    """Resample the last axes of an image, each by its matrix ``(new size, size)``; integers become float32.

    ``None`` leaves an axis as it is. Of a stack of images, as many as have ``chunk_elements`` are worked on at a time,
    which bounds the memory.
    """
    dtype = image.dtype if image.is_floating_point() else torch.float32
    left_alone = [matrix is None for matrix in matrices]
    if all(left_alone):
        return image.to(dtype)
    leading = image.dim() - len(matrices)
    stack = image.unsqueeze(0).flatten(0, leading)
    done: list[torch.Tensor] = []
    many = max(1, chunk_elements // max(1, stack[:1].numel()))
    for part in [stack] if exporting() else list(stack.split(many)):
        # In float64, which autocast leaves alone: interpolation weights want more digits than half precision has.
        part = part.to(torch.float64)
        for index, matrix in enumerate(matrices):
            if matrix is not None:
                part = along_axis(matrix.to(image.device), part, index + 1)
        done.append(part.to(dtype))
    resampled = torch.cat(done)
    shape = list(image.shape[:leading])
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


def interpolate(image: torch.Tensor, scales: list[float], origin: list[int], cubic: bool) -> torch.Tensor:
    """Interpolation of the last axes of an image, cubic or linear along each, to ``floor(s n)`` samples.

    Args:
        image: any number of leading axes.
        scales: HR samples per LR sample of each of the last axes.
        origin: of a part of an image, the LR sample of the whole at which it begins; made are then the HR samples that
            lie wholly within the part.
        cubic: cubic convolution (a = -0.75), or else linear interpolation.
    """
    leading = image.dim() - len(scales)
    matrices: list[torch.Tensor | None] = []
    for axis in range(len(scales)):
        matrices.append(upscale_matrix(image.size(leading + axis), scales[axis], origin[axis], cubic))
    return apply_matrices(image, matrices)


def bicubic_upscale(
    image: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Bicubic interpolation of ``(..., h, w)`` to ``(..., floor(s h), floor(s w))``, one scale or one for each axis.

    Of a part of an image that begins at LR pixel ``origin``, to the HR pixels that lie wholly within the part.
    """
    row_scale, column_scale = axis_scales(scale)
    return interpolate(image, [row_scale, column_scale], [origin[0], origin[1]], True)


def tricubic_upscale(volume: torch.Tensor, scale: Scale, origin: Sequence[int] = (0, 0, 0)) -> torch.Tensor:
    """``bicubic_upscale`` for volumes ``(..., h, w, d)``, one scale or one for each of three axes."""
    return interpolate(volume, list(scale_per_axis(scale, 3)), list(origin), cubic=True)


def linear_upscale(
    image: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Bilinear interpolation of ``(..., h, w)`` to the pixels that ``bicubic_upscale`` makes."""
    row_scale, column_scale = axis_scales(scale)
    return interpolate(image, [row_scale, column_scale], [origin[0], origin[1]], False)


def nearest_upscale(image: torch.Tensor, scales: Sequence[float]) -> torch.Tensor:
    """Last axes of an image to ``floor(s n)`` samples, each with the value of the LR sample that its centre is in."""
    for axis, scale in enumerate(scales, start=image.dim() - len(scales)):
        p, q = nearest_fraction(scale)
        size = image.size(axis) * p // q
        # The centre (i + 1/2) q / p, counted from the face of the first sample.
        index = torch.div((2 * torch.arange(size, device=image.device) + 1) * q, 2 * p, rounding_mode="floor")
        image = image.index_select(axis, index)
    return image


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
    return apply_matrices(image, [rows, columns])


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
    return apply_matrices(image.movedim(axis, -1), [matrix]).movedim(-1, axis)


def trailing_scales(scale: Scale) -> tuple[float, ...]:
    """One scale for each of an image's last axes; a number is that of the last two."""
    return tuple(scale) if isinstance(scale, Sequence) else (scale, scale)


def downsample(
    image: torch.Tensor, scale: Scale, matrix: Callable[..., torch.Tensor], **parameters: Any
) -> torch.Tensor:
    """Resample the last axes of an image at the centres of its LR samples. An axis at scale 1 is left alone.

    Args:
        image: any number of leading axes.
        scale: HR samples per LR sample of each of the last axes, or one number for the last two.
        matrix: makes the matrix ``(out_size, in_size)`` of an axis from these sizes and the scale as a fraction.
        parameters: of ``matrix``; a sequence has one for each axis.

    Raises:
        ValueError: when the image is smaller than one LR sample, or a sequence is of another number of axes.
    """
    scales = trailing_scales(scale)
    sizes = image.shape[-len(scales) :]
    values = {name: value_per_axis(name, value, len(scales)) for name, value in parameters.items()}
    matrices: list[torch.Tensor | None] = []
    for axis, (size, axis_scale) in enumerate(zip(sizes, scales, strict=True)):
        p, q = nearest_fraction(axis_scale)
        small = downscaled_size(size, axis_scale)
        if small < 1:
            shown = " x ".join(str(n) for n in sizes)
            raise ValueError(f"an image of {shown} pixels is too small to be degraded by {format_scale(scale)}.")
        made = None if p == q else matrix(size, small, p, q, **{name: value[axis] for name, value in values.items()})
        matrices.append(made)
    return apply_matrices(image, matrices)


def value_per_axis(name: str, value: Any, axes: int) -> Sequence[Any]:
    """A parameter for each axis: one value is that of all."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(f"{name} needs one value, or one for each of the {axes} axes of the scale, got {value}.")
    return values


def bicubic_downsample(image: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Sample the last axes by bicubic interpolation at the centres of the ``floor(size / s)`` LR samples.

    There is no anti-aliasing. ``scale`` is one number for the last two axes, or one for each of the last axes.
    """
    return downsample(image, scale, cubic_matrix)
