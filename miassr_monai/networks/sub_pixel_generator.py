"""Generators for whole scales: trunk and sub-pixel convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.utils import look_up_option
from torch import nn

from miassr_monai.geometry import axis_scales
from miassr_monai.networks.network import Generator, Trunk
from miassr_monai.networks.upscalers.sub_pixel import SubPixel
from miassr_monai.resampling import bicubic_rescale, bicubic_upscale

__all__ = ["SubPixelGenerator"]


class SubPixelGenerator(Generator):
    """Super-resolution generator for one or some whole scales, such as EDSR and SRResNet as they were published.

    A trunk makes features at low resolution; for each of ``scales`` a tail of its own (:class:`SubPixel`) makes the
    image from them. Other scales, and unequal ones, are made the way of MIASSR's comparison (Zhu et al. 2021): up by
    the next of ``scales``, then bicubic, without anti-aliasing, down to the pixels that the scale asks for.

    Args:
        trunk: features of slices.
        scales: whole scales of at least 2, in ascending order. A trunk with layers of its own for some scales, such as
            :class:`MDSR`, needs the same.
        skip: ``None`` for the published form; ``"bicubic"`` to add what the tails make to bicubic interpolation of the
            input. Their last convolutions are zero at first, so that a training starts as that.

    Raises:
        ValueError: when the trunk is for volumes, ``scales`` are none or not whole numbers of at least 2 in ascending
            order, or are not those of the trunk, or ``skip`` is unknown.
    """

    __constants__ = ("tells_origin", "tells_scale")

    def __init__(self, trunk: Trunk, *, scales: Sequence[int] = (2, 3, 4), skip: str | None = None) -> None:
        if not scales or min(scales) < 2 or list(scales) != sorted({int(scale) for scale in scales}):
            raise ValueError(f"scales must be whole numbers of at least 2 in ascending order, got {scales}.")
        # The trunk's, three convolutions of a tail, none of them wider than at LR, and bicubic interpolation.
        super().__init__(trunk, halo=trunk.halo + 3, anisotropic=True, max_scale=float(max(scales)))
        if trunk.spatial_dims != 2:
            raise ValueError("sub-pixel convolution works on slices: give a trunk with spatial_dims=2.")
        if trunk.scales and trunk.scales != tuple(scales):
            raise ValueError(f"the trunk is made for the scales {trunk.scales}, not {tuple(scales)}: give it the same.")
        self.adds_bicubic = look_up_option(skip, {"bicubic", None}) == "bicubic"
        self.scales = [int(scale) for scale in scales]
        self.tells_scale, self.tells_origin = bool(trunk.scales), trunk.cell_size > 1
        self.tails = nn.ModuleList(
            SubPixel(trunk.out_channels, trunk.in_channels, scale, batch_norm=trunk.batch_norm) for scale in self.scales
        ).to(memory_format=torch.channels_last)
        if self.adds_bicubic:
            for tail in self.tails:
                for parameter in tail.layers[-1].parameters():
                    nn.init.zeros_(parameter)

    def forward(
        self, x: torch.Tensor, scale: float | tuple[float, float] = 2.0, origin: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """Super-resolve ``x`` ``(N, in_channels, h, w)`` to ``(N, in_channels, floor(s h), floor(s w))``.

        Args:
            x: images.
            scale: HR samples per LR sample, from 1 to ``max_scale``, or one for rows and one for columns.
            origin: of a part of an image, the LR pixel of the whole at which it begins; the output is then the HR
                pixels of the whole that lie wholly within the part, equal to the whole's ``halo`` pixels off the cut.

        Raises:
            ValueError: when ``scale`` is below 1 or above ``max_scale``, or ``x`` has a wrong rank or channel count.
        """
        if x.dim() != 4 or x.size(1) != self.in_channels:
            raise ValueError(
                f"this generator needs images of shape (N, {self.in_channels}, h, w), got {list(x.shape)}."
            )
        row_scale, column_scale = axis_scales(scale)
        whole = self.next_scale(max(row_scale, column_scale))
        if self.tells_scale:
            features = self.trunk(x, whole)
        elif self.tells_origin:
            features = self.trunk(x, [origin[0], origin[1]])
        else:
            features = self.trunk(x)
        fine = x
        for i, tail in enumerate(self.tails):
            if self.scales[i] == whole:
                fine = tail(features)
        if self.adds_bicubic:
            fine = fine + bicubic_upscale(x, float(whole))
        return bicubic_rescale(fine, whole, (row_scale, column_scale), origin)

    def next_scale(self, scale: float) -> int:
        """The first of ``scales`` that is not below ``scale``.

        Raises:
            ValueError: when there is none.
        """
        for whole in self.scales:
            if whole >= scale:
                return whole
        raise ValueError(f"this network makes scales up to {self.max_scale}, got {scale}: give a smaller one.")
