"""Several processes at one task, as `torchrun` or a cluster starts them, by the variables of their environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["number_of_processes", "own_device", "own_rank", "own_share", "start_processes", "stop_processes", "wait"]


def number_of_processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_rank() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("RANK", "0"))


def own_device() -> torch.device:
    """The GPU of this process, one of its machine's, or the CPU where there is none."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")


def own_share(items: Sequence[Any]) -> list[Any]:
    """Every so-manieth item, so that each is in the share of one process."""
    return list(items[own_rank() :: number_of_processes()])


def start_processes(hours: float = 0.5) -> None:
    """Let the processes find each other, and all but the first be quiet.

    They talk by NCCL where there are GPUs, else by Gloo.

    Args:
        hours: for how long one waits for another before it gives up.
    """
    if not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=hours))
    if torch.cuda.is_available():
        torch.cuda.set_device(own_device())
    if own_rank() > 0:
        logging.disable(logging.INFO)


def wait() -> None:
    """Wait until all processes are here."""
    dist.barrier()


def stop_processes() -> None:
    """Let go of the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
