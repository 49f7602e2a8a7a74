"""HR images to pairs of LR input and HR target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from monai.utils import CommonKeys, convert_to_tensor

from miassr_monai.degradations import RandomDegradation, degraded_pair, parse_degradation
from miassr_monai.geometry import Scale

__all__ = ["DegradeBatch"]

Degrade = Callable[[torch.Tensor, Scale], torch.Tensor]


class DegradeBatch:
    """``prepare_batch`` of MONAI's engines: degrade a batch of HR images by the batch's scale, on the device.

    The target is the part of the HR images that the network's output covers, ``floor(s * lr)`` samples along each axis.

    Args:
        degradation: name, or text with parameters such as ``psf:fwhm=0.8``, see
            :func:`miassr_monai.degradations.parse_degradation`; or a function of images ``(N, C, *size)`` and a scale
            for each axis; or several by name, of which the batch's ``degradation`` is taken; or a
            :class:`RandomDegradation`, which may change the HR images and so the target: what it has drawn is put into
            the batch.
        samples: how many samples of the targets are wanted, drawn at random with torch's generator, none of them twice
            and the same of each; all, in their places, unless given. The network is told which as ``samples``, see
            :meth:`miassr_monai.networks.VolumeGenerator.forward`.

    Raises:
        ValueError: when the degradation is none, or ``samples`` is below 1.
    """

    def __init__(
        self, degradation: str | Degrade | RandomDegradation | Mapping[str, Degrade], *, samples: int | None = None
    ) -> None:
        if samples is not None and samples < 1:
            raise ValueError(f"at least one sample of each target is needed, got {samples}.")
        self.degradation = parse_degradation(degradation) if isinstance(degradation, str) else degradation
        self.samples = samples

    def __call__(
        self, batchdata: MutableMapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, Any]]:
        """Make a pair of a batch with HR images ``image`` ``(N, C, *size)`` and ``scale``.

        A batch that has a ``label`` is a pair already, as :class:`miassr_monai.data.RandomScaleCollate` makes them.

        Returns:
            LR images, HR targets ``(N, C, *size)``, or ``(N, C, samples)``, no positional arguments, and the scale as
            keyword argument of the network, with which samples of the target are wanted.
        """
        moved = {"non_blocking": non_blocking, **kwargs}
        image = convert_to_tensor(batchdata[CommonKeys.IMAGE], track_meta=False).to(device, **moved)
        if CommonKeys.LABEL in batchdata:
            label = convert_to_tensor(batchdata[CommonKeys.LABEL], track_meta=False).to(device, **moved)
        else:
            named = isinstance(self.degradation, Mapping)
            degrade = self.degradation[batchdata["degradation"]] if named else self.degradation
            image, label, drawn = degraded_pair(image, batchdata["scale"], degrade)
            batchdata.update(drawn)
        wanted: dict[str, Any] = {"scale": batchdata["scale"]}
        if self.samples is not None:
            flat = label.flatten(2)
            samples = torch.randperm(flat.size(2), device=flat.device)[: self.samples]
            label, wanted["samples"] = flat[..., samples], samples.expand(len(flat), -1)
        return image, label, (), wanted
