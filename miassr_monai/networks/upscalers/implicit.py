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

# HR voxels along each axis that are worked on together: enough to amortise a call, on a CPU few enough for its cache.
BOX_ON_CPU = (8, 8, 16)
BOX_ON_GPU = (64, 64, 64)


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


def add_activated(addend: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``addend`` and a linear layer on what a ReLU leaves of ``hidden`` ``(voxels, units)``, which it overwrites.

    Units that are off at every voxel add nothing and are left out. Which they are is only looked up where that is
    cheap: a GPU would have to wait for the answer, and training has to give them gradients.
    """
    hidden = hidden.relu_()
    if hidden.device.type == "cpu" and not torch.is_grad_enabled():
        on = hidden.amax(0).nonzero().flatten()
        hidden, weight = hidden.index_select(1, on), weight.index_select(1, on)
    return torch.addmm(addend, hidden, weight.t())


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

        Returns:
            The volumes, or the wanted voxels ``(N, out_channels, K)``.

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
        rows = [self.coordinate_rows(stage[0], axes, fractions) for stage in (self.first, self.second)]
        if samples is None:
            return self.evaluate_boxes(features, axes, rows)
        return self.evaluate(features, axes, rows, samples)

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
        """All voxels: box by box, or at once where gradients need all of what is between anyway."""
        size = [len(axis.index) for axis in axes]
        sides = size if torch.is_grad_enabled() else BOX_ON_CPU if features.device.type == "cpu" else BOX_ON_GPU
        cuts = [
            [slice(i, min(i + side, n)) for i in range(0, n, side)] if n else [slice(0, 0)]
            for n, side in zip(size, sides, strict=True)
        ]
        fine = features.new_empty(0)
        for box in product(*cuts):
            parts, seen = zip(*[axis.narrow(part) for axis, part in zip(axes, box, strict=True)], strict=True)
            box_rows = [[row[part] for row, part in zip(stage, box, strict=True)] for stage in rows]
            shape = [part.stop - part.start for part in box]
            every = torch.arange(math.prod(shape), device=features.device).expand(len(features), -1)
            voxels = self.evaluate(features[(..., *seen)], parts, box_rows, every).unflatten(2, shape)
            if shape == size:
                return voxels
            if fine.numel() == 0:
                fine = voxels.new_empty([*voxels.shape[:2], *size])
            fine[(..., *box)] = voxels
        return fine

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
        n, c, _, w, d = features.shape
        height, width, depth = (len(axis.index) for axis in axes)
        i, j, k = samples // (width * depth), samples // depth % width, samples % depth
        (index_i, weight_i), (index_j, weight_j), (index_k, weight_k) = (
            (axis.index[at], axis.weight[at]) for axis, at in zip(axes, (i, j, k), strict=True)
        )
        # The eight LR voxels around each HR voxel, and its rows of coordinates, which stand after all LR voxels.
        corners = (index_i[..., :, None, None] * w + index_j[..., None, :, None]) * d + index_k[..., None, None, :]
        corners = corners.flatten(2) + torch.arange(n, device=corners.device).view(-1, 1, 1) * features[0, 0].numel()
        after = n * features[0, 0].numel()
        places = torch.stack([i + after, j + after + height, k + after + height + width], 2)
        bags = torch.cat([corners, places], 2).flatten(0, 1)
        shares = weight_i[..., :, None, None] * weight_j[..., None, :, None] * weight_k[..., None, None, :]
        shares = F.pad(shares.flatten(2), [0, 3], value=1.0).flatten(0, 1)
        cells = features.flatten(2).transpose(1, 2).flatten(0, 1)

        def interpolate(layer: nn.Linear, rows: Sequence[torch.Tensor]) -> torch.Tensor:
            table = torch.cat([F.linear(cells, layer.weight[:, :c]), *rows])
            return F.embedding_bag(bags, table, per_sample_weights=shares.to(table.dtype), mode="sum")

        hidden = interpolate(self.first[0], rows[0])
        for layer in self.first[1:]:
            hidden = add_activated(layer.bias, hidden, layer.weight)
        hidden = add_activated(interpolate(self.second[0], rows[1]), hidden, self.second[0].weight)
        for layer in self.second[1:]:
            hidden = add_activated(layer.bias, hidden, layer.weight)
        if self.positive:
            hidden = hidden.relu_()
        return hidden.view(n, -1, self.out_channels).transpose(1, 2)
