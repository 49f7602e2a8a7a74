import copy
import logging
import math

import pytest
import torch
from monai.engines import SupervisedTrainer

from miassr_monai.handlers import DiscardLoss


def make_batch(seed, value=None, key="image"):
    generator = torch.Generator().manual_seed(seed)
    batch = {name: torch.rand(2, 3, generator=generator) for name in ("image", "label")}
    if value is not None:
        batch[key][0, 0] = value
    return batch


BAD = pytest.mark.parametrize(
    "bad",
    [
        make_batch(2, math.inf),
        make_batch(2, math.nan, "label"),
        make_batch(2, -math.inf, "label"),
        make_batch(2, 1e12, "label"),
    ],
    ids=["infinite input", "nan target", "infinite target", "beyond the limit"],
)
TO_NONE = pytest.mark.parametrize("to_none", [True, False])


def train(batches, to_none=True, loss_limit=1e8):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 3)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=copy.deepcopy(batches),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1),
        loss_function=torch.nn.L1Loss(),
        train_handlers=[DiscardLoss(loss_limit)],
        optim_set_to_none=to_none,
        decollate=False,
    )
    trainer.run()
    return trainer


def assert_same_state(first, second):
    torch.testing.assert_close(first.network.state_dict(), second.network.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(first.optimizer.state_dict(), second.optimizer.state_dict(), rtol=0, atol=0)


@BAD
@TO_NONE
def test_a_bad_batch_leaves_no_trace(bad, to_none):
    trainer = train([make_batch(0), make_batch(1), bad, make_batch(3), bad], to_none)
    assert_same_state(trainer, train([make_batch(0), make_batch(1), make_batch(3)], to_none))
    assert trainer.state.discarded == 2


@BAD
@TO_NONE
def test_a_bad_batch_at_the_start_leaves_no_trace(bad, to_none):
    assert_same_state(train([bad, make_batch(1)], to_none), train([make_batch(1)], to_none))


def test_good_steps_are_those_of_the_trainer_alone():
    trainer = train([make_batch(0), make_batch(1)])
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 3)
    adam = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)
    for seed in range(2):
        batch = make_batch(seed)
        adam.zero_grad()
        (network(batch["image"]) - batch["label"]).abs().mean().backward()
        adam.step()
    torch.testing.assert_close(trainer.network.state_dict(), network.state_dict(), rtol=0, atol=1e-7)
    assert trainer.state.discarded == 0


def test_the_limit_is_the_one_that_is_given():
    loss = train([make_batch(0)]).state.output["loss"].item()
    assert train([make_batch(0)], loss_limit=loss).state.discarded == 0
    assert train([make_batch(0)], loss_limit=math.nextafter(loss, 0)).state.discarded == 1
    assert DiscardLoss().loss_limit == 1e8


def test_the_count_survives_a_restart_and_each_discarded_step_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        state = train([make_batch(0), make_batch(1, math.nan)]).state_dict()
    assert state["discarded"] == 1
    assert "discarded a step at iteration 2: its loss is nan (1 discarded so far)" in caplog.text
    resumed = train([make_batch(0), make_batch(1)])
    resumed.load_state_dict(state)
    assert resumed.state.discarded == 1
