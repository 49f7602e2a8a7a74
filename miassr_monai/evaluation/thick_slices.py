"""Thick slices of isotropic volumes, which methods make isotropic again: the task ``through-plane``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import SSIMMetric
from monai.transforms import Compose, Orientation
from scipy.interpolate import make_interp_spline

from miassr_monai.adaptation import Adaptation
from miassr_monai.data import load_volume
from miassr_monai.degradations import parse_degradation
from miassr_monai.evaluation.summary import Record
from miassr_monai.geometry import nearest_fraction, upscaled_size, zoomed_affine
from miassr_monai.metrics import foreground_mask, haarpsi, overshoot
from miassr_monai.prediction import Predictor, load_model
from miassr_monai.transforms import ScaleToUnitRange

__all__ = [
    "PLANES",
    "ThickSlices",
    "compare_on_volume",
    "cubic_spline",
    "isotropic_loader",
    "score_thick",
    "thick_methods",
    "thick_volume",
]

# By the axis across them, in a volume in RAS.
PLANES = ("sagittal", "coronal", "axial")
# Slices that are scored together; it bounds the memory.
CHUNK = 32

Method = Callable[[MetaTensor, float], torch.Tensor]


@dataclass(frozen=True)
class ThickSlices:
    """Axial slices to make of an isotropic volume.

    Attributes:
        thickness: in mm.
        gap: between slices, in mm.
        profile: see :class:`miassr_monai.prediction.SliceModel`.
    """

    thickness: float
    gap: float = 0.0
    profile: str = "gaussian"

    @property
    def spacing(self) -> float:
        """From slice to slice, in mm."""
        return self.thickness + self.gap

    @property
    def name(self) -> str:
        """Such as ``gaussian 3+1 mm``."""
        gap = f"{self.gap:+g}" if self.gap else ""
        return f"{self.profile} {self.thickness:g}{gap} mm"

    @classmethod
    def all_of(cls, thickness: Sequence[float], gap: Sequence[float], profile: Sequence[str]) -> list[ThickSlices]:
        """Every profile with every thickness and gap."""
        return [cls(t, g, p) for p, t, g in product(profile, thickness, gap)]


def isotropic_loader(window: tuple[float, float] | None = None) -> Callable[[Mapping[str, Any]], MetaTensor]:
    """Function that loads the volume of an item: ``(1, h, w, d)`` in RAS, its intensities in [0, 1].

    Args:
        window: intensities that become 0 and 1, as CT needs; the 0th and the 99.95th percentile unless given.
    """
    lower, upper = window or (0.0, 99.95)
    prepare = Compose([Orientation("RAS", labels=None), ScaleToUnitRange(lower, upper, window=window is not None)])

    def load(item: Mapping[str, Any]) -> MetaTensor:
        volume = load_volume(item["image"])
        if volume.ndim != 4 or len(volume) != 1:
            raise ValueError(f"{item['image']} is not a volume of one channel: give one for the truth.")
        return prepare(volume)

    return load


def thick_volume(truth: MetaTensor, slices: ThickSlices) -> tuple[MetaTensor, float]:
    """What slices see of a volume ``(1, h, w, d)`` in RAS, and the scale across them.

    Raises:
        ValueError: when the volume's own slices are not finer, or the scale is above 8.
    """
    step = float(truth.pixdim[2])
    scale = slices.spacing / step
    if not 1 < scale <= 8:
        raise ValueError(
            f"slices {slices.spacing:g} mm apart are not to be made of a volume whose own are {step:.3g} mm apart: "
            "give scales above 1 and up to 8."
        )
    p, q = nearest_fraction(scale)
    see = parse_degradation("slice_profile", profile=slices.profile, thickness=slices.thickness / slices.spacing)
    thick = MetaTensor(see(truth.as_tensor(), (1.0, scale)), affine=zoomed_affine(truth.affine, (1.0, 1.0, q / p)))
    thick.meta["slice_thickness"] = slices.thickness
    return thick, scale


def cubic_spline(thick: MetaTensor, scale: float) -> torch.Tensor:
    """Interpolation across the slices by a cubic spline through them; past the outermost it goes on as these are."""
    volume = thick.as_tensor().numpy()
    count = volume.shape[-1]
    places = (np.arange(upscaled_size(count, scale)) + 0.5) / scale - 0.5
    spline = make_interp_spline(np.arange(count), volume, k=min(3, count - 1), axis=-1)
    return torch.from_numpy(spline(places.clip(0, count - 1))).float()


def thick_methods(
    models: Mapping[str, str | None],
    *,
    adaptation: Adaptation,
    device: str | None = None,
    amp: bool = False,
) -> dict[str, Callable[[str], Method]]:
    """Methods by name, each made for what is told of the slices' profile.

    Cubic spline and bicubic interpolation; each model as it is and, of those that can be, adapted to the scan; and a
    network that is taught by the scan from nothing. All but the interpolations are corrected to agree with the scan.

    Args:
        models: bundles or weights by name, see :func:`load_model`.
        adaptation: how much.
        device, amp: see :class:`Predictor`.
    """

    def by(model: str | None, adapt: bool | Adaptation = False, consistency: str | None = "project"):
        loaded = load_model(model, device)

        def made(profile: str) -> Method:
            options: Any = {"slice_axis": 2, "slice_profile": profile, "slice_batch_size": 8, "amp": amp}
            predictor = Predictor(loaded, adapt=adapt, consistency=consistency, **options)
            return lambda thick, scale: predictor(thick, scale=(1.0, 1.0, scale)).as_tensor()

        return made

    methods: dict[str, Callable[[str], Method]] = {"cubic spline": lambda _: cubic_spline}
    methods["bicubic"] = by("bicubic", consistency=None)
    for name, path in models.items():
        methods[name] = by(path)
        if getattr(load_model(path, "cpu").network, "spatial_dims", 2) == 2:
            methods[f"{name}, adapted"] = by(path, adaptation)
    methods["from nothing"] = by("none", adaptation)
    return methods


def planes_of(fine: torch.Tensor, truth: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """The slices ``(N, 1, h, w)`` of volumes ``(1, h, w, d)`` in each of the planes, where these show anything."""
    for axis, plane in enumerate(PLANES):
        made, wanted = (volume[0].movedim(axis, 0)[:, None] for volume in (fine, truth))
        shown = wanted.flatten(1).amax(1) > wanted.flatten(1).amin(1)
        yield plane, made[shown], wanted[shown]


def score_thick(fine: torch.Tensor, truth: torch.Tensor, thick: torch.Tensor, scale: float) -> dict[str, float]:
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
    scores["overshoot"] = overshoot(thick, fine, (1.0, 1.0, scale))["share"]
    return scores


def decibels(squared_error: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of a mean squared error, in dB."""
    return -10.0 * float(np.log10(max(squared_error.item(), 1e-12)))


def compare_on_volume(
    truth: MetaTensor,
    conditions: Sequence[ThickSlices],
    methods: Mapping[str, Callable],
    told: str | None = None,
    device: str | None = None,
) -> Iterator[Record]:
    """The measures of every method on one volume in [0, 1], for every kind of slices.

    Args:
        truth: isotropic, or nearly so, ``(1, h, w, d)`` in RAS.
        conditions: the slices.
        methods: see :func:`thick_methods`.
        told: the profile that methods are told, where it is not the true one.
        device: where to score; the first GPU, or the CPU where there is none, unless given.
    """
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for slices in conditions:
        thick, scale = thick_volume(truth, slices)
        wanted = truth.as_tensor()[..., : upscaled_size(thick.shape[-1], scale)]
        for name, make in methods.items():
            start = time.perf_counter()
            fine = make(told or slices.profile)(thick, scale)
            seconds = time.perf_counter() - start
            scores = score_thick(fine.to(place), wanted.to(place), thick.as_tensor().to(place), scale)
            yield {"slices": slices.name, "method": name, **scores, "seconds": seconds}
