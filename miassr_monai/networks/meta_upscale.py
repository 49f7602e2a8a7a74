"""Meta-upscale: features at low resolution to an image at any larger size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.utils import look_up_option
from torch import nn

from miassr_monai.geometry import axis_scales, nearest_fraction

__all__ = ["MetaUpscale"]

# Twice the offset of an output pixel within itself at which it is projected onto the LR grid.
DOUBLED_OFFSET = {"corner": 0, "center": 1}


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

    Args:
        in_channels: channels of the features.
        out_channels: channels of the image.
        hidden_channels: width of the weight network's hidden layer.
        projection: ``"center"`` projects the centre of an output pixel (``o = 1/2``), ``"corner"`` its corner (``o =
            0``, the paper's equation).
        anisotropic: let rows and columns have different scales: the weight network sees ``1 / s`` of both.
    """

    __constants__ = ("chunk_elements", "element_cost")
    # Elements of the hidden layer that are evaluated together: enough to amortise a call, few enough for the cache.
    chunk_elements = 1 << 20
    # Work on one element of the hidden layer, in multiplications of a matrix product.
    element_cost = 16

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

    def get_extra_state(self) -> torch.Tensor:
        """The projection, saved with the weights because they are wrong under another."""
        return torch.tensor(self.doubled_offset, dtype=torch.uint8)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Refuse weights that were trained for another projection."""
        trained = {doubled: name for name, doubled in DOUBLED_OFFSET.items()}[int(state)]
        if trained != self.projection:
            raise ValueError(
                f"these weights were trained with projection={trained!r}, but the network was built with "
                f"projection={self.projection!r}: set it in the network's definition."
            )

    def forward(self, features: torch.Tensor, scale: float | tuple[float, float]) -> torch.Tensor:
        """Upscale ``features`` ``(N, in_channels, h, w)`` to ``(N, out_channels, floor(s h), floor(s w))``.

        Args:
            features: features at low resolution.
            scale: HR samples per LR sample, at least 1, or one for rows and one for columns.

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
            return self.upscale_by_phase(features, rows, columns)
        return self.upscale_by_reassociation(features, rows, columns)

    def phases_are_cheaper(self, n: int, h: int, w: int, rows: tuple[int, int], columns: tuple[int, int]) -> bool:
        """Compare the multiplications of the two ways for ``n`` images of ``h`` x ``w`` LR pixels."""
        (row_p, row_q), (column_p, column_q) = rows, columns
        hidden = self.hidden.out_features
        # In floating point: TorchScript's integers would overflow.
        taps = 9.0 * self.in_channels * self.out_channels
        blocks = n * -(-h // row_q) * -(-w // column_q)
        by_phase = taps * row_p * column_p * (hidden + blocks * (row_q + 2) * (column_q + 2) / 9)
        outputs = 1.0 * (h * row_p // row_q) * (w * column_p // column_q)
        return by_phase < hidden * (taps * n * h * w + outputs * (n * self.out_channels + self.element_cost))

    def project(self, index: torch.Tensor, p: int, q: int) -> tuple[torch.Tensor, torch.Tensor]:
        """LR index ``k`` (int64) and phase ``r`` (of the weights' type) of the output indices, at scale ``p / q``."""
        doubled = (2 * index + self.doubled_offset) * q
        k = torch.div(doubled, 2 * p, rounding_mode="floor")
        return k, ((doubled - 2 * p * k).to(torch.float64) / (2 * p)).to(self.hidden.weight.dtype)

    def hidden_rows(self, index: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
        """What output rows add to the hidden layer, scale and bias included: ``(..., hidden_channels)``."""
        weight = self.hidden.weight
        constant = self.hidden.bias + weight[:, 0] * (rows[1] / rows[0])
        if self.anisotropic:
            constant = constant + weight[:, 1] * (columns[1] / columns[0])
        _, r = self.project(index.to(weight.device), rows[0], rows[1])
        return r.unsqueeze(-1) * weight[:, weight.size(1) - 2] + constant

    def hidden_columns(self, index: torch.Tensor, columns: tuple[int, int]) -> torch.Tensor:
        """What output columns add to the hidden layer: ``(..., hidden_channels)``."""
        weight = self.hidden.weight
        _, r = self.project(index.to(weight.device), columns[0], columns[1])
        return r.unsqueeze(-1) * weight[:, weight.size(1) - 1]

    def upscale_by_phase(self, features: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
        """One convolution of stride ``q`` to ``p * p`` channels per output channel, and a pixel shuffle."""
        (row_p, row_q), (column_p, column_q) = rows, columns
        n, h, w = features.size(0), features.size(2), features.size(3)
        row_part = self.hidden_rows(torch.arange(row_p), rows, columns)
        kernels = self.kernel(F.relu(row_part.unsqueeze(1) + self.hidden_columns(torch.arange(column_p), columns)))
        kernels = kernels.view(row_p, column_p, self.out_channels, self.in_channels, 3, 3)
        # Each 3 x 3 kernel goes to its place in the (q + 2) x (q + 2) LR pixels that a block of outputs reads.
        kernels = torch.cat(
            [F.pad(part, [0, 0, i, row_q - 1 - i]) for i, part in enumerate(self.split_by_input(kernels, 0, rows))], 0
        )
        kernels = torch.cat(
            [F.pad(part, [i, column_q - 1 - i]) for i, part in enumerate(self.split_by_input(kernels, 1, columns))], 1
        )
        kernels = kernels.permute(2, 0, 1, 3, 4, 5).reshape(-1, self.in_channels, row_q + 2, column_q + 2)
        below, right = -(-h // row_q), -(-w // column_q)
        padded = F.pad(features, [1, right * column_q + 1 - w, 1, below * row_q + 1 - h])
        blocks = F.conv2d(padded, kernels.to(features.dtype), stride=[row_q, column_q])
        blocks = blocks.view(n, self.out_channels, row_p, column_p, below, right).permute(0, 1, 4, 2, 5, 3)
        image = blocks.reshape(n, self.out_channels, below * row_p, right * column_p)
        return image[:, :, : h * row_p // row_q, : w * column_p // column_q]

    def split_by_input(self, kernels: torch.Tensor, axis: int, fraction: tuple[int, int]) -> list[torch.Tensor]:
        """Split the ``p`` phases of an axis by which of the ``q`` LR pixels of a block they read."""
        p, q = fraction
        k, _ = self.project(torch.arange(p), p, q)
        counts: list[int] = torch.bincount(k, minlength=q).tolist()
        return list(kernels.split_with_sizes(counts, axis))

    def upscale_by_reassociation(
        self, features: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]
    ) -> torch.Tensor:
        """The kernel layer as a convolution at low resolution, then a product with each pixel's hidden layer."""
        n, h, w = features.size(0), features.size(2), features.size(3)
        m = self.hidden.out_features
        layer = torch.cat([self.kernel.weight.t(), self.kernel.bias.unsqueeze(0)])
        layer = layer.view(m + 1, self.out_channels, self.in_channels, 3, 3).transpose(0, 1)
        layer = layer.reshape(-1, self.in_channels, 3, 3).to(features.dtype)
        spread = F.conv2d(features.contiguous(memory_format=torch.channels_last), layer, padding=1)
        spread = spread.permute(0, 2, 3, 1).reshape(n, h * w, self.out_channels, m + 1)

        # LR rows, and columns, that make the same number of outputs are worked on together.
        row_groups, row_order = self.group_by_outputs(h, rows)
        column_groups, column_order = self.group_by_outputs(w, columns)
        pixels: list[torch.Tensor] = []
        for row_k, _ in row_groups:
            pixels += [(row_k.unsqueeze(1) * w + column_k).flatten() for column_k, _ in column_groups]
        spread = spread.index_select(1, torch.cat(pixels).to(features.device))
        blocks = list(spread.split_with_sizes([pixel.size(0) for pixel in pixels], 1))
        bands: list[torch.Tensor] = []
        for _, row_outputs in row_groups:
            row_part = self.hidden_rows(row_outputs, rows, columns)
            band: list[torch.Tensor] = []
            for _, column_outputs in column_groups:
                column_part = self.hidden_columns(column_outputs, columns)
                band.append(self.multiply_by_hidden(blocks.pop(0), row_part, column_part))
            bands.append(torch.cat(band, 2))
        image = torch.cat(bands, 1).view(n, self.out_channels, row_order.size(0), column_order.size(0))
        image = image.index_select(2, row_order.to(features.device))
        return image.index_select(3, column_order.to(features.device))

    def group_by_outputs(
        self, size: int, fraction: tuple[int, int]
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
        """Group the LR indices of an axis by how many outputs they make.

        Returns:
            For each number ``c`` the LR indices ``(g,)`` that make ``c`` outputs and these outputs ``(g, c)``; and
            where each output index of the axis stands in the concatenation of the groups' outputs.
        """
        p, q = fraction
        k, _ = self.project(torch.arange(size * p // q), p, q)
        counts = torch.bincount(k, minlength=size)
        first = torch.cumsum(counts, 0) - counts
        groups: list[tuple[torch.Tensor, torch.Tensor]] = []
        made: list[torch.Tensor] = []
        for count in range(1, -(-p // q) + 1):
            chosen = torch.nonzero(counts == count).flatten()
            if chosen.size(0) > 0:
                outputs = first[chosen].unsqueeze(1) + torch.arange(count)
                groups.append((chosen, outputs))
                made.append(outputs.flatten())
        return groups, torch.argsort(torch.cat(made))

    def multiply_by_hidden(self, block: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Output pixels of ``g`` LR rows and ``l`` columns that make ``a`` x ``b`` outputs each.

        Args:
            block: features after the kernel layer ``(N, g * l, C, hidden + 1)``.
            rows: pre-activations ``(g, a, hidden)``.
            columns: pre-activations ``(l, b, hidden)``.

        Returns:
            Pixels ``(N * C, g * a, l * b)``.
        """
        m, width = rows.size(2), columns.size(0)
        a, b = rows.size(1), columns.size(1)
        # One matrix (images and channels, hidden) for each LR pixel.
        matrices = block.transpose(0, 1).reshape(block.size(1), -1, m + 1)
        images = matrices.size(1)
        chunk = max(1, self.chunk_elements // (width * a * b * m))
        bands: list[torch.Tensor] = []
        parts = matrices.split(chunk * width)
        for i, band in enumerate(rows.split(chunk)):
            hidden = F.relu(band.unsqueeze(1).unsqueeze(3) + columns.unsqueeze(1)).view(-1, a * b, m)
            factors = parts[i].split([m, 1], 2)
            pixels = torch.baddbmm(factors[1], factors[0], hidden.to(block.dtype).transpose(1, 2))
            pixels = pixels.view(-1, width, images, a, b).permute(2, 0, 3, 1, 4)
            bands.append(pixels.reshape(images, -1, width * b))
        return torch.cat(bands, 1)
