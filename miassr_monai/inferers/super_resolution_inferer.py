"""Super-resolution of slices, of volumes slice by slice, and of volumes as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from miassr_monai.geometry import Scale, scale_per_axis, upscaled_size, zoomed_affine
from miassr_monai.inferers.constant_border import content_parts
from miassr_monai.inferers.tiles import Tile, cut_tiles

__all__ = ["SuperResolutionInferer"]


class Job(NamedTuple):
    """One call of the network: on a tile of images ``(n, C, *size)``, for some of the images of a group."""

    images: torch.Tensor
    group: int
    members: slice
    tile: Tile


class SuperResolutionInferer(Inferer):
    """Run a super-resolution network on a batch of images or volumes.

    What the network sees follows from its attributes: from ``spatial_dims``, slices (2, also where it has none), to
    which a volume goes slice by slice, or volumes (3); and from ``in_channels``, if it has that, how many channels at
    once, so that a network with one channel takes each by itself. MONAI's ``SliceInferer`` drops the scale, and its
    ``SlidingWindowInferer`` gives wrong sizes at fractional scales. A MetaTensor keeps its metadata and gets the affine
    of the finer grid.

    Without gradients, a border that has one value in all slices of a volume, as air has after skull stripping, costs
    the time of one slice, see :func:`content_parts`.

    Args:
        slice_batch_size: slices, or volumes, that go through the network together; it bounds the memory.
        slice_axis: spatial axis across the slices of a volume, which keeps its size; only for networks on slices.
        tile_size: slices longer than this (LR pixels) along an axis go through the network in tiles of this size, and
            as much around them as the result depends on: the network's ``halo``. The result is that of the whole slice.
            Tiles of a volume have as many voxels: 512 makes them 64 long. ``None`` makes no tiles.
        amp: run the network under autocast in bfloat16.
        device: where the network is; slices go there and results come back. ``None`` where the inputs are.
        progress: called on an iterable of the network's calls with ``total``, such as ``tqdm``, to show the progress.

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
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, scale: Scale, **kwargs: Any
    ) -> torch.Tensor:
        """Super-resolve ``inputs`` along the axes that the network sees.

        Args:
            inputs: ``(N, C, h, w)`` or ``(N, C, h, w, d)``.
            network: called with slices ``(n, C, h, w)`` or volumes ``(n, C, h, w, d)``, ``scale``, and whatever else is
                given here; with a part of them also with ``origin``, the LR sample of the whole at which it begins, and
                where the network says ``needs_whole_size`` with ``whole_size``, the LR samples of the whole, and where
                it says ``makes_wanted`` with ``wanted``, the part of its output that is kept.
            args: further positional arguments of the network.
            scale: HR samples per LR sample, at least 1, or one for each axis that the network sees.
            kwargs: further keyword arguments of the network. With ``samples``, the network makes single samples, for
                which all images go through it at once and whole.

        Returns:
            ``(N, C, floor(s h), floor(s w)[, floor(s d)])``, with the slice axis as it was for a network on slices; or
            with ``samples`` what the network makes.

        Raises:
            ValueError: when ``inputs`` has another rank, channels that cannot be grouped for the network, or does not
                have the slice axis, the scale has another number of axes, or tiles are needed of a network without a
                ``halo``.
        """
        spatial_dims = getattr(network, "spatial_dims", 2)
        if inputs.ndim not in (spatial_dims + 2, 5):
            shapes = "(N, C, h, w) or (N, C, h, w, d)" if spatial_dims == 2 else "(N, C, h, w, d)"
            raise ValueError(f"inputs must have the shape {shapes}, got {tuple(inputs.shape)}.")
        by_slices = inputs.ndim > spatial_dims + 2
        if by_slices and not -3 <= self.slice_axis < 3:
            raise ValueError(f"slice_axis must be in [-3, 2], got {self.slice_axis}.")
        data = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        data = in_groups(data, getattr(network, "in_channels", data.size(1)))
        axis = self.slice_axis % 3 + 2
        # (groups, images, C, *size): a group's images are the slices of a volume, or all that there are.
        groups = data.movedim(axis, 1) if by_slices else data.unsqueeze(0)
        scales = scale_per_axis(scale, spatial_dims)
        if kwargs.get("samples") is not None:
            return self._call(data, partial(network, *args, scale=scale, **kwargs))
        jobs = self._plan(groups, scales, getattr(network, "halo", None))
        shown = jobs if self.progress is None else self.progress(jobs, total=len(jobs))
        size = [upscaled_size(n, s) for n, s in zip(groups.shape[3:], scales, strict=True)]
        whole = {"whole_size": groups.shape[3:]} if getattr(network, "needs_whole_size", False) else {}
        makes_wanted = getattr(network, "makes_wanted", False)
        fine = places = data.new_empty(0)
        for job in shown:
            part = self._run(
                job, lambda images, **place: network(images, *args, scale=scale, **kwargs, **place), whole, makes_wanted
            )
            if fine.numel() == 0:
                # The results are put in their place at once: a list of them would double the memory.
                shape = [len(data), part.size(1), *size]
                if by_slices:
                    shape.insert(axis, data.size(axis))
                fine = part.new_empty(shape)
                places = fine.movedim(axis, 1) if by_slices else fine.unsqueeze(0)
            places[(job.group, job.members, slice(None), *job.tile.made)] = part
        fine = fine.unflatten(0, (len(inputs), -1)).flatten(1, 2)
        if not isinstance(inputs, MetaTensor):
            return fine
        factors = list(scales)
        if spatial_dims == 2 and inputs.affine.shape[-1] == 4:
            factors.insert(axis - 2 if by_slices else 2, 1.0)
        result = MetaTensor(fine, meta=inputs.meta, applied_operations=inputs.applied_operations)
        result.affine = zoomed_affine(inputs.affine, factors)
        result.is_batch = inputs.is_batch
        return result

    def _plan(self, groups: torch.Tensor, scales: Sequence[float], halo: int | None) -> list[Job]:
        """The calls of the network that make the whole result; later ones overwrite what earlier ones made."""
        size = groups.shape[3:]
        tile_size = None if self.tile_size is None else max(1, round(self.tile_size ** (2 / len(size))))
        if halo is None and tile_size is not None and max(size) > tile_size:
            raise ValueError("images can only be tiled for a network that has a halo: set tile_size to None.")

        def tiles(part: Sequence[slice] | None = None) -> list[Tile]:
            return cut_tiles(size, scales, tile_size=tile_size, halo=halo or 0, part=part)

        jobs: list[Job] = []
        for group, images in enumerate(groups):
            chunks = images.split(self.slice_batch_size)
            content = None if halo is None or torch.is_grad_enabled() else content_parts(chunks, halo)
            if content is not None:
                border, parts = content
                jobs += [Job(border, group, slice(None), tile) for tile in tiles()]
            for number, chunk in enumerate(chunks):
                start = number * self.slice_batch_size
                members = slice(start, start + len(chunk))
                part = None if content is None else parts[number]
                jobs += [Job(chunk, group, members, tile) for tile in tiles(part)]
        return jobs

    def _run(
        self, job: Job, network: Callable[..., torch.Tensor], whole: Mapping[str, Any], makes_wanted: bool
    ) -> torch.Tensor:
        """The part of the result that a job makes; ``whole`` is what a network is told beside the place of a part."""
        images, tile = job.images[(..., *job.tile.seen)], job.tile
        place = {} if images.shape == job.images.shape else {"origin": tile.origin, **whole}
        if makes_wanted:
            return self._call(images, partial(network, **place, wanted=tile.place))
        return self._call(images, lambda part: network(part, **place)[(..., *tile.place)])

    def _call(self, images: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What a network makes of images, where these are and of their type."""
        source, dtype = images.device, images.dtype
        images = images.to(self.device or source)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.amp):
            fine = network(images)
        return fine.to(source, dtype if dtype.is_floating_point else fine.dtype)


def in_groups(images: torch.Tensor, channels: int) -> torch.Tensor:
    """Images ``(N, C, *size)`` as ``(N * C / channels, channels, *size)``, which a network sees one by one.

    Raises:
        ValueError: when the channels of an image are not groups of so many.
    """
    if images.size(1) % channels:
        raise ValueError(f"the network needs images of {channels} channels, but these have {images.size(1)}.")
    return images.unflatten(1, (-1, channels)).flatten(0, 1)
