"""Super-resolution of slices and of volumes slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from miassr_monai.geometry import axis_scales, zoomed_affine
from miassr_monai.inferers.tiles import upscale_in_tiles

__all__ = ["SuperResolutionInferer"]


class SuperResolutionInferer(Inferer):
    """Run a 2-D super-resolution network on a batch of images, or of volumes slice by slice.

    MONAI's ``SliceInferer`` drops the scale, and its ``SlidingWindowInferer`` gives wrong sizes at fractional scales. A
    MetaTensor keeps its metadata and gets the affine of the finer grid.

    Args:
        slice_batch_size: slices that go through the network together; it bounds the memory.
        slice_axis: spatial axis across the slices of a volume, which keeps its size.
        tile_size: slices longer than this (LR pixels) along an axis go through the network in tiles of this size, and
            as much around them as the result depends on: the network's ``halo``. The result is that of the whole slice.
            ``None`` makes no tiles.
        amp: run the network under autocast in bfloat16.
        device: where the network is; slices go there and results come back. ``None`` where the inputs are.
        progress: called on an iterable of chunks with ``total``, such as ``tqdm``, to show the progress.

    Raises:
        ValueError: when ``slice_batch_size`` or ``tile_size`` is below 1.
    """

    def __init__(
        self,
        slice_batch_size: int = 4,
        *,
        slice_axis: int = -1,
        tile_size: int | None = None,
        amp: bool = False,
        device: str | torch.device | None = None,
        progress: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        if slice_batch_size < 1:
            raise ValueError(f"slice_batch_size must be at least 1, got {slice_batch_size}.")
        if tile_size is not None and tile_size < 1:
            raise ValueError(f"tile_size must be at least 1 or None, got {tile_size}.")
        self.slice_batch_size = slice_batch_size
        self.slice_axis = slice_axis
        self.tile_size = tile_size
        self.amp = amp
        self.device = device
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
            network: called with slices ``(n, C, h, w)``, ``scale``, and whatever else is given here; with tiles also
                with ``origin``, see :func:`upscale_in_tiles`.
            args: further positional arguments of the network.
            scale: HR samples per LR sample, at least 1, or one for each axis in the plane.
            kwargs: further keyword arguments of the network.

        Returns:
            ``(N, C, floor(s h), floor(s w))``, with the slice axis as it was.

        Raises:
            ValueError: when ``inputs`` has another rank or does not have the slice axis, or tiles are needed of a
                network without a ``halo``.
        """
        if inputs.ndim not in (4, 5):
            raise ValueError(f"inputs must have the shape (N, C, h, w) or (N, C, h, w, d), got {tuple(inputs.shape)}.")
        if inputs.ndim == 5 and not -3 <= self.slice_axis < 3:
            raise ValueError(f"slice_axis must be in [-3, 2], got {self.slice_axis}.")
        data = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        axis = self.slice_axis % 3 + 2
        # (volumes, slices, C, h, w)
        slices = data.unsqueeze(0) if inputs.ndim == 4 else data.movedim(axis, 1)

        def upscale(images: torch.Tensor, **place: Any) -> torch.Tensor:
            return network(images, *args, scale=scale, **kwargs, **place)

        halo = getattr(network, "halo", None)
        chunks = [(i, j) for i in range(slices.size(0)) for j in range(0, slices.size(1), self.slice_batch_size)]
        shown = chunks if self.progress is None else self.progress(chunks, total=len(chunks))
        fine: torch.Tensor | None = None
        for i, j in shown:
            part = self._run(slices[i, j : j + self.slice_batch_size], upscale, scale, halo)
            if fine is None:
                # The results are put in their place at once: a list of them would double the memory.
                shape = [data.size(0), *part.shape[1:]]
                fine = part.new_empty(shape if inputs.ndim == 4 else [*shape[:axis], data.size(axis), *shape[axis:]])
                places = fine.unsqueeze(0) if inputs.ndim == 4 else fine.movedim(axis, 1)
            places[i, j : j + self.slice_batch_size] = part
        if not isinstance(inputs, MetaTensor):
            return fine
        factors = list(axis_scales(scale))
        if inputs.affine.shape[-1] == 4:
            factors.insert(axis - 2 if inputs.ndim == 5 else 2, 1.0)
        result = MetaTensor(fine, meta=inputs.meta, applied_operations=inputs.applied_operations)
        result.affine = zoomed_affine(inputs.affine, factors)
        result.is_batch = inputs.is_batch
        return result

    def _run(
        self,
        images: torch.Tensor,
        upscale: Callable[..., torch.Tensor],
        scale: float | tuple[float, float],
        halo: int | None,
    ) -> torch.Tensor:
        """Super-resolve slices ``(n, C, h, w)``, whole or in tiles."""
        source, dtype = images.device, images.dtype
        images = images.to(self.device or source)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.amp):
            if self.tile_size is None or max(images.shape[2:]) <= self.tile_size:
                fine = upscale(images)
            elif halo is None:
                raise ValueError("slices can only be tiled for a network that has a halo: set tile_size to None.")
            else:
                fine = upscale_in_tiles(images, upscale, scale, tile_size=self.tile_size, halo=halo)
        return fine.to(source, dtype if dtype.is_floating_point else fine.dtype)
