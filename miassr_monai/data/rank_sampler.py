"""Shares of one batch for several processes."""

from __future__ import annotations

from collections.abc import Iterator

import ignite.distributed as idist
from torch.utils.data import Sampler

__all__ = ["RankSampler"]


class RankSampler(Sampler[int]):
    """The part of each batch that belongs to this process of a distributed run.

    Together the processes see what a single one would: the batches of the sampler, which has to draw the same in all of
    them (see :class:`miassr_monai.handlers.EpochSeed`).

    Args:
        sampler: places in the data set.
        batch_size: of the whole batch, a multiple of the number of processes.

    Raises:
        ValueError: when the batch cannot be shared out.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int) -> None:
        processes = idist.get_world_size()
        if batch_size % processes:
            raise ValueError(
                f"a batch of {batch_size} volumes cannot be shared among {processes} processes: give a batch_size that "
                f"is a multiple of samples_per_volume times {processes}."
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.share = batch_size // processes

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size * self.share  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        first = idist.get_rank() * self.share
        for number, place in enumerate(self.sampler):
            if (
                number // self.batch_size * self.share < len(self)
                and 0 <= number % self.batch_size - first < self.share
            ):
                yield place
