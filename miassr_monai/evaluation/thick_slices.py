"""Thick slices of isotropic volumes, which methods make isotropic again: the task ``through-plane``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.interpolate import make_interp_spline

from miassr_monai.adaptation import Adaptation
from miassr_monai.degradations import parse_degradation
from miassr_monai.evaluation.whole_volumes import Method
from miassr_monai.geometry import nearest_fraction, upscaled_size, zoomed_affine
from miassr_monai.prediction import Predictor, load_model

__all__ = ["ThickSlices", "cubic_spline", "thick_methods"]


@dataclass(frozen=True)
class ThickSlices:
    """Axial slices to make of an isotropic volume.

    Attributes:
        thickness: in mm.
        gap: between slices, in mm.
        profile: see :class:`miassr_monai.prediction.SliceModel`.
        told: the profile that methods are told, where it is not the true one.
    """

    thickness: float
    gap: float = 0.0
    profile: str = "gaussian"
    told: str | None = None

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
    def all_of(
        cls, thickness: Sequence[float], gap: Sequence[float], profile: Sequence[str], told: str | None = None
    ) -> list[ThickSlices]:
        """Every profile with every thickness and gap."""
        return [cls(t, g, p, told) for p, t, g in product(profile, thickness, gap)]

    def see(self, truth: MetaTensor) -> tuple[MetaTensor, tuple[float, ...]]:
        """What the slices see of a volume ``(1, h, w, d)`` in RAS, and the scale along each axis.

        Its ``meta`` tells methods the ``slice_thickness`` and the ``slice_profile``.

        Raises:
            ValueError: when the volume's own slices are not finer, or the scale is above 8.
        """
        step = float(truth.pixdim[2])
        scale = self.spacing / step
        if not 1 < scale <= 8:
            raise ValueError(
                f"slices {self.spacing:g} mm apart are not to be made of a volume whose own are {step:.3g} mm apart: "
                "give scales above 1 and up to 8."
            )
        p, q = nearest_fraction(scale)
        see = parse_degradation("slice_profile", profile=self.profile, thickness=self.thickness / self.spacing)
        affine = zoomed_affine(truth.affine, (1.0, 1.0, q / p))
        thick = MetaTensor(see(truth.as_tensor(), (1.0, scale)), affine=affine)
        thick.meta.update(slice_thickness=self.thickness, slice_profile=self.told or self.profile)
        return thick, (1.0, 1.0, scale)


def cubic_spline(thick: MetaTensor, scales: Sequence[float]) -> torch.Tensor:
    """Interpolation across the slices by a cubic spline through them; past the outermost it goes on as these are."""
    volume, scale = thick.as_tensor().numpy(), scales[-1]
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
) -> dict[str, Method]:
    """Methods by name, which are told the slices' profile.

    Cubic spline and bicubic interpolation; each model as it is and, of those that can be, adapted to the scan; and a
    network that is taught by the scan from nothing. All but the interpolations are corrected to agree with the scan.

    Args:
        models: bundles or weights by name, see :func:`load_model`.
        adaptation: how much.
        device, amp: see :class:`Predictor`.
    """

    def by(model: str | None, adapt: bool | Adaptation = False, consistency: str | None = "project") -> Method:
        loaded = load_model(model, device)
        options: Any = {"slice_axis": 2, "slice_batch_size": 8, "amp": amp, "adapt": adapt, "consistency": consistency}

        def method(thick: MetaTensor, scales: Sequence[float]) -> torch.Tensor:
            predictor = Predictor(loaded, slice_profile=thick.meta["slice_profile"], **options)
            return predictor(thick, scale=scales).as_tensor()

        return method

    methods: dict[str, Method] = {"cubic spline": cubic_spline, "bicubic": by("bicubic", consistency=None)}
    for name, path in models.items():
        methods[name] = by(path)
        if getattr(load_model(path, "cpu").network, "spatial_dims", 2) == 2:
            methods[f"{name}, adapted"] = by(path, adaptation)
    methods["from nothing"] = by("none", adaptation)
    return methods
