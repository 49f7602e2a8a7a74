"""HR images to pairs of LR input and HR target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.utils import CommonKeys, convert_to_tensor

from miassr_monai.geometry import axis_scales, upscaled_size

__all__ = ["DegradeBatch"]

Degrade = Callable[[torch.Tensor, "float | tuple[float, float]"], torch.Tensor]


class DegradeBatch:
    """``prepare_batch`` of MONAI's engines: degrade a batch of HR images by the batch's scale, on the device.

    The target is the part of the HR images that the network's output covers, ``floor(s * lr)`` pixels along each axis.

    Args:
        degradation: image ``(N, C, H, W)`` and scale to an LR image, such as ``paper_degradation``; or several by
            name, of which the batch's ``degradation`` is taken.
    """

    def __init__(self, degradation: Degrade | Mapping[str, Degrade]) -> None:
        self.degradation = degradation

    def __call__(
        self, batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, Any]]:
        """Make a pair of a batch with HR images ``image`` ``(N, C, H, W)`` and ``scale``.

        Returns:
            LR images, HR targets, no positional arguments, and the scale as keyword argument of the network.
        """
        scale = batchdata["scale"]
        image = convert_to_tensor(batchdata[CommonKeys.IMAGE], track_meta=False)
        image = image.to(device=device, non_blocking=non_blocking, **kwargs)
        named = isinstance(self.degradation, Mapping)
        degrade = self.degradation[batchdata["degradation"]] if named else self.degradation
        small = degrade(image, scale)
        height, width = (upscaled_size(n, s) for n, s in zip(small.shape[2:], axis_scales(scale), strict=True))
        return small, image[..., :height, :width], (), {"scale": scale}
