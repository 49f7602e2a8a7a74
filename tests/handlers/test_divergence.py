import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from miassr_monai.handlers import DiscardLoss, StopOnDivergence
from miassr_monai.handlers.divergence import is_diverging

NAN = math.nan


def run(outputs, **options):
    """Feed outputs of steps to the handler; how many there were, and whether it was diverging after each."""
    seen, engine = [], Engine(lambda engine, output: output)
    StopOnDivergence(**options).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(is_diverging(engine)))
    engine.state.discarded = 0
    engine.run(outputs, max_epochs=1)
    return seen


@pytest.mark.parametrize("bad", [10.5, -10.5, 1e7, math.inf, NAN])
def test_so_many_bad_steps_in_a_row_stop_the_training(bad):
    good = {"loss": 10.0}
    outputs = [good, *2 * [{"loss": bad}], good, *2 * [{"loss": bad}]]
    assert run(outputs, steps=3) == [False, True, True, False, True, True]
    with pytest.raises(RuntimeError) as caught:
        run([*outputs, {"loss": bad}, good], steps=3)
    assert str(caught.value) == (
        "the training has diverged: 3 steps in a row, up to step 7, were discarded or had a loss above 10. "
        "Lower the learning_rate, or set a gradient_limit."
    )


def test_of_a_joint_loss_the_pixels_count():
    assert run([{"loss": -5e4, "l1": 0.1}], steps=2) == [False]
    assert run([{"loss": 0.1, "l1": 11.0}], steps=2) == [True]
    assert run([{"loss": 0.1, "l1": 11.0}], steps=2, loss_limit=11.0) == [False]


def train(steps, bad_from):
    """Train on images, from some step on with NaN."""
    network = torch.nn.Linear(2, 1)
    good, bad = ({"image": torch.full((1, 2), value), "label": torch.ones(1, 1)} for value in (1.0, NAN))
    batches = [bad if step >= bad_from else good for step in range(90)]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1e-3),
        loss_function=torch.nn.L1Loss(),
        train_handlers=[StopOnDivergence(steps=steps), DiscardLoss()],
    )
    trainer.run()
    return trainer


def test_discarded_steps_are_bad_whatever_is_said_of_their_loss():
    assert train(20, bad_from=71).state.bad_steps == 19
    with pytest.raises(RuntimeError, match="20 steps in a row, up to step 90, were"):
        train(20, bad_from=70)


def test_another_run_counts_anew():
    engine = Engine(lambda engine, output: output)
    StopOnDivergence(steps=3).attach(engine)
    for _ in range(3):
        engine.run(2 * [{"loss": NAN}], max_epochs=1)
