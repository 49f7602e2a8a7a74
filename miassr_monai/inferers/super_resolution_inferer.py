"""Super-resolution of slices and of volumes slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from miassr_monai.geometry import axis_scales, zoomed_affine

__all__ = ["SuperResolutionInferer"]


class SuperResolutionInferer(Inferer):
    """Run a 2-D super-resolution network on a batch of images, or of volumes slice by slice.

    MONAI's ``SliceInferer`` drops the scale, and its ``SlidingWindowInferer`` gives wrong sizes at fractional scales. A
    MetaTensor keeps its metadata and gets the affine of the finer grid.

    Args:
        slice_batch_size: slices that go through the network together; it bounds the memory.
        slice_axis: spatial axis across the slices of a volume, which keeps its size.
        progress: called on an iterable of chunks with ``total``, such as ``tqdm``, to show the progress.

    Raises:
        ValueError: when ``slice_batch_size`` is below 1.
    """

    def __init__(
        self, slice_batch_size: int = 4, *, slice_axis: int = -1, progress: Callable[..., Any] | None = None
    ) -> None:
        super().__init__()
        if slice_batch_size < 1:
            raise ValueError(f"slice_batch_size must be at least 1, got {slice_batch_size}.")
        self.slice_batch_size = slice_batch_size
        self.slice_axis = slice_axis
        self.progress = progress

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,
        scale: float | tuple[float, float],
        **kwargs: Any,
    ) -> torch.Tensor:
        """Super-resolve ``inputs`` in the plane of the slices.

        Args:
            inputs: ``(N, C, h, w)`` or ``(N, C, h, w, d)``.
            network: called with slices ``(n, C, h, w)``, ``scale``, and whatever else is given here.
            args: further positional arguments of the network.
            scale: HR samples per LR sample, at least 1, or one for each axis in the plane.
            kwargs: further keyword arguments of the network.

        Returns:
            ``(N, C, floor(s h), floor(s w))``, with the slice axis as it was.

        Raises:
            ValueError: when ``inputs`` has another rank.
        """
        if inputs.ndim not in (4, 5):
            raise ValueError(f"inputs must have the shape (N, C, h, w) or (N, C, h, w, d), got {tuple(inputs.shape)}.")
        data = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        axis = self.slice_axis % (inputs.ndim - 2) + 2
        slices = data if inputs.ndim == 4 else data.movedim(axis, 1).flatten(0, 1)
        chunks = slices.split(self.slice_batch_size)
        shown = chunks if self.progress is None else self.progress(chunks, total=len(chunks))
        image = torch.cat([network(chunk, *args, scale=scale, **kwargs) for chunk in shown])
        if inputs.ndim == 5:
            image = image.unflatten(0, (data.size(0), -1)).movedim(1, axis).contiguous()
        if not isinstance(inputs, MetaTensor):
            return image
        factors = list(axis_scales(scale))
        if inputs.affine.shape[-1] == 4:
            factors.insert(axis - 2 if inputs.ndim == 5 else 2, 1.0)
        result = MetaTensor(image, meta=inputs.meta, applied_operations=inputs.applied_operations)
        result.affine = zoomed_affine(inputs.affine, factors)
        result.is_batch = inputs.is_batch
        return result
