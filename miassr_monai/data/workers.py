"""Processes that load the training data."""

from __future__ import annotations

from monai.data import set_track_meta
from monai.data.utils import worker_init_fn

__all__ = ["start_worker"]


def start_worker(worker_id: int) -> None:
    """``worker_init_fn`` of a data loader whose random transforms need no metadata.

    Seeds the transforms as MONAI does. Keeping the affine of every patch up to date takes most of the time of random
    crops, flips and turns, and training has no use for it.
    """
    worker_init_fn(worker_id)
    set_track_meta(False)
