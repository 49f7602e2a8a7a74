from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler

from miassr_monai.handlers import StageLog, scalar_output

EPOCHS, ITERATIONS = 3, 4


class Notes:
    """What a log is told."""

    def __init__(self):
        self.rows, self.params, self.files = [], {}, []

    def log(self, stage, state, metrics):
        self.rows.append((stage, state.epoch, state.iteration, dict(metrics)))

    def log_metrics(self, metrics, step):
        self.rows.append((step, dict(metrics)))

    def log_params(self, params):
        self.params |= params

    def log_file(self, path, folder):
        self.files.append((path, folder))


def train(stage, *, decollate=False, validations=(1, 3), handlers=(), **options):
    """Train a stage with logs; what these are told, and the losses."""
    network = torch.nn.Linear(2, 1)
    validator = SimpleNamespace(state=SimpleNamespace(epoch=0, metrics={}))
    csv, mlflow, losses = Notes(), Notes(), []

    def validate(engine):
        engine.state.discarded = 3 * engine.state.epoch
        if engine.state.epoch in validations:
            validator.state = SimpleNamespace(epoch=engine.state.epoch, metrics={"psnr": 20.0 + engine.state.epoch})

    def note(engine):
        losses.append(scalar_output(engine.state.output)["loss"])

    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=EPOCHS,
        train_data_loader=[{"image": torch.rand(3, 2), "label": torch.rand(3, 1)} for _ in range(ITERATIONS)],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.8),
        loss_function=torch.nn.L1Loss(),
        decollate=decollate,
    )
    if stage == "gan":
        trainer.d_optimizer = torch.optim.SGD(network.parameters(), lr=0.25)
    for event, handler in handlers:
        trainer.add_event_handler(event, handler)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    StageLog(stage, csv, mlflow, validator=validator, panel_path="panel.png", **options).attach(trainer)
    LrScheduleHandler(
        torch.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=3, gamma=0.5), print_lr=False, epoch_level=False
    ).attach(trainer)
    trainer.run()
    return csv, mlflow, losses


@pytest.mark.parametrize("decollate", [False, True])
def test_losses_and_rates_are_logged_at_the_interval_and_validations_at_epochs(decollate):
    csv, mlflow, losses = train("warmup", decollate=decollate, interval=3)
    rates = {3: 0.8, 6: 0.4, 9: 0.2, 12: 0.1}
    steps = {i: {"loss": pytest.approx(losses[i - 1]), "learning_rate": rates[i]} for i in rates}
    epochs = {1: {"psnr": 21.0, "discarded_steps": 3}, 2: {"discarded_steps": 6}}
    epochs[3] = {"psnr": 23.0, "discarded_steps": 9}
    order = [(1, 3), (1, 4), (2, 6), (2, 8), (3, 9), (3, 12), (3, 12)]
    expected = [steps[3], epochs[1], steps[6], epochs[2], steps[9], steps[12], epochs[3]]
    assert csv.rows == [("warmup", *place, metrics) for place, metrics in zip(order, expected, strict=True)]
    at = [3, 1, 6, 2, 9, 12, 3]
    prefixed = [{f"warmup/{name}": value for name, value in metrics.items()} for metrics in expected]
    assert mlflow.rows == list(zip(at, prefixed, strict=True))


def test_an_epoch_that_ends_before_its_time_is_logged_and_so_is_the_time():
    def spend(engine):
        engine.state.training_seconds = 2.0 * engine.state.iteration

    handlers = [
        (Events.ITERATION_COMPLETED, spend),
        (Events.ITERATION_COMPLETED(once=6), lambda engine: engine.terminate()),
    ]
    csv, _, _ = train("warmup", handlers=handlers, interval=100)
    assert csv.rows == [
        ("warmup", 1, 4, {"psnr": 21.0, "discarded_steps": 3, "training_seconds": 8.0}),
        ("warmup", 2, 6, {"discarded_steps": 3, "training_seconds": 12.0}),
    ]


def test_the_critic_s_learning_rate_is_logged_where_there_is_a_critic():
    csv, _, _ = train("gan")
    assert [metrics["critic_learning_rate"] for *_, metrics in csv.rows if "loss" in metrics] == 12 * [0.25]
    csv, _, _ = train("warmup")
    assert not any("critic_learning_rate" in metrics for *_, metrics in csv.rows)


def test_mlflow_has_the_length_of_the_stage_and_the_picture_of_each_validation():
    _, mlflow, _ = train("gan")
    assert mlflow.params == {"gan/max_epochs": EPOCHS, "gan/epoch_length": ITERATIONS}
    assert mlflow.files == [("panel.png", "gan/epoch_0001"), ("panel.png", "gan/epoch_0003")]


def test_only_the_first_process_of_several_logs(monkeypatch):
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: 1)
    csv, mlflow, _ = train("warmup")
    assert csv.rows == mlflow.rows == [] and mlflow.params == {}
