"""Super-resolution of an image in overlapping tiles, equal to that of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from miassr_monai.geometry import axis_scales, nearest_fraction, upscaled_range, upscaled_size

__all__ = ["upscale_in_tiles"]


def tile_axis(size: int, scale: float, tile_size: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut an axis into tiles of about the same length.

    Yields:
        For each tile the LR pixels that the network sees, the HR pixels of the whole that it makes, and where these
        stand in the network's output.
    """
    p, q = nearest_fraction(scale)
    count = -(-size // tile_size)
    for number in range(count):
        begin, end = size * number // count, size * (number + 1) // count
        seen = slice(max(0, begin - halo), min(size, end + halo))
        first = -(-begin * p // q)
        last = upscaled_size(size, scale) if end == size else -(-end * p // q)
        offset, _ = upscaled_range(seen.stop - seen.start, p, q, seen.start)
        yield seen, slice(first, last), slice(first - offset, last - offset)


def upscale_in_tiles(
    image: torch.Tensor,
    upscale: Callable[..., torch.Tensor],
    scale: float | tuple[float, float],
    *,
    tile_size: int,
    halo: int,
) -> torch.Tensor:
    """Super-resolve an image tile by tile; the result is that of the whole image.

    Args:
        image: ``(N, C, h, w)``.
        upscale: called with a part of the image and ``origin``, the LR pixel at which the part begins; gives the HR
            pixels that lie wholly within the part.
        scale: HR samples per LR sample, one or one for each axis.
        tile_size: LR pixels along each side that a tile adds to the result, at most.
        halo: LR pixels around these on which they depend.

    Returns:
        ``(N, C', floor(s h), floor(s w))``.
    """
    row_scale, column_scale = axis_scales(scale)
    height, width = image.shape[2:]
    fine: torch.Tensor | None = None
    for seen_rows, rows, made_rows in tile_axis(height, row_scale, tile_size, halo):
        for seen_columns, columns, made_columns in tile_axis(width, column_scale, tile_size, halo):
            part = upscale(image[..., seen_rows, seen_columns], origin=(seen_rows.start, seen_columns.start))
            if fine is None:
                size = upscaled_size(height, row_scale), upscaled_size(width, column_scale)
                fine = part.new_empty(*part.shape[:2], *size)
            fine[..., rows, columns] = part[..., made_rows, made_columns]
    return fine
