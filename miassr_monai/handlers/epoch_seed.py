"""Randomness that depends on the epoch alone."""

from __future__ import annotations

import random

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from torch.utils.data import DataLoader

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed everything random at the start of each epoch from the run's seed and the epoch.

    MONAI's random transforms, such as crops, differ between the processes of a distributed run. Torch's generator does
    not: all processes draw the same scale and degradation for a batch, of which each has its share.

    An epoch then depends on its number and on the state that it starts from alone: a run that is resumed after an epoch
    gives the same numbers as one that was never stopped.

    Args:
        seed: seed of the run.
        data_loader: training data, whose random transforms are seeded too.
    """

    def __init__(self, seed: int, data_loader: DataLoader) -> None:
        self.seed = seed
        self.data_loader = data_loader

    def attach(self, engine: Engine) -> None:
        """Seed before each epoch's first batch is drawn."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed for the epoch that starts."""
        common, own = (
            int(np.random.SeedSequence([self.seed, engine.state.epoch, process]).generate_state(1)[0])
            for process in (0, idist.get_rank())
        )
        random.seed(own)
        np.random.seed(own)
        set_rnd(self.data_loader.dataset, own)
        # By this generator volumes, scales and degradations are drawn.
        torch.manual_seed(common)
