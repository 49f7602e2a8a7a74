"""The MIASSR generator: trunk and meta-upscale."""

from __future__ import annotations

import torch
from monai.utils import look_up_option

from miassr_monai.networks.network import Generator, Trunk
from miassr_monai.networks.upscalers.meta_upscale import MetaUpscale
from miassr_monai.resampling import bicubic_upscale

__all__ = ["MetaSRGenerator"]


class MetaSRGenerator(Generator):
    """Super-resolution generator for every real scale of at least 1 (MIASSR, Zhu et al., Int. J. Neural Systems 2021).

    A trunk makes features at low resolution; :class:`MetaUpscale` makes the image from them. With :class:`EDSR`'s
    defaults and one channel it has 1,368,320 parameters.

    Args:
        trunk: features of slices, such as :class:`EDSR`.
        hidden_channels: width of the weight network's hidden layer.
        projection: ``"center"`` or ``"corner"`` (the paper's), see :class:`MetaUpscale`.
        anisotropic: let rows and columns have different scales, see :class:`MetaUpscale`.
        skip: ``None`` for the paper's form; ``"bicubic"`` to add the output, divided by ``hidden_channels``, to bicubic
            interpolation of the input. That starts out as bicubic and trains far faster, at learning rates of 1e-3:
            Adam moves the ``hidden_channels`` weights behind each entry of a kernel together, which the division makes
            up for.

    Raises:
        ValueError: when the trunk is for volumes or for some whole scales, or an option is unknown.
    """

    __constants__ = ("tells_origin",)

    def __init__(
        self,
        trunk: Trunk,
        *,
        hidden_channels: int = 256,
        projection: str = "center",
        anisotropic: bool = False,
        skip: str | None = None,
    ) -> None:
        # The trunk's, the 3 x 3 neighbourhood, and one where an HR pixel straddles two LR pixels.
        super().__init__(trunk, halo=trunk.halo + 2, anisotropic=anisotropic)
        if trunk.spatial_dims != 2:
            raise ValueError("meta-upscale works on slices: give a trunk with spatial_dims=2.")
        if trunk.scales:
            raise ValueError("meta-upscale does all scales alike: give a trunk with scales=().")
        self.tells_origin = trunk.cell_size > 1
        self.skip = look_up_option(skip, {"bicubic", None})
        self.adds_bicubic = skip == "bicubic"
        self.meta_upscale = MetaUpscale(
            trunk.out_channels, trunk.in_channels, hidden_channels, projection=projection, anisotropic=anisotropic
        )
        self.residual_scale = 1.0 / hidden_channels

    def forward(
        self, x: torch.Tensor, scale: float | tuple[float, float] = 2.0, origin: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """Super-resolve ``x`` ``(N, in_channels, h, w)`` to ``(N, in_channels, floor(s h), floor(s w))``.

        Args:
            x: images.
            scale: HR samples per LR sample, at least 1, or one for rows and one for columns.
            origin: of a part of an image, the LR pixel of the whole at which it begins; the output is then the HR
                pixels of the whole that lie wholly within the part, equal to the whole's ``halo`` pixels off the cut.

        Raises:
            ValueError: when ``scale`` is below 1, not finite, or unequal in a network that is not anisotropic, or ``x``
                has a wrong rank or channel count.
        """
        if x.dim() != 4 or x.size(1) != self.in_channels:
            raise ValueError(
                f"this generator needs images of shape (N, {self.in_channels}, h, w), got {list(x.shape)}."
            )
        features = self.trunk(x, [origin[0], origin[1]]) if self.tells_origin else self.trunk(x)
        image = self.meta_upscale(features, scale, origin)
        if self.adds_bicubic:
            image = bicubic_upscale(x, scale, origin) + self.residual_scale * image
        return image
