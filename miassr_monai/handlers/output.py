"""Reading an engine's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.utils import is_scalar

__all__ = ["mean_over_processes", "scalar_output"]


def scalar_output(output: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The scalars, such as losses, in an engine's output, decollated or not."""
    first = output if isinstance(output, Mapping) else output[0]
    scalars = {name: value for name, value in first.items() if is_scalar(value) and not isinstance(value, str)}
    return {name: value.item() if isinstance(value, torch.Tensor) else float(value) for name, value in scalars.items()}


def mean_over_processes(value: float) -> float:
    """The mean of a number over the processes of a distributed run, all of which have to ask for it."""
    return float(idist.all_reduce(value)) / idist.get_world_size()
