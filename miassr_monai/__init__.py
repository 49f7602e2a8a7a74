"""Arbitrary-scale super-resolution of medical images, as MONAI components."""

from __future__ import annotations

from typing import Any

__version__ = "0.8.0"

__all__ = ["Predictor", "SuperResolve", "SuperResolved"]


def __getattr__(name: str) -> Any:
    # Imported when first used: PyTorch and MONAI take seconds, which the command line's help should not.
    if name in __all__:
        from miassr_monai import prediction

        return getattr(prediction, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
