"""Implicit upscaling: features at low resolution to the intensity at any point of a volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.utils import look_up_option
from torch import nn

from miassr_monai.geometry import Scale, nearest_fraction, scale_per_axis, upscaled_range
from miassr_monai.resampling import sample_positions

__all__ = ["ImplicitUpscale"]

# Values between two layers that are worked on together: enough to amortise a call, on a CPU few enough for its cache.
VALUES_ON_CPU = 1 << 19
VALUES_ON_GPU = 1 << 26
# HR voxels along the first axis that are worked on together.
SLAB = 8


class Axis(NamedTuple):
    """Where the ``n`` HR samples of an axis are.

    Attributes:
        index: the two LR samples that each is between, int64 ``(n, 2)``.
        weight: the share of each of the two in linear interpolation, ``(n, 2)``.
        coordinate: what the network is told of the place, ``(n,)``.
    """

    index: torch.Tensor
    weight: torch.Tensor
    coordinate: torch.Tensor

    def narrow(self, part: slice) -> tuple[Axis, slice]:
        """A part of the HR samples, and the LR samples that it is made of."""
        index = self.index[part]
        first, last = int(index.min()), int(index.max())
        return Axis(index - first, self.weight[part], self.coordinate[part]), slice(first, last + 1)


def place(size: int, fraction: tuple[int, int], origin: int, whole_size: int | None) -> Axis:
    """Where the HR samples are that lie wholly within ``size`` LR samples from ``origin`` on, at scale ``p / q``.

    Coordinates are those in the whole, whose size is then given, or in an LR sample.
    """
    p, q = fraction
    first, end = upscaled_range(size, p, q, origin)
    whole, rest = sample_positions(end - first, q, p, first)
    index = (whole - origin).unsqueeze(1) + torch.arange(2)
    weight = torch.stack([1 - rest, rest], 1)
    if whole_size is not None:
        weight = weight * ((index + origin >= 0) & (index + origin < whole_size))
        coordinate = (whole + rest + 0.5) * 2 / whole_size - 1
    else:
        # From the centre of the LR sample whose extent the HR sample's centre is in.
        coordinate = 2 * (rest - (rest >= 0.5).to(rest.dtype))
    return Axis(index.clamp(0, size - 1), weight, coordinate)


def fully_connected(*sizes: int) -> nn.Sequential:
    """Layers from each size to the next; a ReLU goes between any two of them."""
    return nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])


class ImplicitUpscale(nn.Module):
    """Intensities from interpolated features and a coordinate, by a small network (ArSSR, Wu et al. 2021).

    With ``v``, the features interpolated linearly at the centre of an HR voxel, followed by its coordinate, the
    intensity there is ``second(v + first(v))``. Each stage has ``depth / 2`` fully connected layers; a ReLU follows
    each but the last of all.

    Interpolation commutes with linear layers. So the part of a stage's first layer that sees features is applied to
    them at low resolution and its result is interpolated; the part that sees coordinates has one row for each position
    along an axis, and a voxel adds three of these. The other layers work on a box of voxels after the other, which
    bounds the memory and keeps what is between them in the cache.

    Args:
        in_channels: channels of the features.
        out_channels: channels of the volume.
        depth: fully connected layers of both stages together.
        width: of the layers between.
        coordinates: ``"relative"``: the place within the LR voxel, from -1 to 1 along each axis, and the size of the HR
            voxel in LR voxels; features are repeated past the border. ``"global"``, as published: the place in the
            whole volume, from -1 to 1 along each axis; features are 0 past the border.
        anisotropic: let the axes have different scales. With relative coordinates, the size is then that of each axis.
        positive: a ReLU at the end, too, as published.

    Raises:
        ValueError: when ``depth`` is odd or below 4, or ``coordinates`` is unknown.
    """

    def __init__(
        self,
        in_channels: int = 128,
        out_channels: int = 1,
        *,
        depth: int = 8,
        width: int = 256,
        coordinates: str = "relative",
        anisotropic: bool = False,
        positive: bool = False,
    ) -> None:
        super().__init__()
        if depth < 4 or depth % 2:
            raise ValueError(f"depth must be an even number of layers of at least 4, got {depth}.")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.sees_whole = look_up_option(coordinates, {"relative", "global"}) == "global"
        self.anisotropic = anisotropic
        self.positive = positive
        self.sizes_seen = 0 if self.sees_whole else 3 if anisotropic else 1
        inputs = in_channels + 3 + self.sizes_seen
        hidden = [width] * (depth // 2 - 1)
        self.first = fully_connected(inputs, *hidden, inputs)
        self.second = fully_connected(inputs, *hidden, out_channels)

    def forward(
        self,
        features: torch.Tensor,
        scale: Scale,
        origin: Sequence[int] = (0, 0, 0),
        samples: torch.Tensor | None = None,
        whole_size: Sequence[int] | None = None,
        wanted: Sequence[slice] | None = None,
    ) -> torch.Tensor:
        """Upscale ``features`` ``(N, in_channels, h, w, d)`` to ``(N, out_channels, floor(s h), floor(s w), floor(s
        d))``.

        Args:
            features: features at low resolution.
            scale: HR samples per LR sample, at least 1, or one for each axis.
            origin: of a part of a volume, the LR voxel of the whole at which it begins; the output is then the HR
                voxels of the whole that lie wholly within the part.
            samples: which voxels of the output are wanted of each volume, as indices into the flattened output
                ``(N, K)``; all unless given.
            whole_size: LR voxels along each axis of the whole, which global coordinates of a part need.
            wanted: which part of the output is wanted, as slices of its axes, each of a voxel at least; all unless
                given. Nothing else is evaluated. Not together with ``samples``.

        Returns:
            The volumes, their wanted part, or the wanted voxels ``(N, out_channels, K)``.

        Raises:
            ValueError: when ``scale`` is below 1, not finite, or unequal in a module that is not anisotropic; when the
                features have a wrong rank or channel count; or for a part with global coordinates of a whole whose
                size is not told.
        """
        if features.dim() != 5 or features.size(1) != self.in_channels:
            raise ValueError(
                f"ImplicitUpscale needs features of shape (N, {self.in_channels}, h, w, d), got {list(features.shape)}."
            )
        scales = scale_per_axis(scale, 3)
        fractions = [nearest_fraction(s) for s in scales]
        if not self.anisotropic and len(set(fractions)) > 1:
            raise ValueError(f"the scales {scales} differ: build the network with anisotropic=True.")
        if self.sees_whole and whole_size is None and any(origin):
            raise ValueError("global coordinates are those of a whole volume: give its size with a part of it.")
        sizes = (whole_size or features.shape[2:]) if self.sees_whole else [None] * 3
        axes = [
            Axis(*[values.to(features.device) for values in place(*axis)])
            for axis in zip(features.shape[2:], fractions, origin, sizes, strict=True)
        ]
        if wanted is not None:
            axes, seen = zip(*[axis.narrow(part) for axis, part in zip(axes, wanted, strict=True)], strict=True)
            features = features[(..., *seen)]
        rows = [self.coordinate_rows(stage[0], axes, fractions) for stage in (self.first, self.second)]
        if samples is not None:
            return self.evaluate(features, axes, rows, samples)
        if not torch.is_grad_enabled():
            return self.evaluate_boxes(features, axes, rows)
        # Gradients need all of what is between anyway.
        size = [len(axis.index) for axis in axes]
        every = torch.arange(math.prod(size), device=features.device).expand(len(features), -1)
        return self.evaluate(features, axes, rows, every).unflatten(2, size)

    def coordinate_rows(
        self, layer: nn.Linear, axes: Sequence[Axis], fractions: Sequence[tuple[int, int]]
    ) -> list[torch.Tensor]:
        """What coordinates add to the result of a stage's first layer: ``(n, width)`` for each axis."""
        columns = layer.weight[:, self.in_channels :]
        rows = [
            axis.coordinate.to(columns.dtype).unsqueeze(1) * column
            for axis, column in zip(axes, columns.t(), strict=False)
        ]
        sizes = columns.new_tensor([q / p for p, q in fractions[: self.sizes_seen]])
        rows[0] = rows[0] + columns[:, 3:] @ sizes + layer.bias
        return rows

    def evaluate_boxes(
        self, features: torch.Tensor, axes: Sequence[Axis], rows: Sequence[Sequence[torch.Tensor]]
    ) -> torch.Tensor:
        """All voxels, a box at a time; the first layers are applied to the features of a slab of boxes together."""
        size = [len(axis.index) for axis in axes]
        values = VALUES_ON_CPU if features.device.type == "cpu" else VALUES_ON_GPU
        plane = max(1, values // (SLAB * self.first[0].out_features))
        sides = [max(1, plane // max(1, min(size[2], plane))), plane]
        places = [torch.arange(n, device=features.device) for n in size]
        fine = features.new_empty(0)
        for number, image in enumerate(features.split(1)):
            for i in cuts(size[0], SLAB):
                slab, seen = axes[0].narrow(i)
                tables = self.tables(image[:, :, seen], [[stage[0][i], *stage[1:]] for stage in rows])
                for j, k in product(cuts(size[1], sides[0]), cuts(size[2], sides[1])):
                    box = places[0][: len(slab.index)].view(-1, 1, 1), places[1][j].view(-1, 1), places[2][k]
                    voxels = self.decode(tables, *table_rows([slab, *axes[1:]], box, image[0, 0, seen]))
                    if fine.numel() == 0:
                        fine = voxels.new_empty([len(features), self.out_channels, *size])
                    fine[number, :, i, j, k] = voxels.movedim(-1, 0)
        return fine if fine.numel() else features.new_empty([len(features), self.out_channels, *size])

    def evaluate(
        self,
        features: torch.Tensor,
        axes: Sequence[Axis],
        rows: Sequence[Sequence[torch.Tensor]],
        samples: torch.Tensor,
    ) -> torch.Tensor:
        """The voxels ``samples`` ``(N, K)`` of the volumes that the axes span.

        Returns:
            ``(N, out_channels, K)``.
        """
        width, depth = (len(axis.index) for axis in axes[1:])
        places = samples // (width * depth), samples // depth % width, samples % depth
        return self.decode(self.tables(features, rows), *table_rows(axes, places, features[:, 0])).transpose(1, 2)

    def tables(
        self, features: torch.Tensor, rows: Sequence[Sequence[torch.Tensor]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each stage's first layer: its part that sees features, at all LR voxels, and then the rows of coordinates."""
        cells = features.flatten(2).transpose(1, 2).flatten(0, 1)
        first, second = (
            torch.cat([F.linear(cells, stage[0].weight[:, : self.in_channels]), *added])
            for stage, added in zip((self.first, self.second), rows, strict=True)
        )
        return first, second

    def decode(
        self, tables: tuple[torch.Tensor, torch.Tensor], index: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Voxels ``(..., out_channels)``; each begins as a sum of rows of the tables, see :func:`table_rows`."""
        first, second = (
            F.embedding_bag(
                index.flatten(0, -2),
                table,
                per_sample_weights=weight.flatten(0, -2).to(table.dtype),
                mode="sum",
            )
            for table in tables
        )
        for layer in self.first[1:]:
            first = layer(first.relu_())
        hidden = torch.addmm(second, first.relu_(), self.second[0].weight.t())
        for layer in self.second[1:]:
            hidden = layer(hidden.relu_())
        return (hidden.relu_() if self.positive else hidden).unflatten(0, index.shape[:-1])


def cuts(size: int, side: int) -> list[slice]:
    """Parts of an axis, none longer than ``side``."""
    return [slice(begin, min(begin + side, size)) for begin in range(0, size, side)]


def table_rows(
    axes: Sequence[Axis], places: Sequence[torch.Tensor], volumes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which rows of :meth:`ImplicitUpscale.tables` an HR voxel begins with the sum of, and their weights.

    Args:
        axes: where the HR samples of each axis are.
        places: of the voxels along each axis, of shapes that fit together; with more than one volume, the first axis of
            these is that of the volumes.
        volumes: of the features' shape without channels ``(N, h, w, d)``, or of one volume's ``(h, w, d)``.

    Returns:
        Rows and weights ``(..., 11)``: the eight LR voxels around each HR voxel, and its three rows of coordinates.
    """
    (index_i, weight_i), (index_j, weight_j), (index_k, weight_k) = (
        (axis.index[place], axis.weight[place]) for axis, place in zip(axes, places, strict=True)
    )
    *_, w, d = volumes.shape
    corners = (index_i[..., :, None, None] * w + index_j[..., None, :, None]) * d + index_k[..., None, None, :]
    if volumes.dim() == 4:
        corners = corners + torch.arange(len(volumes), device=corners.device).view(-1, 1, 1, 1, 1) * volumes[0].numel()
    starts = volumes.numel() + torch.tensor([0, len(axes[0].index), len(axes[0].index) + len(axes[1].index)])
    own = torch.stack(torch.broadcast_tensors(*places), -1) + starts.to(corners.device)
    weight = weight_i[..., :, None, None] * weight_j[..., None, :, None] * weight_k[..., None, None, :]
    return torch.cat([corners.flatten(-3), own], -1), F.pad(weight.flatten(-3), [0, 3], value=1.0)
