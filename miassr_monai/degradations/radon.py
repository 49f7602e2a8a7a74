"""Parallel-beam Radon transform, its adjoint and filtered back-projection, by the Fourier slice theorem.

The Fourier transform of a projection is a line through that of the image. All lines are read from one FFT of the
zero-padded image by gridding with a Kaiser-Bessel kernel (Jackson et al. 1991), a product with a sparse matrix;
back-projection is the transpose. So an image is taken to be band-limited, and angles cost little.

Coordinates are in pixels from the centre of the image, x to the right and y upwards. The projection at an angle is
sampled on the rays ``x cos(angle) + y sin(angle) = t``, as in scikit-image, for whole numbers ``t``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from monai.utils import look_up_option
from torch.nn import functional

__all__ = ["back_projection", "detector_size", "filtered_back_projection", "half_turn", "radon"]

# Samples of the grid that a kernel reaches along an axis, and how much finer than the image's the grid is.
TAPS = 6
OVERSAMPLING = 2
# Shape of the kernel for these (Beatty et al. 2005, equation 5).
BETA = math.pi * math.sqrt((TAPS / OVERSAMPLING) ** 2 * (OVERSAMPLING - 0.5) ** 2 - 0.8)
PEAK = float(torch.special.i0(torch.tensor(BETA, dtype=torch.float64)))

# Windows of the ramp filter at frequencies in cycles per bin, up to 1/2.
FILTERS = {
    "ramp": torch.ones_like,
    "shepp-logan": torch.sinc,
    "cosine": lambda frequency: torch.cos(math.pi * frequency),
    "hamming": lambda frequency: 0.54 + 0.46 * torch.cos(2 * math.pi * frequency),
    "hann": lambda frequency: 0.5 + 0.5 * torch.cos(2 * math.pi * frequency),
}


def half_turn(count: int) -> tuple[float, ...]:
    """``count`` angles in radians that divide half a turn evenly, from 0 on."""
    return tuple(math.pi * index / count for index in range(count))


def detector_size(size: Sequence[int]) -> int:
    """Bins that see an image ``(H, W)`` from every side: an odd number, with one at the centre, that suits FFTs."""
    bins = math.ceil(math.hypot(*size)) | 1
    while True:
        rest = bins
        for prime in (3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return bins
        bins += 2


@dataclass(frozen=True)
class SparseMatrix:
    """Real matrix of compressed rows.

    Attributes:
        columns: of the entries, row by row.
        weights: their values.
        ends: where each row ends among them, after a zero.
    """

    columns: torch.Tensor
    weights: torch.Tensor
    ends: torch.Tensor

    def __matmul__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Product with ``(columns, n)``."""
        return functional.embedding_bag(
            self.columns, vectors, self.ends, mode="sum", per_sample_weights=self.weights, include_last_offset=True
        )


def sparse_matrix(row: torch.Tensor, column: torch.Tensor, weight: torch.Tensor, rows: int) -> SparseMatrix:
    """Matrix of entries in any order."""
    order = torch.argsort(row, stable=True)
    ends = functional.pad(torch.bincount(row, minlength=rows).cumsum(0), (1, 0))
    return SparseMatrix(column[order].int(), weight[order], ends.int())


class SparseProduct(torch.autograd.Function):
    """Matrix times a complex vector; the transposed matrix takes the gradient back."""

    @staticmethod
    def forward(ctx: Any, vector: torch.Tensor, matrix: SparseMatrix, transposed: SparseMatrix) -> torch.Tensor:
        """``(rows,)``."""
        ctx.matrices = transposed, matrix
        return torch.view_as_complex(matrix @ torch.view_as_real(vector))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Of the vector alone."""
        return SparseProduct.apply(gradient, *ctx.matrices), None, None


@dataclass(frozen=True)
class Gridding:
    """What reads the lines from the spectrum of a zero-padded image.

    Attributes:
        taps: ``(angles * frequencies, grid rows * grid columns)``.
        transposed: the same, transposed.
        phase: ``(angles, frequencies)``, moves the origin to the centres of image and detector.
        apodization: ``(H, W)``, undoes what the kernel does to the image.
        grid: size of the zero-padded image.
        padding: zeros to the left, to the right, above and below, as ``torch.nn.functional.pad`` takes them.
        bins: of the detector.
    """

    taps: SparseMatrix
    transposed: SparseMatrix
    phase: torch.Tensor
    apodization: torch.Tensor
    grid: tuple[int, int]
    padding: tuple[int, ...]
    bins: int


@lru_cache(maxsize=8)
def gridding(size: tuple[int, int], angles: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Gridding:
    """The gridding of images ``(H, W)`` for projections at some angles, in float32 or float64."""
    grid = OVERSAMPLING * size[0], OVERSAMPLING * size[1]
    bins = detector_size(size)
    angle = torch.tensor(angles, dtype=torch.float64).unsqueeze(1)
    frequency = torch.arange(bins // 2 + 1, dtype=torch.float64) / bins
    # In cycles per pixel along rows and columns; rows are counted downwards.
    lines = -torch.sin(angle) * frequency, torch.cos(angle) * frequency
    # The padding brings sample n // 2 to the middle; the centre of an even number of samples is half a sample before.
    turns = frequency * (bins // 2) + sum(line * (n // 2 - (n - 1) / 2) for line, n in zip(lines, size, strict=True))
    row, row_weight = kernel(lines[0].flatten(), grid[0])
    column, column_weight = kernel(lines[1].flatten(), grid[1])
    place = (row.unsqueeze(2) * grid[1] + column.unsqueeze(1)).flatten().to(device)
    weight = (row_weight.unsqueeze(2) * column_weight.unsqueeze(1)).flatten().to(device, dtype)
    point = torch.arange(len(row), device=device).repeat_interleave(TAPS**2)
    before = [larger // 2 - n // 2 for larger, n in zip(grid, size, strict=True)]
    after = [larger - n - b for larger, n, b in zip(grid, size, before, strict=True)]
    return Gridding(
        taps=sparse_matrix(point, place, weight, len(row)),
        transposed=sparse_matrix(place, point, weight, grid[0] * grid[1]),
        phase=torch.polar(torch.ones_like(turns), -2 * math.pi * turns).to(device, dtype.to_complex()),
        apodization=torch.outer(*(inverse_kernel(*n) for n in zip(size, grid, strict=True))).to(device, dtype),
        grid=grid,
        padding=(before[1], after[1], before[0], after[0]),
        bins=bins,
    )


def kernel(frequency: torch.Tensor, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples ``(points, TAPS)`` of a grid of the spectrum about frequencies in cycles per pixel, and their weights.

    The signs move the origin from the first sample of the padded image to its middle.
    """
    position = (frequency * grid).unsqueeze(1)
    index = torch.floor(position - TAPS / 2).long() + torch.arange(1, TAPS + 1)
    root = BETA * (1 - ((position - index) * 2 / TAPS) ** 2).clamp(min=0).sqrt()
    return index % grid, torch.special.i0(root) / PEAK * (1 - 2 * (index % 2))


def inverse_kernel(size: int, grid: int) -> torch.Tensor:
    """One over the Fourier transform of the kernel, at the samples of an image."""
    position = (torch.arange(size, dtype=torch.float64) - size // 2) / grid
    root = torch.sqrt(BETA**2 - (math.pi * TAPS * position) ** 2)
    return root / (TAPS * torch.sinh(root)) * PEAK


def project(image: torch.Tensor, grid: Gridding) -> torch.Tensor:
    """Sinogram ``(angles, bins)`` of an image ``(H, W)``."""
    spectrum = torch.fft.fft2(functional.pad(image * grid.apodization, grid.padding))
    lines = SparseProduct.apply(spectrum.flatten(), grid.taps, grid.transposed)
    return torch.fft.irfft(lines.view_as(grid.phase) * grid.phase, grid.bins)


def back_project(sinogram: torch.Tensor, grid: Gridding) -> torch.Tensor:
    """The adjoint of :func:`project`, step by step."""
    lines = torch.fft.rfft(sinogram, norm="forward") * grid.phase.conj()
    # Every frequency but the first stands for its opposite, too.
    lines = torch.cat([lines[:, :1], 2 * lines[:, 1:]], 1)
    spectrum = SparseProduct.apply(lines.flatten(), grid.transposed, grid.taps)
    image = torch.fft.ifft2(spectrum.view(grid.grid), norm="forward").real
    return functional.pad(image, [-n for n in grid.padding]) * grid.apodization


def radon(image: torch.Tensor, angles: Sequence[float]) -> torch.Tensor:
    """Line integrals of images along parallel rays (Radon transform); differentiable.

    Args:
        image: ``(..., H, W)``, zero outside; integers become float32.
        angles: of the projections, in radians.

    Returns:
        ``(..., angles, bins)`` in the image's unit times pixels, with ``detector_size((H, W))`` bins one pixel wide.
    """
    planes = as_planes(image)
    grid = gridding(tuple(image.shape[-2:]), tuple(angles), planes.dtype, planes.device)
    # One at a time, which stays in a processor's cache.
    projections = torch.stack([project(plane, grid) for plane in planes])
    return projections.view(*image.shape[:-2], *projections.shape[1:])


def back_projection(sinogram: torch.Tensor, angles: Sequence[float], size: Sequence[int]) -> torch.Tensor:
    """Each projection smeared back along its rays, summed over the angles: the exact adjoint of :func:`radon`.

    Args:
        sinogram: ``(..., angles, bins)`` as :func:`radon` makes it.
        angles: of the projections, in radians.
        size: of the image, ``(H, W)``.

    Returns:
        ``(..., H, W)``.

    Raises:
        ValueError: when the sinogram has another number of angles or bins.
    """
    planes = as_planes(sinogram)
    grid = gridding(tuple(size), tuple(angles), planes.dtype, planes.device)
    if planes.shape[1:] != (len(angles), grid.bins):
        raise ValueError(
            f"the sinogram is {planes.size(1)} x {planes.size(2)}, but {len(angles)} projections of an image of "
            f"{size[0]} x {size[1]} pixels are {len(angles)} x {grid.bins}."
        )
    images = torch.stack([back_project(plane, grid) for plane in planes])
    return images.view(*sinogram.shape[:-2], *images.shape[1:])


def filtered_back_projection(
    sinogram: torch.Tensor, angles: Sequence[float], size: Sequence[int], *, filter_name: str = "ramp"
) -> torch.Tensor:
    """Image of a sinogram whose angles divide half a turn evenly (Kak & Slaney 1988, chapter 3); differentiable.

    Args:
        sinogram: ``(..., angles, bins)`` as :func:`radon` makes it.
        angles: of the projections, in radians.
        size: of the image, ``(H, W)``.
        filter_name: ``"ramp"``, or the ramp under a window that lets less noise through: ``"shepp-logan"``,
            ``"cosine"``, ``"hamming"`` or ``"hann"``.

    Returns:
        ``(..., H, W)``.

    Raises:
        ValueError: when there is no such filter, or the sinogram has another number of angles or bins.
    """
    planes = as_planes(sinogram)
    bins = planes.size(2)
    # Padded by as much again, so that one end of the detector does not reach the other.
    spectrum = torch.fft.rfft(planes, 2 * bins) * ramp_filter(2 * bins, filter_name).to(planes)
    filtered = torch.fft.irfft(spectrum, 2 * bins)[..., :bins]
    return back_projection(filtered.view(sinogram.shape), angles, size) * (math.pi / len(angles))


def ramp_filter(bins: int, filter_name: str) -> torch.Tensor:
    """Transfer function ``(bins // 2 + 1,)`` of the ramp filter, made from its kernel, which keeps the mean right."""
    window = look_up_option(filter_name, FILTERS)
    distance = torch.arange(bins, dtype=torch.float64)
    distance = torch.minimum(distance, bins - distance)
    ramp = torch.where(distance % 2 == 1, -1 / (math.pi * distance) ** 2, torch.zeros_like(distance))
    ramp[0] = 0.25
    return torch.fft.rfft(ramp).real * window(torch.fft.rfftfreq(bins, dtype=torch.float64))


def as_planes(array: torch.Tensor) -> torch.Tensor:
    """The last two axes of many, in float32 or float64."""
    dtype = array.dtype if array.dtype == torch.float64 else torch.float32
    return array.reshape(-1, *array.shape[-2:]).to(dtype)
