import sys

import pytest
from ignite.engine import Engine, Events

from miassr_monai.handlers import StageProgress


def run(losses, epochs=2, *, key="loss", resumed_at=0, **options):
    """A progress bar after a run whose iterations have these losses."""
    engine = Engine(lambda engine, loss: {key: loss, "other": 99.0})
    engine.load_state_dict({"iteration": resumed_at, "max_epochs": epochs, "epoch_length": len(losses) // epochs})
    progress = StageProgress("warm-up", **options)
    progress.attach(engine)
    engine.run(losses)
    return progress


def last_line(capsys):
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


def test_the_bar_shows_title_count_and_loss(capsys):
    run([0.25] * 8)
    line = last_line(capsys)
    assert line.startswith("warm-up: 100%")
    assert "8/8" in line
    assert "loss 0.2500" in line


def test_the_loss_is_smoothed_over_about_fifty_iterations(capsys):
    losses = [5.0, 1.0, 3.0, 2.0]
    run(losses)
    smoothed = losses[0]
    for loss in losses[1:]:
        smoothed = 0.98 * smoothed + 0.02 * loss
    assert f"loss {smoothed:.4f}" in last_line(capsys)


def test_another_scalar_can_be_shown(capsys):
    run([2.0, 2.0], key="critic_loss", loss="critic_loss")
    assert "critic_loss 2.0000" in last_line(capsys)


def test_the_bar_can_do_without_a_loss_and_count_something_else(capsys):
    run([1.0, 1.0], loss=None, unit="volume")
    line = last_line(capsys)
    assert "volume/s" in line
    assert "loss" not in line


def test_a_resumed_run_starts_at_its_iteration(capsys):
    progress = run([1.0] * 8, resumed_at=4)
    assert progress.bar.initial == 4
    assert progress.bar.n == 8
    assert "4/8" in capsys.readouterr().err.strip().split("\r")[0]


def test_what_is_printed_after_the_last_iteration_comes_below_the_full_bar(capsys):
    engine = Engine(lambda engine, loss: {"loss": loss})
    StageProgress("warm-up").attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: print("a table", file=sys.stderr))
    engine.run([1.0, 1.0])
    *_, bar, table = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert bar.startswith("warm-up: 100%") and table == "a table"


def test_an_unfinished_bar_stays_where_it_was_and_the_error_is_raised(capsys):
    engine = Engine(lambda engine, batch: {"loss": 1 / (2 - batch)})
    StageProgress("gan").attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([0, 1, 2, 3])
    assert "2/4" in last_line(capsys)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_every_kind_of_interruption_is_passed_on(error):
    def stop(engine, batch):
        raise error

    engine = Engine(stop)
    StageProgress("gan").attach(engine)
    with pytest.raises(error):
        engine.run([0])


def test_an_error_before_the_bar_is_opened_is_passed_on():
    def refuse():
        raise ValueError("another epoch length")

    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.STARTED, refuse)
    StageProgress("gan").attach(engine)
    with pytest.raises(ValueError, match="another epoch length"):
        engine.run([0])


@pytest.mark.parametrize("losses", [[2.0, float("nan"), float("inf"), 2.0], [float("nan"), 2.0, 2.0, 2.0]])
def test_losses_of_discarded_steps_are_not_shown(capsys, losses):
    run(losses)
    assert "loss 2.0000" in last_line(capsys)
