import os
import signal

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from processes import FORKSERVER

from miassr_monai.engines import run_stages
from miassr_monai.handlers import WeightsSaver

EPOCHS, ITERATIONS = 2, 3


class Training:
    """Stages that add one to a weight at each step."""

    def __init__(self, path, max_epochs=(EPOCHS, EPOCHS)):
        self.network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.network.weight)
        self.weights = WeightsSaver(path, self.network)
        self.stages = [self.stage(epochs) for epochs in max_epochs]

    def stage(self, epochs):
        return SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=[{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}] * ITERATIONS,
            network=self.network,
            optimizer=torch.optim.SGD(self.network.parameters(), lr=1.0),
            loss_function=lambda prediction, target: -prediction,
            train_handlers=[self.weights],
        )

    def run(self):
        run_stages(self.stages, self.weights)

    def at(self, stage, iteration, action):
        """Do something within an iteration of a stage."""
        self.stages[stage].add_event_handler(Events.ITERATION_COMPLETED(once=iteration), action)


def saved(path):
    return torch.load(path)["weight"].item() if path.exists() else None


def fail(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(("max_epochs", "steps"), [((2, 2), 12), ((0, 2), 6), ((2, 0), 6), ((1, 3), 12)])
def test_stages_that_have_epochs_are_run_and_the_weights_are_told(tmp_path, capsys, max_epochs, steps):
    training = Training(tmp_path / "model.pt", max_epochs)
    training.run()
    assert saved(tmp_path / "model.pt") == steps
    assert capsys.readouterr().out.splitlines()[-1] == f"The weights are in {tmp_path}/model.pt."


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bad image"), MemoryError()], ids=repr)
def test_an_interrupted_run_leaves_the_weights_of_its_last_step(tmp_path, capsys, stage, error):
    training = Training(tmp_path / "model.pt")
    training.at(stage, 2, fail(error))
    with pytest.raises(type(error)):
        training.run()
    assert saved(tmp_path / "model.pt") == stage * EPOCHS * ITERATIONS + 2
    assert "The weights are in" in capsys.readouterr().out


def test_a_run_that_fails_before_its_first_step_leaves_the_weights_that_are_there(tmp_path, capsys):
    torch.save({"weight": torch.tensor(-7.0)}, tmp_path / "model.pt")
    training = Training(tmp_path / "model.pt")
    training.stages[0].add_event_handler(Events.STARTED, fail(ValueError("no such checkpoint")))
    with pytest.raises(ValueError, match="no such checkpoint"):
        training.run()
    assert saved(tmp_path / "model.pt") == -7.0
    assert capsys.readouterr().out == ""


def test_a_second_stage_that_fails_to_start_does_not_replace_its_weights_by_those_of_the_first(tmp_path):
    """A resumed run whose first stage was finished, and whose second has a damaged checkpoint."""
    torch.save({"weight": torch.tensor(-7.0)}, tmp_path / "model.pt")
    training = Training(tmp_path / "model.pt")
    finished = {"iteration": EPOCHS * ITERATIONS, "epoch_length": ITERATIONS, "max_epochs": EPOCHS}
    training.stages[0].add_event_handler(Events.STARTED, lambda engine: engine.load_state_dict(finished))
    training.stages[1].add_event_handler(Events.STARTED, fail(ValueError("damaged")))
    with pytest.raises(ValueError, match="damaged"):
        training.run()
    assert saved(tmp_path / "model.pt") == -7.0


def test_weights_of_a_training_that_diverged_do_not_replace_the_last_good_ones(tmp_path, capsys):
    training = Training(tmp_path / "model.pt")

    def diverge(engine):
        engine.state.bad_steps = 1
        raise RuntimeError("diverged")

    training.stages[0].add_event_handler(Events.ITERATION_COMPLETED(once=ITERATIONS + 2), diverge)
    with pytest.raises(RuntimeError, match="diverged"):
        training.run()
    assert saved(tmp_path / "model.pt") == ITERATIONS
    assert "The weights are in" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_signals_end_a_run_as_an_interrupt_does(tmp_path, number):
    training = Training(tmp_path / "model.pt")
    training.at(0, 2, lambda: os.kill(os.getpid(), number))
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        training.run()
    assert caught.value.code == 128 + number
    assert saved(tmp_path / "model.pt") == 2
    assert signal.getsignal(number) == handler


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    training = Training(tmp_path / "model.pt")
    training.at(0, 2, lambda: os.kill(os.getpid(), signal.SIGHUP))
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        training.run()
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert saved(tmp_path / "model.pt") == 12


def terminate_itself(path):
    training = Training(path)
    training.at(0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    training.run()


def test_a_process_that_is_terminated_has_the_exit_code_that_shells_expect(tmp_path):
    process = FORKSERVER.Process(target=terminate_itself, args=(tmp_path / "model.pt",))
    process.start()
    process.join()
    assert process.exitcode == 143 and saved(tmp_path / "model.pt") == 1
