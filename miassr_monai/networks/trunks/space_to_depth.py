"""A trunk that works at a lower resolution than the image has."""

from __future__ import annotations

import torch
from monai.networks.utils import pixelshuffle
from torch.nn import functional

from miassr_monai.networks.network import Trunk
from miassr_monai.networks.trunks.blocks import require_positive

__all__ = ["SpaceToDepth"]


class SpaceToDepth(Trunk):
    """Another trunk, at a resolution that is ``factor`` times lower, for restoration at scale 1.

    Each cell of ``factor`` pixels along each axis becomes one pixel whose channels they are, so that the trunk's first
    convolution is a learnt down-sampling; its features are shuffled back to the pixels in the same way (Shi et al.,
    CVPR 2016). Nothing of the image is lost. Cells that the image does not fill are filled with its border.

    Args:
        trunk: with ``factor ** spatial_dims`` channels for each channel of the image.
        factor: pixels of a cell along each axis.

    Raises:
        ValueError: when ``factor`` is below 1, the trunk's channels cannot be divided so, or it is made for some whole
            scales.
    """

    def __init__(self, trunk: Trunk, *, factor: int = 2) -> None:
        require_positive(factor=factor)
        cell = factor**trunk.spatial_dims
        if trunk.in_channels % cell or trunk.out_channels % cell:
            raise ValueError(
                f"cells of {cell} pixels need a trunk whose channels are multiples of that, got in_channels="
                f"{trunk.in_channels} and {trunk.out_channels} features: give it in_channels={cell} for one channel."
            )
        if trunk.scales:
            raise ValueError("space to depth does all scales alike: give a trunk with scales=().")
        super().__init__(
            trunk.spatial_dims,
            trunk.in_channels // cell,
            trunk.out_channels // cell,
            # The cells that the trunk sees, and the rest of a pixel's own.
            halo=factor * trunk.halo + factor - 1,
            batch_norm=trunk.batch_norm,
            cell_size=factor,
        )
        self.trunk = trunk

    def forward(self, x: torch.Tensor, origin: list[int] | None = None) -> torch.Tensor:
        """``(N, in_channels, *size)`` to ``(N, out_channels, *size)``.

        Args:
            x: images.
            origin: of a part of an image, the pixel of the whole at which it begins: the cells are those of the whole.
        """
        size = x.shape[2:]
        dims, factor = len(size), self.cell_size
        before = [0] * dims if origin is None else [start % factor for start in origin]
        padding: list[int] = []
        for axis in range(dims - 1, -1, -1):
            padding += [before[axis], -(before[axis] + size[axis]) % factor]
        if max(padding) > 0:
            x = functional.pad(x, padding, mode="replicate")
        for axis in range(dims):
            x = x.unfold(2 + axis, factor, factor)
        cells = x.flatten(2 + dims).movedim(-1, 2).flatten(1, 2)
        features = pixelshuffle(self.trunk(cells), dims, factor)
        for axis in range(dims):
            features = features.narrow(2 + axis, before[axis], size[axis])
        return features
