"""Discarding of training steps whose loss is not usable."""

from __future__ import annotations

import math

import ignite.distributed as idist
import torch

__all__ = ["usable"]


def usable(loss: torch.Tensor, limit: float) -> bool:
    """Whether a loss is finite and its magnitude at most ``limit``, in every process of a distributed run."""
    value = loss.item()
    good = math.isfinite(value) and abs(value) <= limit
    return bool(idist.all_reduce(float(good), "MIN"))
