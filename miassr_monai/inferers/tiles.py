"""Parts of an image that are super-resolved one by one and together equal the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from miassr_monai.geometry import nearest_fraction, upscaled_range, upscaled_size

__all__ = ["Tile", "cut_tiles"]


class Tile(NamedTuple):
    """A part of an image, as slices of its spatial axes.

    Attributes:
        seen: the LR samples that the network sees.
        made: the HR samples of the whole that it makes.
        place: where these stand in the network's output.
    """

    seen: tuple[slice, ...]
    made: tuple[slice, ...]
    place: tuple[slice, ...]

    @property
    def origin(self) -> tuple[int, ...]:
        """LR sample at which the part begins."""
        return tuple(axis.start for axis in self.seen)


def cut_axis(
    size: int, scale: float, tile_size: int | None, halo: int, part: slice
) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a part of an axis into tiles of about the same length; yields ``seen``, ``made`` and ``place`` of each."""
    p, q = nearest_fraction(scale)
    length = part.stop - part.start
    count = -(-length // (tile_size or size))
    for number in range(count):
        begin, end = (part.start + length * n // count for n in (number, number + 1))
        seen = slice(max(0, begin - halo), min(size, end + halo))
        first = -(-begin * p // q)
        last = upscaled_size(size, scale) if end == size else -(-end * p // q)
        offset, _ = upscaled_range(seen.stop - seen.start, p, q, seen.start)
        yield seen, slice(first, last), slice(first - offset, last - offset)


def cut_tiles(
    size: Sequence[int],
    scales: Sequence[float],
    *,
    tile_size: int | None,
    halo: int,
    part: Sequence[slice] | None = None,
) -> list[Tile]:
    """Cut an image into tiles.

    Args:
        size: LR samples along each axis.
        scales: HR samples per LR sample along each axis.
        tile_size: LR samples along each axis that a tile adds to the result, at most; ``None`` makes one tile.
        halo: LR samples around these on which they depend.
        part: the LR samples along each axis whose result is wanted; all unless given.

    Returns:
        Tiles that make every HR sample that begins within the part once.
    """
    parts = [slice(0, n) for n in size] if part is None else part
    axes = [cut_axis(n, s, tile_size, halo, p) for n, s, p in zip(size, scales, parts, strict=True)]
    return [Tile(*zip(*tile, strict=True)) for tile in product(*axes)]
