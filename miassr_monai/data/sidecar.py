"""What the JSON file beside a NIfTI file says, as dcm2niix and BIDS have it."""

from __future__ import annotations

import json
import math
from pathlib import Path

__all__ = ["slice_thickness_beside"]

SUFFIXES = (".nii.gz", ".nii")


def slice_thickness_beside(path: Path) -> float | None:
    """``SliceThickness`` (mm) of the JSON file beside an image; ``None`` where there is none, or no such number.

    Args:
        path: ``scan.nii.gz`` or ``scan.nii``, beside which ``scan.json`` may be.
    """
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        return None
    try:
        content = json.loads(path.with_name(f"{path.name[: -len(suffix)]}.json").read_text(encoding="utf-8"))
    # It is another program's file, and the image is whole without it.
    except (OSError, ValueError, RecursionError):
        return None
    thickness = content.get("SliceThickness") if isinstance(content, dict) else None
    # A truth value is an integer to Python.
    if not isinstance(thickness, (int, float)) or isinstance(thickness, bool) or not 0 < thickness < math.inf:
        return None
    return float(thickness)
