"""Meta-upscale: features at low resolution to an image at any larger size."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from monai.utils import look_up_option
from torch import nn

from miassr_monai.exporting import exporting
from miassr_monai.geometry import axis_scales, nearest_fraction, upscaled_range

__all__ = ["MetaUpscale"]

# Twice the offset of an output pixel within itself at which it is projected onto the LR grid.
DOUBLED_OFFSET = {"corner": 0, "center": 1}


def project(
    size: int, origin: int, p: int, q: int, doubled_offset: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the outputs of an axis come from, at scale ``p / q``.

    Args:
        size: LR pixels of the axis, or of a part of it.
        origin: the first of them in the whole.
        p: numerator of the scale.
        q: its denominator.
        doubled_offset: twice the offset of the projection.
        device: where the result is wanted.

    Returns:
        LR pixel ``k - origin`` (int64) and phase ``r`` (float64) of the HR pixels that lie wholly within them.
    """
    first, end = upscaled_range(size, p, q, origin)
    doubled = (2 * torch.arange(first, end, device=device) + doubled_offset) * q
    k = doubled // (2 * p)
    return k - origin, (doubled - 2 * p * k).to(torch.float64) / (2 * p)


def tabulate(
    size: int, origin: int, p: int, q: int, doubled_offset: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The phases of each LR pixel's outputs; arguments as for :func:`project`.

    Returns:
        Phases ``(size, c)`` (float64), where an LR pixel makes at most ``c`` outputs and has phase 0 for those that it
        does not make; and the place of each output in the flattened table.
    """
    count = -(-p // q)
    pixels = torch.arange(origin, origin + size, device=device).unsqueeze(1)
    # The first output of LR pixel k is the smallest i with (2 i + doubled_offset) q >= 2 p k.
    begin = -((doubled_offset * q - 2 * p * pixels) // (2 * q))
    outputs = begin + torch.arange(count, device=device)
    doubled = (2 * outputs + doubled_offset) * q - 2 * p * pixels
    phases = torch.where(doubled < 2 * p, doubled, 0).to(torch.float64) / (2 * p)
    k, _ = project(size, origin, p, q, doubled_offset, device)
    first, end = upscaled_range(size, p, q, origin)
    place = k * count + torch.arange(first, end, device=device) - begin.flatten().index_select(0, k)
    return phases, place


cached_tabulate = lru_cache(maxsize=128)(tabulate)


def kept_tabulate(
    size: int, origin: int, p: int, q: int, doubled_offset: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`tabulate` that keeps what it made, except for what torch.export traces, which has no values."""
    make = tabulate if torch.compiler.is_compiling() else cached_tabulate
    return make(size, origin, p, q, doubled_offset, device)


class MetaUpscale(nn.Module):
    """Upscale features by a kernel predicted for each output pixel (Hu et al., CVPR 2019; Zhu et al. 2021, equation 9).

    With ``u = (i + o) / s``, ``k = floor(u)`` and ``r = u - k``, output pixel ``(i, j)`` is the product of the 3 x 3
    neighbourhood of LR pixel ``(k_i, k_j)``, zero past the border, with the kernel
    ``W(1 / s, r_i, r_j) = kernel(relu(hidden(1 / s, r_i, r_j)))``.

    Predicting a kernel for each output pixel is never done. The same numbers come, whichever costs less, from

    - *phases*: at ``s = p / q`` only ``p * p`` kernels differ, and together they are one convolution of stride ``q``
      followed by a pixel shuffle;
    - *re-association*: the kernel layer is linear, so it is applied to the features first, as a convolution at low
      resolution, and each output pixel is the product of its hidden layer with the result.

    The latter works with a smaller weight network, see :meth:`fold`.

    Args:
        in_channels: channels of the features.
        out_channels: channels of the image.
        hidden_channels: width of the weight network's hidden layer.
        projection: ``"center"`` projects the centre of an output pixel (``o = 1/2``), ``"corner"`` its corner (``o =
            0``, the paper's equation).
        anisotropic: let rows and columns have different scales: the weight network sees ``1 / s`` of both.
    """

    __constants__ = ("chunk_elements", "element_cost", "exported_size", "folded_share")
    # Elements of the hidden layer that are evaluated together: enough to amortise a call, few enough for the cache.
    chunk_elements = 1 << 21
    # Work on one element of the hidden layer, in multiplications of a matrix product.
    element_cost = 16
    # Roughly what folding leaves of the hidden layer.
    folded_share = 0.5
    # Rows and columns of an image for which the cheaper way is exported, since those that it will get are not known.
    exported_size = 256

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 1,
        hidden_channels: int = 256,
        *,
        projection: str = "center",
        anisotropic: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.projection = look_up_option(projection, DOUBLED_OFFSET.keys())
        self.doubled_offset = DOUBLED_OFFSET[projection]
        self.anisotropic = anisotropic
        self.hidden = nn.Linear(4 if anisotropic else 3, hidden_channels)
        self.kernel = nn.Linear(hidden_channels, out_channels * in_channels * 9)

    def forward(
        self, features: torch.Tensor, scale: float | tuple[float, float], origin: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """Upscale ``features`` ``(N, in_channels, h, w)`` to ``(N, out_channels, floor(s h), floor(s w))``.

        Args:
            features: features at low resolution.
            scale: HR samples per LR sample, at least 1, or one for rows and one for columns.
            origin: of a part of an image, the LR pixel of the whole at which it begins; the output is then the HR
                pixels of the whole that lie wholly within the part.

        Raises:
            ValueError: when ``scale`` is below 1, not finite, or unequal in a module that is not anisotropic, or the
                features have a wrong rank or channel count.
        """
        if features.dim() != 4 or features.size(1) != self.in_channels:
            raise ValueError(
                f"MetaUpscale needs features of shape (N, {self.in_channels}, h, w), got {list(features.shape)}."
            )
        row_scale, column_scale = axis_scales(scale)
        rows, columns = nearest_fraction(row_scale), nearest_fraction(column_scale)
        if rows != columns and not self.anisotropic:
            raise ValueError(
                f"the scales {row_scale} and {column_scale} differ: build the network with anisotropic=True."
            )
        if self.phases_are_cheaper(features.size(0), features.size(2), features.size(3), rows, columns):
            return self.upscale_by_phase(features, rows, columns, origin)
        return self.upscale_by_reassociation(features, rows, columns, origin)

    def phases_are_cheaper(self, n: int, h: int, w: int, rows: tuple[int, int], columns: tuple[int, int]) -> bool:
        """Compare the multiplications of the two ways for ``n`` images of ``h`` x ``w`` LR pixels."""
        if exporting():
            n, h, w = 1, self.exported_size, self.exported_size
        (row_p, row_q), (column_p, column_q) = rows, columns
        hidden = self.folded_share * self.hidden.out_features
        # In floating point: TorchScript's integers would overflow.
        taps = 9.0 * self.in_channels * self.out_channels
        blocks = n * -(-h // row_q) * -(-w // column_q)
        by_phase = taps * row_p * column_p * (self.hidden.out_features + blocks * (row_q + 2) * (column_q + 2) / 9)
        outputs = 1.0 * h * w * -(-row_p // row_q) * -(-column_p // column_q)
        return by_phase < hidden * (taps * n * h * w + outputs * (n * self.out_channels + self.element_cost))

    def units(self, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
        """The hidden layer at one scale ``(3, hidden)``: its pre-activation is ``[0] + r_i * [1] + r_j * [2]``."""
        weight = self.hidden.weight
        constant = self.hidden.bias + weight[:, 0] * (rows[1] / rows[0])
        if self.anisotropic:
            constant = constant + weight[:, 1] * (columns[1] / columns[0])
        return torch.stack([constant, weight[:, weight.size(1) - 2], weight[:, weight.size(1) - 1]])

    def fold(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A smaller weight network with the same kernels at every phase of one scale.

        A hidden unit that is positive at every phase acts linearly, so all of these together are three units: 1,
        ``r_i`` and ``r_j``. A unit that is negative at every phase adds nothing. Which are which is only looked up on
        the CPU: a GPU would have to wait for the answer, and torch.export would have to know it.

        Returns:
            Units ``(3, K)`` as in :meth:`units`; and the kernel layer ``(K, out_channels * in_channels * 9)``, without
            a bias.
        """
        units, layer = self.units(rows, columns), self.kernel.weight.t()
        identity = torch.eye(3, dtype=units.dtype, device=units.device)
        if units.device.type != "cpu" or exporting():
            return torch.cat([units, identity[:, :1]], 1), torch.cat([layer, self.kernel.bias.unsqueeze(0)])
        bounds = units.detach()
        slopes = bounds[1:]
        always_on = bounds[0] + slopes.clamp(max=0).sum(0) >= 0
        mixed = torch.nonzero((bounds[0] + slopes.clamp(min=0).sum(0) > 0) & ~always_on).flatten()
        linear = (units * always_on) @ layer
        bias = F.pad(self.kernel.bias.unsqueeze(0), [0, 0, 0, 2])
        units = torch.cat([units.index_select(1, mixed), identity], 1)
        return units, torch.cat([layer.index_select(0, mixed), linear + bias])

    def phases(self, size: int, origin: int, fraction: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The phases of each LR pixel's outputs, see :func:`tabulate`."""
        device = self.hidden.weight.device
        if torch.jit.is_scripting():
            phases, place = tabulate(size, origin, fraction[0], fraction[1], self.doubled_offset, device)
        else:
            # What is kept must serve training, too.
            with torch.inference_mode(False):
                phases, place = kept_tabulate(size, origin, *fraction, self.doubled_offset, device)
        return phases.to(self.hidden.weight.dtype), place

    def upscale_by_phase(
        self,
        features: torch.Tensor,
        rows: tuple[int, int],
        columns: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
    ) -> torch.Tensor:
        """One convolution of stride ``q`` to ``p * p`` channels per output channel, and a pixel shuffle."""
        (row_p, row_q), (column_p, column_q) = rows, columns
        n, h, w = features.size(0), features.size(2), features.size(3)
        units = self.units(rows, columns)
        row_phases, row_place = self.phases(row_q, 0, rows)
        column_phases, column_place = self.phases(column_q, 0, columns)
        row_part = units[0] + row_phases.flatten().index_select(0, row_place).unsqueeze(1) * units[1]
        column_part = column_phases.flatten().index_select(0, column_place).unsqueeze(1) * units[2]
        kernels = self.kernel(F.relu(row_part.unsqueeze(1) + column_part))
        kernels = kernels.view(row_p, column_p, self.out_channels, self.in_channels, 3, 3)
        # Each 3 x 3 kernel goes to its place in the (q + 2) x (q + 2) LR pixels that a block of outputs reads.
        kernels = torch.cat(
            [F.pad(part, [0, 0, i, row_q - 1 - i]) for i, part in enumerate(self.split_by_input(kernels, 0, rows))], 0
        )
        kernels = torch.cat(
            [F.pad(part, [i, column_q - 1 - i]) for i, part in enumerate(self.split_by_input(kernels, 1, columns))], 1
        )
        kernels = kernels.permute(2, 0, 1, 3, 4, 5).reshape(-1, self.in_channels, row_q + 2, column_q + 2)
        # Blocks begin at multiples of q in the whole image.
        top, left = origin[0] % row_q, origin[1] % column_q
        below, right = (top + h + row_q - 1) // row_q, (left + w + column_q - 1) // column_q
        padded = F.pad(features, [1 + left, right * column_q + 1 - w - left, 1 + top, below * row_q + 1 - h - top])
        blocks = F.conv2d(padded, kernels.to(features.dtype), stride=[row_q, column_q])
        blocks = blocks.view(n, self.out_channels, row_p, column_p, below, right).permute(0, 1, 4, 2, 5, 3)
        image = blocks.reshape(n, self.out_channels, below * row_p, right * column_p)
        first_row, end_row = upscaled_range(h, row_p, row_q, top)
        first_column, end_column = upscaled_range(w, column_p, column_q, left)
        if exporting():
            # A slice that ends where this one image does would be taken for none at all.
            kept_rows = torch.arange(first_row, end_row, device=image.device)
            kept_columns = torch.arange(first_column, end_column, device=image.device)
            return image.index_select(2, kept_rows).index_select(3, kept_columns)
        return image[:, :, first_row:end_row, first_column:end_column]

    def split_by_input(self, kernels: torch.Tensor, axis: int, fraction: tuple[int, int]) -> list[torch.Tensor]:
        """Split the ``p`` phases of an axis by which of the ``q`` LR pixels of a block they read."""
        p, q = fraction
        # The first output of LR pixel k is the smallest i with (2 i + doubled_offset) q >= 2 p k.
        first = [-((self.doubled_offset * q - 2 * p * k) // (2 * q)) for k in range(q + 1)]
        return list(kernels.split_with_sizes([first[k + 1] - first[k] for k in range(q)], axis))

    def upscale_by_reassociation(
        self,
        features: torch.Tensor,
        rows: tuple[int, int],
        columns: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
    ) -> torch.Tensor:
        """The kernel layer as a convolution at low resolution, then a product with each pixel's hidden layer.

        Every LR pixel makes the same number of outputs, as many as any needs; those that are too many are left out.
        """
        n, h, w = features.size(0), features.size(2), features.size(3)
        units, layer = self.fold(rows, columns)
        k = units.size(1)
        layer = layer.view(k, self.out_channels, self.in_channels, 3, 3).transpose(0, 1)
        layer = layer.reshape(-1, self.in_channels, 3, 3).to(features.dtype)
        spread = F.conv2d(features.contiguous(memory_format=torch.channels_last), layer, padding=1)
        spread = spread.permute(0, 2, 3, 1)

        row_phases, row_place = self.phases(h, origin[0], rows)
        column_phases, column_place = self.phases(w, origin[1], columns)
        row_part = units[0] + row_phases.unsqueeze(2) * units[1]
        column_part = (column_phases.unsqueeze(2) * units[2]).unsqueeze(1)
        a, b = row_phases.size(1), column_phases.size(1)
        chunk = max(1, self.chunk_elements // (w * a * b * k))
        bands: list[torch.Tensor] = []
        # How many there are is not known where sizes vary.
        parts = [spread] if exporting() else list(spread.split(chunk, 1))
        row_bands = [row_part] if exporting() else list(row_part.split(chunk))
        # Memory that is new for each chunk would cost more than what is done in it.
        workspace = row_part.new_empty([min(chunk, h), w, a, b, k])
        for i, row_band in enumerate(row_bands):
            row_band = row_band.unsqueeze(1).unsqueeze(3)
            if torch.is_grad_enabled() or exporting():
                hidden = row_band + column_part
            else:
                hidden = torch.add(row_band, column_part, out=workspace.narrow(0, 0, row_band.size(0)))
            # (LR pixels, outputs of each, hidden)
            hidden = hidden.relu_().view(-1, a * b, k).to(spread.dtype)
            # (LR pixels, images and channels, hidden)
            matrices = parts[i].reshape(n, -1, self.out_channels, k).transpose(0, 1).reshape(hidden.size(0), -1, k)
            pixels = torch.bmm(matrices, hidden.transpose(1, 2))
            pixels = pixels.view(-1, w, n * self.out_channels, a, b).permute(2, 0, 3, 1, 4)
            bands.append(pixels.reshape(n * self.out_channels, -1, w * b))
        image = torch.cat(bands, 1).view(n, self.out_channels, h * a, w * b)
        return image.index_select(2, row_place).index_select(3, column_place)
