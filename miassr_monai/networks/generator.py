"""The MIASSR generator: trunk and meta-upscale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.utils import look_up_option
from torch import nn

from miassr_monai.networks.edsr import EDSR
from miassr_monai.networks.meta_upscale import PROJECTIONS, MetaUpscale
from miassr_monai.resampling import bicubic_upscale

__all__ = ["MetaSRGenerator"]


class MetaSRGenerator(nn.Module):
    """Super-resolution generator for every real scale of at least 1 (MIASSR, Zhu et al., Int. J. Neural Systems 2021).

    An :class:`EDSR` trunk makes features at low resolution; :class:`MetaUpscale` makes the image from them. With the
    defaults and one channel it has 1,368,320 parameters.

    Args:
        in_channels: channels of the input and of the output.
        width: channels of the features.
        depth: residual blocks of the trunk.
        hidden_channels: width of the weight network's hidden layer.
        projection: ``"center"`` or ``"corner"`` (the paper's), see :class:`MetaUpscale`.
        anisotropic: let rows and columns have different scales, see :class:`MetaUpscale`.
        skip: ``None`` for the paper's form; ``"bicubic"`` to add the output, divided by ``hidden_channels``, to bicubic
            interpolation of the input. That starts out as bicubic and trains far faster, at learning rates of 1e-3:
            Adam moves the ``hidden_channels`` weights behind each entry of a kernel together, which the division makes
            up for.

    Attributes:
        halo: how many LR pixels around its own an output depends on.
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 16,
        hidden_channels: int = 256,
        projection: str = "center",
        anisotropic: bool = False,
        skip: str | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.anisotropic = anisotropic
        self.skip = look_up_option(skip, {"bicubic", None})
        self.adds_bicubic = skip == "bicubic"
        self.trunk = EDSR(2, in_channels, width=width, depth=depth)
        self.meta_upscale = MetaUpscale(
            width, in_channels, hidden_channels, projection=projection, anisotropic=anisotropic
        )
        self.residual_scale = 1.0 / hidden_channels
        # The trunk's, the 3 x 3 neighbourhood, and one where an HR pixel straddles two LR pixels.
        self.halo = self.trunk.halo + 2

    @classmethod
    def from_weights(cls, weights: Mapping[str, torch.Tensor]) -> MetaSRGenerator:
        """The generator that a state dictionary belongs to: its form follows from the weights alone.

        Args:
            weights: state dictionary of a generator, as ``model.pt`` of the bundle has it.

        Raises:
            ValueError: when it is not the state dictionary of such a generator.
        """
        if not isinstance(weights, Mapping):
            raise ValueError(f"these are not the weights of a MetaSRGenerator (a {type(weights).__name__}).")
        try:
            width, in_channels = weights["trunk.head.weight"].shape[:2]
            hidden_channels, inputs = weights["meta_upscale.hidden.weight"].shape
            depth = sum(key.startswith("trunk.body.") and key.endswith(".body.0.weight") for key in weights)
            generator = cls(
                in_channels,
                width=width,
                depth=depth,
                hidden_channels=hidden_channels,
                projection=PROJECTIONS[int(weights["meta_upscale._extra_state"])],
                anisotropic=inputs == 4,
                skip="bicubic" if bool(weights["_extra_state"]) else None,
            )
            generator.load_state_dict(weights)
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"these are not the weights of a MetaSRGenerator ({error}).") from error
        return generator

    def get_extra_state(self) -> torch.Tensor:
        """Whether bicubic interpolation is added, saved with the weights because they are wrong otherwise."""
        return torch.tensor(self.adds_bicubic)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Refuse weights that were trained with another skip."""
        if bool(state) != self.adds_bicubic:
            trained = "bicubic" if bool(state) else None
            raise ValueError(
                f"these weights were trained with skip={trained!r}, but the network was built with skip={self.skip!r}: "
                "set it in the network's definition."
            )

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
        image = self.meta_upscale(self.trunk(x), scale, origin)
        if self.adds_bicubic:
            image = bicubic_upscale(x, scale, origin) + self.residual_scale * image
        return image
