"""What is asked of a super-resolution, axis by axis, and what a careful user should know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd

from miassr_monai.bundle import UNTRAINED
from miassr_monai.data.picture import SPACING_KNOWN
from miassr_monai.geometry import upscaled_size
from miassr_monai.prediction.model import TrainedModel
from miassr_monai.prediction.slice_model import NOT_KNOWN, SliceModel, make_slice_model
from miassr_monai.transforms.missing_channels import missing_channels

__all__ = ["Plan", "check_request", "make_plan", "warnings_of"]

Number = TypeVar("Number", int, float)

MAX_SCALE = 8.0
# Spacings that differ by less than this part count as equal: headers are rounded.
TOLERANCE = 1e-3
# NIfTI's codes of a unit of length, in mm.
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# A part of the voxels at the highest intensity above which an image looks clipped.
CLIPPED_SHARE = 0.005
# Slices that are farther apart than this times their pixels are thick ones, whose thickness matters.
THICK = 1.5
# The Hounsfield units of air and of nothing else.
LOWEST_MR = -500
# Below this scale across slices, adaptation was seen to make the foreground worse, which held-out slices do not tell.
LEAST_ADAPTED = 2.5


@dataclass(frozen=True)
class Plan:
    """What to do with a volume ``(C, h, w, d)``.

    Attributes:
        factors: HR samples per LR sample along each axis.
        slice_axis: spatial axis across the slices.
        spacing: of the input, in mm.
        shape: of the input.
        plane: that the slices are nearest to: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        spatial_dims: what the network sees: 2 for slices, 3 for volumes.
        slices: how thick the slices are, where there is a scale across them and the network sees slices; else ``None``.
    """

    factors: tuple[float, float, float]
    slice_axis: int
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    plane: str
    spatial_dims: int = 2
    slices: SliceModel | None = None

    @property
    def seen(self) -> list[int]:
        """The axes that the network sees."""
        return seen_axes(self.spatial_dims, self.slice_axis)

    @property
    def in_plane(self) -> tuple[float, float]:
        """Factors of the two axes of a slice."""
        first, second = (f for axis, f in enumerate(self.factors) if axis != self.slice_axis)
        return first, second

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of the result."""
        rows, columns, slices = (upscaled_size(n, f) for n, f in zip(self.shape, self.factors, strict=True))
        return rows, columns, slices

    @property
    def through_plane(self) -> float:
        """Factor across the slices."""
        return self.factors[self.slice_axis]

    @property
    def thick(self) -> bool:
        """Whether slices are much farther apart than their pixels."""
        return self.spacing[self.slice_axis] > THICK * max(self.spacing[axis] for axis in seen_axes(2, self.slice_axis))


def seen_axes(spatial_dims: int, slice_axis: int) -> list[int]:
    """The axes of a volume that a network sees: those of a slice, or all."""
    return [axis for axis in range(3) if spatial_dims == 3 or axis != slice_axis]


def find_slice_axis(shape: Sequence[int], spacing: Sequence[float]) -> int:
    """The axis across the slices.

    It is the one with one sample. Else two axes that agree in spacing, but for rounding, are the plane, and the odd one
    out goes across; where all agree, the last one does, and where all differ, the one with the largest spacing.
    """
    single = [axis for axis, size in enumerate(shape) if size == 1]
    if single:
        return single[-1]
    differences = []
    for axis in range(3):
        first, second = (step for a, step in enumerate(spacing) if a != axis)
        differences.append(abs(first - second) / max(first, second))
    if max(differences) <= TOLERANCE:
        return 2
    if min(differences) <= TOLERANCE:
        return differences.index(min(differences))
    return list(spacing).index(max(spacing))


def plane_across(affine: torch.Tensor, axis: int) -> str:
    """Name of the plane that is the most perpendicular to an axis of an image with an affine in RAS."""
    return ("sagittal", "coronal", "axial")[int(affine[:3, axis].abs().argmax())]


def check_request(
    scale: float | Sequence[float] | None, spacing: float | Sequence[float] | None
) -> tuple[str, list[float]]:
    """Which of a scale and a spacing is given, and its numbers.

    Raises:
        ValueError: when not one of the two is given, it is not one to three numbers, or these are out of their range.
    """
    if spacing is not None and scale is None:
        wanted = as_numbers(spacing, "spacing")
        if min(wanted) <= 0:
            raise ValueError(f"the spacing must be above 0 mm, got {spacing}.")
        return "spacing", wanted
    if scale is None or spacing is not None:
        raise ValueError("give a scale or a spacing, one of the two.")
    values = as_numbers(scale, "scale")
    if not all(1 - TOLERANCE < value <= MAX_SCALE for value in values):
        raise ValueError(f"the scale must be in [1, {MAX_SCALE:g}] along each axis, got {scale}.")
    return "scale", values


def make_plan(
    image: MetaTensor,
    *,
    scale: float | Sequence[float] | None,
    spacing: float | Sequence[float] | None,
    slice_axis: int | None,
    spatial_dims: int = 2,
    same_size: bool = False,
    slice_thickness: float | str | None = None,
    slice_profile: str = "gaussian",
) -> Plan:
    """Factors of an image for a wanted scale or spacing.

    Args:
        image: ``(C, h, w)``, which is a slice, or ``(C, h, w, d)``, with its affine.
        scale: HR samples per LR sample: one number for the axes that the network sees, or one for each axis.
        spacing: wanted, in mm: one number for all axes, or one for each. An axis of one sample keeps its own.
        slice_axis: spatial axis across the slices; see :func:`find_slice_axis` where it is not given.
        spatial_dims: what the network sees: 2 for slices, 3 for volumes.
        same_size: whether there is something to do at scale 1 along every axis, see :class:`Degradation`.
        slice_thickness, slice_profile: see :func:`make_slice_model`.

    Raises:
        ValueError: when not one of ``scale`` and ``spacing`` is given, or what is given cannot be done.
    """
    given, values = check_request(scale, spacing)
    if given == "spacing" and not image.meta.get(SPACING_KNOWN, True):
        raise ValueError("the size of a picture's pixels is not known: give a scale instead of a spacing.")
    if spatial_dims == 3 and image.ndim == 3:
        raise ValueError(f"the model works on volumes, but the image is a slice {tuple(image.shape)}: give a volume.")
    unit = MILLIMETRES.get(int(image.meta.get("xyzt_units", 0)) % 8, 1.0)
    affine = to_affine_nd(3, image.affine)
    steps = in_three(float(step) * unit for step in affine[:3, :3].norm(dim=0))
    shape = in_three((*image.shape[1:], 1)[:3])
    if image.ndim == 3:
        slice_axis = 2
    axis = find_slice_axis(shape, steps) if slice_axis is None else slice_axis
    if axis not in range(-3, 3):
        raise ValueError(f"slice_axis must be 0, 1 or 2, got {axis}.")
    axis %= 3
    seen = seen_axes(spatial_dims, axis)
    if given == "scale":
        factors = [values[0] if a in seen else 1.0 for a in range(3)] if len(values) == 1 else pad(values, axis, 1.0)
    else:
        wanted = values * 3 if len(values) == 1 else pad(values, axis, steps[axis])
        factors = [1.0 if n == 1 else step / w for n, step, w in zip(shape, steps, wanted, strict=True)]
        # Spacings that are equal but for rounding are meant to have one scale, which every network can do.
        for a in seen[1:]:
            if abs(factors[seen[0]] - factors[a]) < TOLERANCE * factors[a]:
                factors[a] = factors[seen[0]]
    factors = [1.0 if abs(f - 1.0) < TOLERANCE else f for f in factors]
    check_factors(factors, steps, spacing)
    if max(factors) == 1.0 and not same_size:
        raise ValueError(
            "there is nothing to do: the scale is 1 along every axis. Give a larger one, or the degradation that "
            "an image of this size has, such as sparse_view_ct."
        )
    if any(f > 1 and n == 1 for f, n in zip(factors, shape, strict=True)):
        raise ValueError("an axis with one sample cannot be super-resolved: give it the scale 1.")
    slices = None
    if spatial_dims == 2 and factors[axis] > 1:
        slices = make_slice_model(image, steps, axis, thickness=slice_thickness, profile=slice_profile)
    return Plan(in_three(factors), axis, steps, shape, plane_across(affine, axis), spatial_dims, slices)


def in_three(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    """Three values, one for each axis."""
    first, second, third = values
    return first, second, third


def as_numbers(value: float | Sequence[float], name: str) -> list[float]:
    """One number or a sequence of them as a list."""
    try:
        numbers = [] if isinstance(value, str) else [float(v) for v in np.atleast_1d(value)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2, 3):
        raise ValueError(f"{name} must be a number or one number for each axis, got {value!r}.")
    return numbers


def pad(values: list[float], axis: int, own: float) -> list[float]:
    """Two values for the axes of a slice, and the slice axis's own."""
    return [*values[:axis], own, *values[axis:]] if len(values) == 2 else values


def check_factors(factors: list[float], steps: tuple[float, ...], spacing: Any) -> None:
    """Refuse factors that cannot be done: those of a spacing, because those of a scale have been checked."""
    for axis, factor in enumerate(factors):
        if not 1.0 <= factor <= MAX_SCALE:
            raise ValueError(
                f"axis {axis} has a spacing of {steps[axis]:.4g} mm, and {spacing} would be a scale of {factor:.4g} "
                f"along it: give a spacing for each axis that leads to scales in [1, {MAX_SCALE:g}]."
            )


def within(value: float, low: float, high: float) -> bool:
    """Whether a value is in a range, but for rounding."""
    return low * (1 - TOLERANCE) <= value <= high * (1 + TOLERANCE)


def trained_scales(trained: Mapping[str, Any], plan: Plan, axis: int) -> tuple[float, float, str]:
    """The scales along an axis that a model was trained for, and a word on where these are of an axis alone."""
    low, high = trained.get("scales", (0.0, float("inf")))
    # Across slices, each orthogonal plane has a scale along one axis only.
    across = plan.spatial_dims == 2 and axis == plan.slice_axis
    alone = across or all(plan.factors[other] == 1 for other in plan.seen if other != axis)
    if alone and "one_axis_scales" in trained:
        return *trained["one_axis_scales"], " along one axis"
    return low, high, ""


def warnings_of(
    image: MetaTensor, plan: Plan, model: TrainedModel, window: Sequence[float] | None, *, adapted: bool = False
) -> list[str]:
    """What about an image and a plan is outside what the model was made for, in sentences.

    A model that is ``adapted`` to the image learns its modality and what is done across the slices.
    """
    found: list[str] = []
    trained = model.trained_for
    axes = [axis for axis, f in enumerate(plan.factors) if f > 1 and not (adapted and axis == plan.slice_axis)]
    for factor, axis in sorted(((plan.factors[axis], axis) for axis in axes), reverse=True):
        low, high, of = trained_scales(trained, plan, axis)
        if not within(factor, low, high):
            found.append(
                f"the scale {factor:.4g} is outside the range that the model was trained for, {low:g} to {high:g}{of}."
            )
            break
    low, high = trained.get("spacing_mm", (0.0, float("inf")))
    known = image.meta.get(SPACING_KNOWN, True)
    made = [plan.spacing[axis] / plan.factors[axis] for axis in axes if known]
    if not all(within(step, low, high) for step in made):
        shown = " to ".join(dict.fromkeys(f"{step:.3g}" for step in (min(made), max(made))))
        found.append(f"the spacing made, {shown} mm, is outside that of the training images, {low:g} to {high:g} mm.")
    modality = image.meta.get("modality")
    by_intensity = modality is None and image.min().item() <= LOWEST_MR
    kind = "CT" if by_intensity else modality
    modalities = trained.get("modalities")
    if modalities and not adapted and kind not in (None, *modalities):
        named = "CT, by its intensities," if by_intensity else kind
        found.append(f"the image is {named} and the model was trained on {' and '.join(modalities)}.")
    if kind == "CT" and window is None:
        found.append("CT without a window: give the Hounsfield units that matter, such as window=(-160, 240).")
    if not getattr(model.network, "anisotropic", False):
        if len({plan.factors[axis] for axis in plan.seen}) > 1:
            whose = "a slice" if plan.spatial_dims == 2 else "the volume"
            found.append(f"the axes of {whose} have unequal scales, which the model cannot do: the rest is bicubic.")
        if plan.spatial_dims == 2 and plan.through_plane > 1:
            found.append(
                "the model has no weights for the axis across the slices: it is upscaled by bicubic interpolation."
            )
    elif plan.slices is not None and plan.slices.source == NOT_KNOWN and plan.thick:
        found.append(
            f"the thickness of the slices is not known and taken to be their distance, {plan.slices.thickness:.3g} mm: "
            "give it where there are gaps between slices, or where they overlap."
        )
    if adapted and model.name != UNTRAINED and 1 < plan.through_plane < LEAST_ADAPTED:
        found.append(
            f"the slices are only {plan.through_plane:.3g} times as far apart as the voxels made: there, adapting the "
            "model was seen to gain little, and to lose up to 0.4 dB in the head: leave adapt out."
        )
    there = [channel for number, channel in enumerate(image) if number not in missing_channels(image)]
    # One voxel is always the highest, which in a small image is a large part.
    clipped = max((channel == channel.max()).sum().item() - 1 for channel in there) / image[0].numel()
    if clipped > CLIPPED_SHARE:
        found.append(f"{clipped:.1%} of the voxels have the highest intensity: the image looks clipped.")
    return found
