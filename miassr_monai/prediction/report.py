"""What was done to an image, in a form that can be kept beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import torch
from monai.data import MetaTensor

import miassr_monai
from miassr_monai.data.picture import SPACING_KNOWN
from miassr_monai.files import whole_file
from miassr_monai.prediction.model import TrainedModel
from miassr_monai.prediction.plan import Plan
from miassr_monai.transforms.missing_channels import missing_channels

__all__ = ["make_report", "write_report"]


def geometry(image: MetaTensor, spacing: Sequence[float]) -> dict[str, Any]:
    """Shape, type, spacing (mm; of pictures, whose is not known, 1) and affine (the file's unit of length) of an image;
    nothing that names a patient."""
    return {
        "shape": list(image.shape),
        "dtype": str(image.dtype).removeprefix("torch."),
        "spacing": list(spacing[: image.ndim - 1]),
        SPACING_KNOWN: image.meta.get(SPACING_KNOWN, True),
        "affine": image.affine.tolist(),
    }


def make_report(
    source: MetaTensor,
    result: MetaTensor,
    *,
    plan: Plan,
    model: TrainedModel,
    ranges: Sequence[tuple[float, float]],
    warnings: list[str],
    measured: Mapping[str, Any],
    corrected: bool,
    seconds: float,
) -> dict[str, Any]:
    """The report of one super-resolution, as JSON has it.

    Args:
        source, result: the input and the output.
        plan, model: what was asked for, and what made it.
        ranges: for each channel the intensities that were 0 and 1 for the network.
        warnings: what about the request was outside what the model was made for.
        measured: ``rmse`` between the input and the output degraded again, as a part of the intensity range, and
            ``overshoot``, see :func:`miassr_monai.metrics.overshoot`; and the ``adaptation``, see
            :func:`miassr_monai.adaptation.adapt`; ``rmse_of_channels``, ``None`` of one that is missing; and, of CT
            restored at its size, ``projections_error``. Each only if there is any.
        corrected: whether the output was corrected to agree with the input.
        seconds: what it took.
    """
    consistency = None
    if "rmse" in measured:
        rmse = measured["rmse"]
        psnr = -20.0 * math.log10(rmse) if rmse > 0 else None
        consistency = {"rmse": rmse, "psnr_db": psnr, "corrected": corrected}
        if "projections_error" in measured:
            consistency["projections_error"] = measured["projections_error"]
        if len(source) > 1:
            consistency["rmse_of_channels"] = measured["rmse_of_channels"]
    return {
        "input": geometry(source, plan.spacing),
        "output": geometry(result, [step / factor for step, factor in zip(plan.spacing, plan.factors, strict=True)]),
        "scale": list(plan.factors),
        "slice_axis": plan.slice_axis,
        "plane": plan.plane,
        "spatial_dims": plan.spatial_dims,
        "slices": None if plan.slices is None else plan.slices.described(),
        "intensity_ranges": [list(pair) for pair in ranges],
        "missing_channels": missing_channels(source),
        "model": {
            "name": model.name,
            "file": None if model.path is None else model.path.name,
            "sha256": model.sha256,
            "version": model.metadata.get("version"),
            "trained_for": model.trained_for,
        },
        "consistency": consistency,
        "overshoot": measured.get("overshoot"),
        "adaptation": measured.get("adaptation"),
        "warnings": warnings,
        "seconds": round(seconds, 3),
        "versions": {
            "miassr_monai": miassr_monai.__version__,
            "monai": monai.__version__,
            "torch": str(torch.__version__),
        },
    }


def write_report(path: Path, report: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write a report, or those of several images, as JSON, whole or not at all.

    Raises:
        OSError: when the file cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
