"""Pairs of images as the MIASSR paper tests on."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch
from monai.utils import CommonKeys, convert_to_tensor

from miassr_monai.degradations.paper import paper_matrix
from miassr_monai.geometry import Scale, downscaled_size, scale_per_axis, upscaled_size
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.resampling import apply_matrices, cubic_matrix

__all__ = ["PaperProtocol", "PaperProtocolInferer"]


class PaperProtocol:
    """``prepare_batch`` of an evaluation whose figures shall stand beside those of the MIASSR paper (Zhu et al. 2021).

    The LR image has ``floor(size / s)`` pixels along an axis, the truth ``floor(floor(size / s) * s)``, and both are
    resized from the whole field of view by OpenCV's cubic interpolation, the LR image then blurred as in
    :func:`miassr_monai.degradations.paper_degradation`. In the project's own pairs the LR image ends where its last
    whole pixel does, and the truth is never resized. The scale between the two grids is the ratio of their sizes, which
    is the nominal one or a little less; the networks are given it, and the batch gets it as ``grid_scale``.
    """

    def __call__(
        self, batchdata: MutableMapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, Any]]:
        """Make a pair of a batch with slices ``image`` ``(N, C, H, W)`` and ``scale``.

        Returns:
            LR images, truth, no positional arguments, and the scale for rows and columns as keyword argument.

        Raises:
            ValueError: when the batch is one of volumes.
        """
        image = convert_to_tensor(batchdata[CommonKeys.IMAGE], track_meta=False)
        if image.ndim != 4:
            raise ValueError(f"the paper's protocol is one of slices (N, C, H, W), got the shape {tuple(image.shape)}.")
        image = image.to(device=device, non_blocking=non_blocking, **kwargs)
        scales = scale_per_axis(batchdata["scale"], 2)
        coarse = [downscaled_size(n, s) for n, s in zip(image.shape[2:], scales, strict=True)]
        fine = [upscaled_size(n, s) for n, s in zip(coarse, scales, strict=True)]
        scale = tuple(n / m for n, m in zip(fine, coarse, strict=True))
        batchdata["grid_scale"] = scale
        return resize(image, coarse, paper_matrix), resize(image, fine, cubic_matrix), (), {"scale": scale}


class PaperProtocolInferer(SuperResolutionInferer):
    """Inferer that gives one scale to networks that cannot have one for each axis.

    The two ratios of :class:`PaperProtocol` differ by less than a pixel over the whole image; the larger one leads to
    the truth's size along both axes.
    """

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, scale: Scale, **kwargs: Any
    ) -> torch.Tensor:
        """See :class:`miassr_monai.inferers.SuperResolutionInferer`."""
        if isinstance(scale, Sequence) and not getattr(network, "anisotropic", False):
            scale = max(scale)
        return super().__call__(inputs, network, *args, scale=scale, **kwargs)


def resize(image: torch.Tensor, size: Sequence[int], matrix: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Resample the whole field of view of ``(N, C, H, W)`` to a size, by the matrix that ``matrix`` makes for an axis.

    As in OpenCV's ``resize``, the step from one output sample to the next is the ratio of the sizes.
    """
    return apply_matrices(image, [matrix(n, m, n, m) for n, m in zip(image.shape[2:], size, strict=True)])
