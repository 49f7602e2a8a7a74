"""What was done to an image, in a form that can be kept beside it."""

from __future__ import annotations

import math
from typing import Any

import monai
import torch
from monai.data import MetaTensor

import miassr_monai
from miassr_monai.prediction.model import TrainedModel
from miassr_monai.prediction.plan import Plan

__all__ = ["make_report"]


def geometry(volume: MetaTensor) -> dict[str, Any]:
    """Shape, spacing and affine of an image; nothing that could name a patient."""
    return {
        "shape": list(volume.shape),
        "spacing": [float(step) for step in volume.pixdim],
        "affine": volume.affine.tolist(),
    }


def make_report(
    source: MetaTensor,
    result: MetaTensor,
    plan: Plan,
    model: TrainedModel,
    warnings: list[str],
    rmse: float | None,
    seconds: float,
) -> dict[str, Any]:
    """The report of one super-resolution, as JSON has it.

    Args:
        source: the input.
        result: the output.
        plan: what was asked for.
        model: what made it.
        warnings: what about the request was outside what the model was made for.
        rmse: consistency: root mean squared difference between the input and the output degraded again, as a part of
            the intensity range; ``None`` where it was not measured.
        seconds: what it took.
    """
    consistency = None
    if rmse is not None:
        consistency = {"rmse": rmse, "psnr_db": -20.0 * math.log10(rmse) if rmse > 0 else None}
    return {
        "input": geometry(source),
        "output": geometry(result),
        "scale": list(plan.factors),
        "slice_axis": plan.slice_axis,
        "model": {
            "name": model.name,
            "file": None if model.path is None else model.path.name,
            "sha256": model.sha256,
            "version": model.metadata.get("version"),
            "trained_for": model.trained_for,
        },
        "consistency": consistency,
        "warnings": warnings,
        "seconds": round(seconds, 3),
        "versions": {
            "miassr_monai": miassr_monai.__version__,
            "monai": monai.__version__,
            "torch": str(torch.__version__),
        },
    }
