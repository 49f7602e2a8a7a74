import itertools
import random

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Randomizable, Transform
from torch.utils.data import RandomSampler

from miassr_monai.handlers import EpochSeed


class Noise(Randomizable, Transform):
    """Each item with a number from the transform's own random state."""

    def __call__(self, item):
        return item, self.R.rand()


def make_loader():
    dataset = Dataset(list(range(100)), Compose([Noise()]))
    return DataLoader(dataset, batch_size=1, sampler=RandomSampler(dataset, num_samples=4))


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def epochs(first, last, *, seed=1, spoil=0):
    """What is drawn and loaded in each epoch of a run that starts at an epoch, with ``spoil`` draws after each."""
    loader = make_loader()
    for _ in range(spoil):
        loader.dataset[0], draw()
    seen = {epoch: [] for epoch in range(first, last + 1)}

    def step(engine, batch):
        seen[engine.state.epoch].append((*(x.item() for x in batch), *draw()))

    engine = Engine(step)
    EpochSeed(seed, loader).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: [draw() for _ in range(spoil)])
    engine.load_state_dict({"epoch": first - 1, "max_epochs": last, "epoch_length": len(loader)})
    engine.run(loader)
    return seen


def test_an_epoch_does_not_depend_on_what_happened_before():
    whole = epochs(1, 4)
    assert epochs(3, 4, spoil=3) == {epoch: whole[epoch] for epoch in (3, 4)}


def test_every_source_of_randomness_changes_with_the_epoch_and_with_the_seed():
    runs = [epochs(1, 3, seed=seed) for seed in (1, 2)]
    firsts = [run[epoch][0] for run in runs for epoch in run]
    for values in zip(*firsts, strict=True):
        assert len(set(values)) == len(firsts)


@pytest.mark.parametrize("source, processes", [(0, 3), (1, 3), (2, 1)], ids=["random", "numpy", "torch"])
def test_neighbouring_seeds_epochs_and_processes_share_no_numbers(monkeypatch, source, processes):
    """But by torch's generator all processes draw the same scale for a batch."""
    loader, seen = make_loader(), set()
    grid = list(itertools.product(range(4), range(1, 5), range(processes)))
    for seed, epoch, rank in grid:
        monkeypatch.setattr(idist, "get_rank", lambda rank=rank: rank)
        engine = Engine(lambda engine, batch: None)
        engine.state.epoch = epoch
        EpochSeed(seed, loader)(engine)
        seen.add(draw()[source])
    assert len(seen) == len(grid)


def test_all_processes_draw_the_same_by_torch_s_generator(monkeypatch):
    loader, seen = make_loader(), set()
    for rank in range(3):
        monkeypatch.setattr(idist, "get_rank", lambda rank=rank: rank)
        engine = Engine(lambda engine, batch: None)
        engine.state.epoch = 2
        EpochSeed(1, loader)(engine)
        seen.add((torch.rand(()).item(), tuple(loader.sampler)))
    assert len(seen) == 1
