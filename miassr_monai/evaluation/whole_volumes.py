"""Volumes made coarse, which methods make fine again, scored as a whole: the task ``volume``, and what others share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import SSIMMetric
from monai.transforms import CenterSpatialCrop, Compose, Orientation

from miassr_monai.data import load_volume
from miassr_monai.degradations import Degradation, named_degradations
from miassr_monai.evaluation.summary import Record
from miassr_monai.geometry import Scale, format_scale, nearest_fraction, scale_per_axis, upscaled_size, zoomed_affine
from miassr_monai.memory import PeakMemory
from miassr_monai.metrics import foreground_mask, haarpsi, overshoot
from miassr_monai.prediction import Predictor
from miassr_monai.transforms import ScaleToUnitRange

__all__ = [
    "PLANES",
    "DegradedVolume",
    "Method",
    "compare_on_volume",
    "score_volume",
    "volume_loader",
    "volume_methods",
]

# By the axis across them, in a volume in RAS.
PLANES = ("sagittal", "coronal", "axial")
# Slices that are scored together; it bounds the memory.
CHUNK = 32
# Voxels longer than this times their shortest side are slices, and no truth for what is between them.
ELONGATED = 1.5

Scales = tuple[float, ...]
Method = Callable[[MetaTensor, Scales], torch.Tensor]


class Condition(Protocol):
    """A way in which volumes become coarse."""

    @property
    def name(self) -> str:
        """What to call it in tables."""

    def see(self, truth: MetaTensor) -> tuple[MetaTensor, Scales]:
        """The coarse volume of a fine one, with its affine, and the scale along each axis that undoes it."""


@dataclass(frozen=True)
class DegradedVolume:
    """A volume that is degraded along all axes whose scale is above 1.

    Attributes:
        text: what the degradation is called.
        degradation: how.
        scales: HR samples per LR sample along each axis.
    """

    text: str
    degradation: Degradation
    scales: Scales

    @property
    def name(self) -> str:
        """Such as ``psf x2`` or ``psf x1x1x3``."""
        equal = len(set(self.scales)) == 1
        return f"{self.text} x{format_scale(self.scales[0] if equal else self.scales)}"

    @classmethod
    def all_of(cls, degradations: Sequence[str], scales: Sequence[Scale]) -> list[DegradedVolume]:
        """Every degradation with every scale.

        Raises:
            ValueError: when a text is no degradation, or a scale is 1, below, or of two axes.
        """
        chosen = list(dict.fromkeys(tuple(map(float, scale_per_axis(scale, 3))) for scale in scales))
        for scale in chosen:
            for value in scale:
                nearest_fraction(value)
            if max(scale) == 1:
                raise ValueError("a volume at scale 1 is the truth: give scales above 1.")
        return [cls(text, d, s) for (text, d), s in product(named_degradations(degradations).items(), chosen)]

    def see(self, truth: MetaTensor) -> tuple[MetaTensor, Scales]:
        """The degraded volume of a truth ``(1, h, w, d)``.

        Raises:
            ValueError: when its voxels are far from cubes, or it is too small.
        """
        steps = [float(step) for step in truth.pixdim]
        if max(steps) > ELONGATED * min(steps):
            shown = " x ".join(f"{step:.3g}" for step in steps)
            raise ValueError(f"voxels of {shown} mm are too long to tell what is within them: give others.")
        factors = [q / p for p, q in map(nearest_fraction, self.scales)]
        coarse = self.degradation(truth.as_tensor(), self.scales)
        return MetaTensor(coarse, affine=zoomed_affine(truth.affine, factors)), self.scales


def volume_loader(
    window: tuple[float, float] | None = None, crop: float | Sequence[float] | None = None
) -> Callable[[Mapping[str, Any]], MetaTensor]:
    """Function that loads the volume of an item: ``(1, h, w, d)`` in RAS, its intensities in [0, 1].

    Args:
        window: intensities that become 0 and 1, as CT needs; the 0th and the 99.95th percentile unless given.
        crop: voxels of the middle part that is taken, one number or one for each axis; all unless given.

    Raises:
        ValueError: when ``crop`` is not one or three whole numbers above 0.
    """
    lower, upper = window or (0.0, 99.95)
    size = list(crop) if isinstance(crop, Sequence) else [-1 if crop is None else crop] * 3
    if len(size) != 3 or any(n != int(n) or n < 1 for n in size if crop is not None):
        raise ValueError(f"crop must be one or three whole numbers of voxels, got {crop}.")
    prepare = Compose(
        [
            Orientation("RAS", labels=None),
            ScaleToUnitRange(lower, upper, window=window is not None),
            CenterSpatialCrop([int(n) for n in size]),
        ]
    )

    def load(item: Mapping[str, Any]) -> MetaTensor:
        volume = load_volume(item["image"])
        if volume.ndim != 4 or len(volume) != 1:
            raise ValueError(f"{item['image']} is not a volume of one channel: give one for the truth.")
        return prepare(volume)

    return load


def volume_methods(
    models: Mapping[str, str | None], *, device: str | None = None, amp: bool = False
) -> dict[str, Method]:
    """Methods by name: ``tricubic`` interpolation, and models for slices or for volumes.

    A model for slices does the plane first; across the slices it goes through both orthogonal planes, whose results are
    averaged, see :class:`Predictor`. Nobody is told the degradation, and results are not corrected.

    Args:
        models: bundles or weights by name, see :func:`load_model`.
        device, amp: see :class:`Predictor`.

    Raises:
        ValueError: when a model is called ``tricubic``, or cannot be used.
    """
    if "tricubic" in models:
        raise ValueError("'tricubic' is the name of the interpolation: give --model another name.")

    def by(model: str | None) -> Method:
        predictor = Predictor(model, slice_axis=2, slice_batch_size=8, consistency=None, device=device, amp=amp)
        return lambda coarse, scales: predictor(coarse, scale=scales).as_tensor()

    return {name: by(path) for name, path in {"tricubic": "bicubic", **models}.items()}


def planes_of(fine: torch.Tensor, truth: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """The slices ``(N, 1, h, w)`` of volumes ``(1, h, w, d)`` in each of the planes, where these show anything."""
    for axis, plane in enumerate(PLANES):
        made, wanted = (volume[0].movedim(axis, 0)[:, None] for volume in (fine, truth))
        shown = wanted.flatten(1).amax(1) > wanted.flatten(1).amin(1)
        yield plane, made[shown], wanted[shown]


def score_volume(
    fine: torch.Tensor, truth: torch.Tensor, coarse: torch.Tensor, scales: Sequence[float]
) -> dict[str, float]:
    """Measures of a volume ``(1, h, w, d)``; the data range is 1.

    Returns:
        ``psnr`` (dB) of the volume and ``psnr_foreground``; ``ssim_axial``, ``ssim_coronal``, ``ssim_sagittal`` and
        ``haarpsi``, means over the slices, the latter over those of all planes; ``overshoot``, the share of voxels that
        leave the input's local range, see :func:`miassr_monai.metrics.overshoot`.
    """
    error = (fine - truth).square()
    mask = foreground_mask(truth.movedim(-1, 0)).movedim(0, -1)
    ssim: Any = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="none")
    scores = {"psnr": decibels(error.mean()), "psnr_foreground": decibels(error[mask].mean())}
    alike = []
    for plane, made, wanted in planes_of(fine, truth):
        pairs = list(zip(made.split(CHUNK), wanted.split(CHUNK), strict=True))
        scores[f"ssim_{plane}"] = torch.cat([ssim(a, b).flatten() for a, b in pairs]).mean().item()
        alike += [haarpsi(a.clamp(0, 1), b.clamp(0, 1)).flatten() for a, b in pairs]
    scores["haarpsi"] = torch.cat(alike).mean().item()
    scores["overshoot"] = overshoot(coarse, fine, tuple(scales))["share"]
    return scores


def decibels(squared_error: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of a mean squared error, in dB."""
    return -10.0 * float(np.log10(max(squared_error.item(), 1e-12)))


def compare_on_volume(
    truth: MetaTensor,
    conditions: Sequence[Condition],
    methods: Mapping[str, Method],
    device: str | None = None,
) -> Iterator[Record]:
    """The measures of every method on one volume in [0, 1], under every condition.

    Besides :func:`score_volume`, these are the ``seconds`` it took, the ``processor_seconds`` of all cores together
    and, where the system tells, ``peak_gib``: how much more memory it held at most than before, of the GPU where that
    is where models run.

    Args:
        truth: isotropic, or nearly so, ``(1, h, w, d)`` in RAS.
        conditions: how it becomes coarse.
        methods: called with the coarse volume and the scale along each axis.
        device: where to score; the first GPU, or the CPU where there is none, unless given.
    """
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for condition in conditions:
        coarse, scales = condition.see(truth)
        sizes = [upscaled_size(n, s) for n, s in zip(coarse.shape[1:], scales, strict=True)]
        wanted = truth.as_tensor()[(slice(None), *map(slice, sizes))]
        for name, method in methods.items():
            start, worked = time.perf_counter(), time.process_time()
            with PeakMemory(where) as peak:
                fine = method(coarse, scales)
            cost = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - worked}
            if peak.size is not None:
                cost["peak_gib"] = peak.size / 2**30
            scores = score_volume(fine.to(where), wanted.to(where), coarse.as_tensor().to(where), scales)
            yield {"input": condition.name, "method": name, **scores, **cost}
