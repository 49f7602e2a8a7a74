"""Super-resolution of whatever a user has: a file, an array, a tensor or a MetaTensor."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import nn

from miassr_monai.adaptation import Adaptation, adapt, in_whole_pixels
from miassr_monai.bundle import UNTRAINED
from miassr_monai.data.volume import cast_voxels
from miassr_monai.degradations import parse_degradation
from miassr_monai.geometry import scale_per_axis
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.memory import available_memory, gibibytes
from miassr_monai.metrics import back_project, consistency_rmse, overshoot, projections_error
from miassr_monai.prediction.images import as_volume, dtype_of, on_fine_grid
from miassr_monai.prediction.model import TrainedModel, load_model
from miassr_monai.prediction.plan import Plan, make_plan, warnings_of
from miassr_monai.prediction.pretrained import load_pretrained
from miassr_monai.prediction.report import make_report
from miassr_monai.prediction.slice_model import ESTIMATE
from miassr_monai.resampling import bicubic_axis
from miassr_monai.transforms.missing_channels import missing_channels
from miassr_monai.transforms.unit_range import intensity_range
from miassr_monai.volume_files import DTYPES

__all__ = ["Predictor", "SuperResolutionWarning"]

CONSISTENCY = ("report", "project", None)
# A part of the free memory above which a result is large.
LARGE_SHARE = 0.5
# A part of the largest float32 that intensities may span, so that nothing that is computed from them overflows.
MAX_SPAN = torch.finfo(torch.float32).max / 8


class SuperResolutionWarning(UserWarning):
    """A request is outside what the model was made for."""


class Predictor:
    """Super-resolve images and volumes: construct once, call often.

    A network on volumes super-resolves these as a whole. A network on slices does so in their plane; where a scale
    across the slices is asked for, too, one for unequal scales goes through both orthogonal planes and the results are
    averaged, and one without upscales that axis by bicubic interpolation, which the report says.

    Args:
        model: bundle folder; weights file; ``"bicubic"``; a network; or ``None`` for the bundle of this package.
        device: where to run; the first GPU, or the CPU where there is none, unless given.
        amp: run the network in bfloat16: faster on processors and GPUs that have it, and a little less exact.
        percentiles: of each channel, that become 0 and 1 for the network.
        window: intensities that become 0 and 1 instead, as CT needs: (lower, upper) in Hounsfield units.
        degradation: how the input came about, such as ``"sparse_view_ct:views=128"``, see
            :func:`miassr_monai.degradations.parse_degradation`: what the consistency is measured by, and whether there
            is something to restore at scale 1. What the model was trained for, unless given.
        slice_axis: spatial axis across the slices. Unless given, two axes that agree in spacing are the plane of the
            slices; where all differ, the largest spacing goes across, and where all agree, the last axis does.
        slice_thickness: in mm, where the file does not say it or says it wrongly, or ``"estimate"``, see
            :func:`miassr_monai.adaptation.estimate_slice_thickness`; what a DICOM header or the JSON file beside a
            NIfTI file says, or else the distance between slices, unless given. It says how the slices across which
            there is a scale are degraded again.
        slice_profile: of a slice: ``"gaussian"``, ``"box"`` or ``"rf"``, see :class:`SliceModel`.
        slice_batch_size: slices that go through the network together.
        tile_size: slices longer than this (LR pixels) along an axis go through the network in tiles; it bounds the
            memory, not the result.
        consistency: ``"report"`` measures how far the output, degraded again, is from the input, and how far it leaves
            the input's local range; ``"project"`` first corrects the output by iterated back-projection; ``None`` does
            neither.
        adapt: teach a copy of the network the very scan before it super-resolves it: it learns from the scan's own
            slices, made as coarse along one axis as the scan is across them. For a scale across slices that are fine in
            their plane, by a network on slices that can do unequal scales. Weights that are not better on slices that
            were held out are not used, which the report says. Unless ``consistency`` is ``None`` the output is
            corrected. ``True``, or an :class:`Adaptation` that says for how long.
        dtype: of the result: ``"float32"``; an integer type such as ``"int16"``, for which it is rounded and clipped;
            or ``"input"``, the type of the input, where floating-point numbers are float32.
        fill_missing: of an image whose channels are several files, super-resolve the others where one is missing, with
            0 in its place, instead of refusing it.
        strict: raise a ``ValueError`` where there would be a warning.
        progress: show the progress, such as ``tqdm``; called on an iterable with ``total``.

    Raises:
        FileNotFoundError: when there is no such model.
        ValueError: when the model cannot be used, or another argument is out of its range.

    Attributes:
        model: the :class:`TrainedModel`.
        adapted: the network that made the last result, with ``adapt``.
        report: of the last call, as JSON has it: geometry of input and output (spacings in mm, affines in the file's
            unit), intensities that were 0 and 1 for the network, model, versions, time, warnings, consistency.

    Example::

        predictor = Predictor()
        fine = predictor("t1.nii.gz", scale=2.5)
        print(fine.affine, predictor.report["consistency"])
    """

    def __init__(
        self,
        model: str | os.PathLike | nn.Module | TrainedModel | None = None,
        *,
        device: str | torch.device | None = None,
        amp: bool = False,
        percentiles: tuple[float, float] = (0.0, 99.95),
        window: tuple[float, float] | None = None,
        degradation: str | None = None,
        slice_axis: int | None = None,
        slice_thickness: float | str | None = None,
        slice_profile: str = "gaussian",
        slice_batch_size: int = 1,
        tile_size: int | None = 512,
        consistency: str | None = "report",
        adapt: bool | Adaptation = False,
        dtype: str = "float32",
        fill_missing: bool = False,
        strict: bool = False,
        progress: Callable[..., Any] | None = None,
    ) -> None:
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            raise ValueError(f"window must be two intensities, the lower one first, got {window}.")
        if not (len(percentiles) == 2 and 0 <= percentiles[0] < percentiles[1] <= 100):
            raise ValueError(f"percentiles must be two numbers in [0, 100], the lower one first, got {percentiles}.")
        if consistency not in CONSISTENCY:
            raise ValueError(f"consistency must be one of {CONSISTENCY}, got {consistency!r}.")
        if dtype not in ("input", *DTYPES):
            raise ValueError(f"dtype must be 'input' or one of {', '.join(DTYPES)}, got {dtype!r}.")
        number = isinstance(slice_thickness, (int, float)) and 0 < slice_thickness < math.inf
        if not (number or slice_thickness in (ESTIMATE, None)):
            raise ValueError(f"slice_thickness must be a number of mm above 0, or 'estimate', got {slice_thickness!r}.")
        self.model = model if isinstance(model, TrainedModel) else load_model(model, device)
        self.percentiles = percentiles
        self.window = window
        self.slice_axis = slice_axis
        self.slice_thickness = slice_thickness
        self.slice_profile = slice_profile
        self.consistency = consistency
        self.dtype = dtype
        known = parse_degradation(degradation or self.model.trained_for.get("consistency", "paper"))
        if consistency == "project" and not known.linear:
            raise ValueError(
                f"consistency='project' needs a linear degradation, which {known.kind} is not: give 'report' or None."
            )
        self.same_size = known.same_size
        self.degradation = known.in_window(window).noiseless
        self.adaptation = Adaptation() if adapt is True else adapt or None
        check_adaptation(self.model, self.adaptation)
        self.adapted: nn.Module | None = None
        self.amp, self.progress = amp, progress
        self.fill_missing = fill_missing
        self.strict = strict
        parameter = next(self.model.network.parameters(), None)
        self.device = None if parameter is None else parameter.device
        self.inferer = partial(
            SuperResolutionInferer,
            slice_batch_size,
            tile_size=tile_size,
            amp=amp,
            device=self.device,
            progress=progress,
        )
        # Refuses batch and tile sizes that cannot be.
        self.inferer()
        self.report: dict[str, Any] = {}

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        *,
        device: str | torch.device | None = None,
        sha256: str | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> Predictor:
        """A predictor with a model that others share; none of its code or configuration is run.

        Args:
            source: bundle folder; weights file; zip of a bundle, as MONAI's Model Zoo has it; or the name of a
                repository ``owner/name`` on the Hugging Face Hub with the files of a bundle.
            device: where to run; the first GPU, or the CPU where there is none, unless given.
            sha256: what the hash of the weights must be.
            revision: branch, tag or commit of the repository on the Hub.
            options: other arguments of :class:`Predictor`.

        Raises:
            FileNotFoundError: when there is no such model.
            ImportError: when it is on the Hub, and ``huggingface_hub`` is not installed.
            ValueError: when the hash is another, or the model or an option cannot be used.

        Example::

            predictor = Predictor.from_pretrained("brain_mri_arbitrary_scale_super_resolution.zip", tile_size=256)
        """
        return cls(load_pretrained(source, device, sha256=sha256, revision=revision), **options)

    def __call__(
        self,
        image: str | os.PathLike | Sequence[str | os.PathLike | None] | np.ndarray | torch.Tensor,
        *,
        scale: float | Sequence[float] | None = None,
        spacing: float | Sequence[float] | None = None,
    ) -> MetaTensor:
        """Super-resolve an image.

        Args:
            image: file or DICOM folder, see :func:`load_volume`; several, which are its channels, ``None`` for one that
                is missing; or channel first ``(C, h, w)`` or ``(C, h, w, d)``. Each channel (time, echo, modality) is
                super-resolved by itself by a network with one channel; one with more sees as many together. Only files
                and a MetaTensor have an affine; anything else has a spacing of 1.
            scale: HR samples per LR sample: one number for the axes that the network sees, those of a slice or all; or
                one for each axis.
            spacing: wanted, in mm: one number for all axes, or one for each.

        Returns:
            ``(C, floor(s h), floor(s w)[, floor(s d)])`` on the CPU, in the input's intensity units, with the affine of
            the finer grid and the input's ``meta``. What MONAI's readers and writers keep there of the grid
            (``spatial_shape``, ``original_affine``, ``dim``, ``pixdim``) becomes that of the finer grid. A channel that
            is missing is 0.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the image, the scale or the spacing cannot be worked on, or there is not enough memory for
                the result; with ``strict``, also where there would be a warning.
        """
        start = time.perf_counter()
        given = as_volume(image, self.fill_missing)
        dtype = self.dtype if self.dtype != "input" else dtype_of(image, given)
        plan = make_plan(
            given,
            scale=scale,
            spacing=spacing,
            slice_axis=self.slice_axis,
            spatial_dims=self.spatial_dims,
            same_size=self.same_size,
            slice_thickness=self.slice_thickness,
            slice_profile=self.slice_profile,
        )
        found = self.check(given, plan)
        volume, missing = given.as_tensor().reshape(-1, *plan.shape), missing_channels(given)
        fine, ranges, measured = self.run(volume, plan, missing)
        result = on_fine_grid(cast_voxels(fine, dtype), given, plan)
        self.report = make_report(
            given,
            result,
            plan=plan,
            model=self.model,
            ranges=ranges,
            warnings=found,
            measured=measured,
            corrected=self.corrects,
            seconds=time.perf_counter() - start,
        )
        return result

    @property
    def spatial_dims(self) -> int:
        """What the network sees: 2 for slices, 3 for volumes."""
        return getattr(self.model.network, "spatial_dims", 2)

    @property
    def corrects(self) -> bool:
        """Whether results are corrected to agree with their inputs."""
        return self.consistency == "project" or (self.consistency is not None and self.adaptation is not None)

    @property
    def channels(self) -> int:
        """Channels that the network sees together."""
        return getattr(self.model.network, "in_channels", 1)

    def check(self, image: MetaTensor, plan: Plan) -> list[str]:
        """Refuse what the network cannot do, and warn the caller of :meth:`__call__` of what it was not made for."""
        if image.shape[0] % self.channels:
            raise ValueError(
                f"the model needs {self.channels} channels, but the image has {image.shape[0]}: give the volumes of "
                "all channels together, or another model."
            )
        low, high = (value.item() for value in image.as_tensor().aminmax())
        if high - low > MAX_SPAN:
            raise ValueError(f"the intensities, {low:.3g} to {high:.3g}, are too large to compute with: divide them.")
        found = warnings_of(image, plan, self.model, self.window, adapted=self.adaptation is not None)
        found += check_memory(image.size(0), plan)
        if found and self.strict:
            raise ValueError(found[0])
        for message in found:
            warnings.warn(message, SuperResolutionWarning, stacklevel=3)
        return found

    def range_of(self, channel: torch.Tensor) -> tuple[float, float]:
        """Intensities of a channel that become 0 and 1."""
        lower, upper = self.window or self.percentiles
        return intensity_range(channel, lower, upper, self.window is not None)

    def run(
        self, volume: torch.Tensor, plan: Plan, missing: Sequence[int] = ()
    ) -> tuple[torch.Tensor, list[tuple[float, float]], dict[str, Any]]:
        """Super-resolve a volume ``(C, h, w, d)`` in its own units; also the channels' ranges and what was measured."""
        there = [number for number in range(len(volume)) if number not in missing]
        ranges = [self.range_of(volume[number]) if number in there else (0.0, 1.0) for number in range(len(volume))]
        unit = torch.empty_like(volume)
        for channel, source, (low, high) in zip(unit, volume, ranges, strict=True):
            torch.sub(source, low, out=channel).div_(high - low)
        measured: dict[str, Any] = {}
        network = self.model.network
        if self.adaptation is not None:
            network, measured["adaptation"] = self.adapt_to(unit, plan, self.adaptation)
            self.adapted = network
        fine = self.super_resolve(unit, plan, network)
        again: dict[str, Any] = {"factors": plan.factors, "degradation": self.degradation}
        again["slice_axis"] = plan.slice_axis if plan.spatial_dims == 2 else None
        if plan.slices is not None:
            again["across"] = plan.slices.degradation
        if self.corrects:
            fine = back_project(unit, fine, **again, device=self.device)
        if self.consistency is not None:
            each = {n: consistency_rmse(unit[n : n + 1], fine[n : n + 1], **again) for n in there}
            measured["rmse"] = math.hypot(*each.values()) / math.sqrt(len(each))
            measured["rmse_of_channels"] = [each.get(number) for number in range(len(volume))]
            if self.degradation.kind == "sparse_view_ct" and max(plan.factors) == 1:
                parameters = self.degradation.parameters
                measured["projections_error"] = projections_error(unit, fine, plan.slice_axis, parameters)
            # A list of channels would copy them.
            kept = there if missing else slice(None)
            measured["overshoot"] = overshoot(unit[kept], fine[kept], plan.factors)
        for channel, (low, high) in zip(fine, ranges, strict=True):
            channel.mul_(high - low).add_(low)
        # What a network makes up where it has not seen anything is no image of the patient.
        fine[list(missing)] = 0
        # Neither isfinite, which copies what it looks at, nor a sum, which may overflow.
        if not torch.stack(fine.aminmax()).isfinite().all():
            raise ValueError(
                f"the result is not finite: intensities of {volume.min().item():.3g} to {volume.max().item():.3g} are "
                "too far apart for the network: clip them, or give a window."
            )
        return fine, ranges, measured

    def adapt_to(self, volume: torch.Tensor, plan: Plan, settings: Adaptation) -> tuple[nn.Module, dict[str, Any]]:
        """A network that knows a volume ``(C, h, w, d)`` with intensities in [0, 1], and how it came about."""
        if plan.slices is None:
            raise ValueError("there is no scale across the slices that a model could be adapted to: leave adapt out.")
        slices = volume.unflatten(0, (-1, self.channels)).movedim(plan.slice_axis + 2, 1).flatten(0, 1)
        first, second = (step for axis, step in enumerate(plan.spacing) if axis != plan.slice_axis)
        # Slices are turned, so that an axis of theirs is either one.
        pixel = math.sqrt(first * second)
        spacing, fine = in_whole_pixels(plan.spacing[plan.slice_axis] / pixel, plan.through_plane)
        return adapt(
            self.model.network,
            slices,
            plan.slices.degradation,
            spacing=spacing,
            fine=fine,
            settings=settings,
            untrained=self.model.name == UNTRAINED,
            corrected=self.corrects,
            amp=self.amp,
            progress=self.progress,
        )

    @torch.no_grad()
    def super_resolve(self, volume: torch.Tensor, plan: Plan, network: nn.Module) -> torch.Tensor:
        """Super-resolve a volume ``(C, h, w, d)`` with intensities in [0, 1]: in plane, then across the slices."""
        slice_axis = plan.slice_axis
        anisotropic = getattr(network, "anisotropic", False)
        volume = volume.unflatten(0, (-1, self.channels))
        wanted = tuple(plan.factors[axis] for axis in plan.seen)
        scale = wanted if anisotropic else min(wanted)
        done = [1.0, 1.0, 1.0]
        for axis, factor in zip(plan.seen, scale_per_axis(scale, plan.spatial_dims), strict=True):
            done[axis] = factor
        if max(done) > 1 or max(plan.factors) == 1:
            volume = self.inferer(slice_axis=slice_axis)(volume, network, scale=scale)
        if anisotropic and done[slice_axis] != plan.through_plane:
            views = []
            for axis in plan.seen:
                scales = tuple(plan.through_plane if a == slice_axis else 1.0 for a in range(3) if a != axis)
                views.append(self.inferer(slice_axis=axis)(volume, network, scale=scales))
            volume = views[0].add_(views[1]).div_(2)
            done[slice_axis] = plan.through_plane
        for axis in range(3):
            if done[axis] != plan.factors[axis]:
                volume = bicubic_axis(volume, axis + 2, plan.output_shape[axis], done[axis], plan.factors[axis])
        return volume.flatten(0, 1)


def check_adaptation(model: TrainedModel, adaptation: Adaptation | None) -> None:
    """Refuse to adapt a model that cannot be, and one that has to be adapted as it is."""
    if adaptation is None and model.name == UNTRAINED:
        raise ValueError(
            f"the model {UNTRAINED!r} knows nothing: adapt it to the scan (adapt=True, --adapt), or give another."
        )
    network = model.network
    usable = getattr(network, "anisotropic", False) and getattr(network, "spatial_dims", 2) == 2
    if adaptation is not None and not (usable and any(True for _ in network.parameters())):
        raise ValueError(
            f"the model {model.name!r} cannot be adapted to a scan: give one with weights, on slices, that can do "
            "unequal scales, such as the built-in one."
        )


def check_memory(channels: int, plan: Plan) -> list[str]:
    """Refuse a result that does not fit in memory, and warn of one that takes much of it.

    It is held once, beside a copy of it or the images that are averaged.
    """
    size = plan.output_shape
    needed, free = 4 * channels * math.prod(size) * (3 if plan.through_plane > 1 else 2), available_memory()
    shown = f"the result, {' x '.join(map(str, size))} voxels, needs about {gibibytes(needed)} of memory"
    if free is None or needed < LARGE_SHARE * free:
        return []
    if needed > free:
        raise ValueError(f"{shown}, but {gibibytes(free)} are free: give a smaller --scale, or crop the image.")
    return [f"{shown} of the {gibibytes(free)} that are free."]
