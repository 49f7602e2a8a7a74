import time
from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events

from miassr_monai.handlers import StageTimeLimit, time_limit


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told to."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def train(clock, limit, epochs=3):
    """Train with epochs of four steps: batches take a second, steps two, a validation a thousand; how many steps it
    were."""

    def pass_time(seconds):
        clock.now += seconds

    engine = Engine(lambda engine, batch: pass_time(2.0))
    limit.attach(engine)
    engine.add_event_handler(Events.GET_BATCH_COMPLETED, lambda: pass_time(1.0))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: pass_time(1000.0))
    engine.run(range(4), max_epochs=epochs)
    assert engine.state.training_seconds == limit.seconds
    return engine.state.iteration


@pytest.mark.parametrize(("minutes", "steps"), [(0.01, 1), (0.05, 1), (0.051, 2), (0.3, 6), (0.31, 7), (1.0, 12)])
def test_a_stage_ends_with_the_step_in_which_its_time_is_up(clock, minutes, steps):
    assert train(clock, StageTimeLimit(minutes)) == steps


def test_without_a_limit_time_is_counted_only(clock):
    limit = StageTimeLimit()
    assert train(clock, limit) == 12 and limit.state_dict() == {"seconds": 36.0}


def test_a_stage_that_is_resumed_goes_on_with_its_time(clock):
    limit = StageTimeLimit(0.3)
    limit.load_state_dict({"seconds": 9.0})
    assert train(clock, limit) == 3


def test_the_seconds_are_real():
    engine, limit = Engine(lambda engine, batch: time.sleep(0.02)), StageTimeLimit()
    limit.attach(engine)
    engine.run(range(3), max_epochs=1)
    assert 0.06 <= limit.seconds < 1
