"""The ArSSR generator: trunk and implicit upscaling of volumes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import Conv
from monai.utils import look_up_option
from torch import nn

from miassr_monai.geometry import Scale
from miassr_monai.networks.network import Generator, Trunk
from miassr_monai.networks.upscalers.implicit import ImplicitUpscale
from miassr_monai.resampling import tricubic_upscale

__all__ = ["VolumeGenerator"]


class VolumeGenerator(Generator):
    """Super-resolution generator of volumes for every real scale of at least 1 (ArSSR, Wu et al. 2021).

    A trunk and a convolution make features at low resolution; :class:`ImplicitUpscale` makes the volume from them. The
    published networks have ``coordinates="global"`` and the trunks ``RDN(3, depth=8, layers=3, growth=64)``,
    ``ResCNN(3)`` or ``EDSR(3, depth=18, negative_slope=0)`` (there called SRResNet and without the skip around all
    blocks). In their ResCNN the image is added to every feature, too.

    Args:
        trunk: features of volumes.
        feature_channels: channels that the convolution makes of them.
        depth: fully connected layers, see :class:`ImplicitUpscale`.
        width: their width.
        coordinates: ``"relative"``, or ``"global"`` as published, see :class:`ImplicitUpscale`.
        anisotropic: let the axes have different scales.
        skip: ``None`` for the published form; ``"tricubic"`` to add a tenth of the output to tricubic
            interpolation of the input, to which a tenth of a convolution of the trunk's features is added at low
            resolution. A new network begins as tricubic interpolation. What is linear in the features trains the trunk
            from the first step on, as the fully connected layers alone hardly do at first. Adam moves all weights of
            a layer together, which is too much at once for the whole of their output.

    Raises:
        ValueError: when the trunk is for slices or for some whole scales, or an option is unknown.
    """

    def __init__(
        self,
        trunk: Trunk,
        *,
        feature_channels: int = 128,
        depth: int = 8,
        width: int = 256,
        coordinates: str = "relative",
        anisotropic: bool = False,
        skip: str | None = None,
    ) -> None:
        adds_tricubic = look_up_option(skip, {"tricubic", None}) == "tricubic"
        # The trunk's, a convolution, and the LR voxels on each side of an HR voxel that interpolation needs.
        super().__init__(trunk, halo=trunk.halo + (4 if adds_tricubic else 2), anisotropic=anisotropic)
        self.needs_whole_size = coordinates == "global"
        self.makes_wanted = True
        if trunk.spatial_dims != 3:
            raise ValueError("implicit upscaling works on volumes: give a trunk with spatial_dims=3.")
        if trunk.scales:
            raise ValueError("implicit upscaling does all scales alike: give a trunk with scales=().")
        self.adds_tricubic = adds_tricubic
        self.features = Conv[Conv.CONV, 3](trunk.out_channels, feature_channels, 3, padding=1)
        self.upscale = ImplicitUpscale(
            feature_channels,
            trunk.in_channels,
            depth=depth,
            width=width,
            coordinates=coordinates,
            anisotropic=anisotropic,
            positive=not self.adds_tricubic,
        )
        self.residual_scale = 0.1
        self.features.to(memory_format=torch.channels_last_3d)
        if self.adds_tricubic:
            self.restore = Conv[Conv.CONV, 3](trunk.out_channels, trunk.in_channels, 3, padding=1)
            for layer in (self.restore, self.upscale.second[-1]):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: torch.Tensor,
        scale: Scale = 2.0,
        origin: Sequence[int] = (0, 0, 0),
        samples: torch.Tensor | None = None,
        whole_size: Sequence[int] | None = None,
        wanted: Sequence[slice] | None = None,
    ) -> torch.Tensor:
        """Super-resolve ``x`` ``(N, in_channels, h, w, d)`` to ``(N, in_channels, floor(s h), floor(s w), floor(s
        d))``.

        Args:
            x: volumes.
            scale: HR samples per LR sample, at least 1, or one for each axis.
            origin: of a part of a volume, the LR voxel of the whole at which it begins; the output is then the HR
                voxels of the whole that lie wholly within the part, equal to the whole's ``halo`` voxels off the cut.
            samples: which voxels of the output are wanted of each volume, as indices into the flattened output
                ``(N, K)``; all unless given. Training needs only some.
            whole_size: LR voxels along each axis of the whole, which global coordinates of a part need.
            wanted: which part of the output is wanted, as slices of its axes; all unless given. The rest is not
                evaluated, which saves most of the time for the halo of a part. Not together with ``samples``.

        Returns:
            The volumes, their wanted part, or the wanted voxels ``(N, in_channels, K)``.

        Raises:
            ValueError: when ``scale`` is below 1, not finite, or unequal in a network that is not anisotropic; when
                ``x`` has a wrong rank or channel count; or for a part of a volume with global coordinates whose size
                is not told.
        """
        if x.dim() != 5 or x.size(1) != self.in_channels:
            raise ValueError(
                f"this generator needs volumes of shape (N, {self.in_channels}, h, w, d), got {list(x.shape)}."
            )
        found = self.trunk(x, list(origin)) if self.trunk.cell_size > 1 else self.trunk(x)
        volume = self.upscale(self.features(found), scale, origin, samples, whole_size, wanted)
        if not self.adds_tricubic:
            return volume
        smooth = tricubic_upscale(x + self.residual_scale * self.restore(found), scale, origin)
        if samples is not None:
            smooth = smooth.flatten(2).gather(2, samples.unsqueeze(1).expand(-1, x.size(1), -1))
        if wanted is not None:
            smooth = smooth[(..., *wanted)]
        return smooth + self.residual_scale * volume
