"""What of an image is more than a constant border, such as the air around a head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["content_parts"]


def content_part(images: torch.Tensor, value: torch.Tensor, margin: int) -> list[slice]:
    """The box of what differs from ``value`` in any of ``images`` ``(n, C, *size)``, and ``margin`` around it."""
    differs = (images != value).flatten(0, 1).any(0)
    part = []
    for axis, size in enumerate(differs.shape):
        found = differs.movedim(axis, 0).flatten(1).any(1).nonzero()
        if len(found) == 0:
            return [slice(0, 0)] * differs.dim()
        part.append(slice(max(0, int(found[0]) - margin), min(size, int(found[-1]) + 1 + margin)))
    return part


def content_parts(chunks: Sequence[torch.Tensor], halo: int) -> tuple[torch.Tensor, list[list[slice]]] | None:
    """Which part of the images a network has to see, where all have a border of one value.

    An output depends on the LR samples up to ``halo`` around its own. So beyond ``halo`` around the content it is that
    of an image of the border's value alone, which is made once for all images: the result is the same.

    Args:
        chunks: images ``(n, C, *size)`` that go through the network together; the first sample of the first image is
            the border's.
        halo: how far an output sees.

    Returns:
        The image of the border alone ``(1, C, *size)``, and for each chunk the part of the axes whose result depends on
        the content, empty where there is none; ``None`` where that would save no time.
    """
    corner = chunks[0][0][(slice(None), *[slice(1)] * (chunks[0].dim() - 2))].unsqueeze(0)
    size = chunks[0].shape[2:]
    parts, saved = [], 0.0
    for chunk in chunks:
        part = content_part(chunk, corner, halo)
        seen = [max(0, min(n, p.stop + halo) - max(0, p.start - halo)) for n, p in zip(size, part, strict=True)]
        share = 0.0 if part[0].stop == 0 else math.prod(seen) / math.prod(size)
        saved += len(chunk) * (1.0 - share)
        parts.append(part if share < 1.0 else [slice(0, n) for n in size])
    # The border's own image is one more to make.
    return (corner.expand(1, -1, *size), parts) if saved > 1.0 else None
