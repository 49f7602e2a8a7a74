import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from monai.bundle import ConfigWorkflow
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.utils import path_to_sqlite_uri

from miassr_monai.handlers import StageMLFlowHandler, save_running_config

EPOCHS, ITERATIONS = 2, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tmp_path_factory.mktemp("tracking")


@pytest.fixture(scope="module")
def uri(folder):
    return path_to_sqlite_uri(folder / "mlruns.db")


@pytest.fixture(scope="module")
def client(uri):
    return MlflowClient(uri)


def run_stage(stage, validator, panel, **options):
    """Train a stage of eight iterations; their losses."""
    network = torch.nn.Linear(2, 1)
    batches = [{"image": torch.rand(3, 2), "label": torch.rand(3, 1)} for _ in range(ITERATIONS)]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=EPOCHS,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.8),
        loss_function=torch.nn.L1Loss(),
        decollate=stage == "warmup",
    )
    losses = []

    def note(engine):
        output = engine.state.output
        losses.append(float((output[0] if stage == "warmup" else output)["loss"]))

    if stage == "gan":
        trainer.d_optimizer = torch.optim.SGD(network.parameters(), lr=0.25)

        @trainer.on(Events.ITERATION_STARTED)
        def schedule(engine):
            engine.d_optimizer.param_groups[0]["lr"] = 0.25 * engine.state.iteration

    def validate(engine):
        validator.state.epoch = engine.state.epoch
        validator.state.metrics = {"psnr_x2": 20.0 + engine.state.epoch, "ssim": 0.5}
        panel.write_text(f"picture of epoch {engine.state.epoch}")
        engine.state.discarded = 3 * engine.state.epoch

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    StageMLFlowHandler(stage, validator, panel_path=panel, interval=2, **options).attach(trainer)
    scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=3, gamma=0.5)
    LrScheduleHandler(scheduler, print_lr=False, epoch_level=False).attach(trainer)
    trainer.run()
    return losses


@pytest.fixture(scope="module")
def tracked(folder, uri, client):
    """A run of two stages, as it is read back."""
    (folder / "config.json").write_text("{}")
    options = {"tracking_uri": uri, "experiment_name": "stages", "run_name": "one run"}
    validator = SimpleNamespace(state=SimpleNamespace(epoch=0))
    panel = folder / "panel.png"
    losses = {"warmup": run_stage("warmup", validator, panel, artifacts=str(folder / "config.json"), **options)}
    losses["gan"] = run_stage("gan", validator, panel, close_on_complete=True, **options)
    (run,) = client.search_runs([client.get_experiment_by_name("stages").experiment_id])
    return SimpleNamespace(id=run.info.run_id, run=run, losses=losses, folder=folder)


def history(client, tracked, name):
    return {metric.step: metric.value for metric in client.get_metric_history(tracked.id, name)}


def test_an_epoch_without_validation_has_no_validation_metrics(uri, client):
    validator = SimpleNamespace(state=SimpleNamespace(epoch=0, metrics={}))

    def validate(engine):
        if engine.state.epoch % 2:
            validator.state = SimpleNamespace(epoch=engine.state.epoch, metrics={"psnr": 30.0 + engine.state.epoch})

    trainer = Engine(lambda engine, batch: {"loss": 1.0})
    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    StageMLFlowHandler("warmup", validator, tracking_uri=uri, experiment_name="gaps", run_name="gaps").attach(trainer)
    trainer.run([0], max_epochs=4)
    (run,) = client.search_runs([client.get_experiment_by_name("gaps").experiment_id])
    points = client.get_metric_history(run.info.run_id, "warmup/psnr")
    assert {point.step: point.value for point in points} == {1: 31.0, 3: 33.0}


@pytest.mark.parametrize("stage", ["warmup", "gan"])
def test_losses_and_learning_rates_are_logged_at_the_interval_under_the_stage_s_name(client, tracked, stage):
    losses = tracked.losses[stage]
    assert history(client, tracked, f"{stage}/loss") == {step: pytest.approx(losses[step - 1]) for step in (2, 4, 6, 8)}
    assert history(client, tracked, f"{stage}/lr_group_0") == {2: 0.8, 4: 0.4, 6: 0.4, 8: 0.2}


@pytest.mark.parametrize("stage", ["warmup", "gan"])
def test_the_validator_s_metrics_and_the_discarded_steps_are_logged_at_epochs(client, tracked, stage):
    assert history(client, tracked, f"{stage}/psnr_x2") == {1: 21.0, 2: 22.0}
    assert history(client, tracked, f"{stage}/ssim") == {1: 0.5, 2: 0.5}
    assert history(client, tracked, f"{stage}/discarded_steps") == {1: 3, 2: 6}


def test_the_critic_s_learning_rate_is_logged_where_there_is_a_critic(client, tracked):
    assert history(client, tracked, "gan/critic_lr") == {2: 0.5, 4: 1.0, 6: 1.5, 8: 2.0}


def test_nothing_else_is_logged(tracked):
    names = {"loss", "lr_group_0", "psnr_x2", "ssim", "discarded_steps"}
    expected = {f"{stage}/{name}" for stage in ("warmup", "gan") for name in names}
    assert set(tracked.run.data.metrics) == {*expected, "gan/critic_lr"}
    assert tracked.run.data.params == {
        f"{stage}/{name}": value
        for stage in ("warmup", "gan")
        for name, value in (("max_epochs", str(EPOCHS)), ("epoch_length", str(ITERATIONS)))
    }


def test_both_stages_are_one_run_that_ends_with_the_second(tracked):
    assert tracked.run.info.run_name == "one run"
    assert tracked.run.info.status == "FINISHED"


def test_the_picture_of_each_epoch_and_the_artifacts_are_kept(client, tracked):
    for stage in ("warmup", "gan"):
        for epoch in (1, 2):
            name = f"{stage}/epoch_{epoch:04d}/panel.png"
            text = Path(client.download_artifacts(tracked.id, name)).read_text()
            assert text == f"picture of epoch {epoch}"
    assert {item.path for item in client.list_artifacts(tracked.id)} == {"warmup", "gan", "config.json"}


def log_stage(uri, experiment, run_name=None, max_epochs=1, **options):
    """Run a stage that is not finished in MLflow's eyes; its handler."""
    handler = StageMLFlowHandler("warmup", tracking_uri=uri, experiment_name=experiment, run_name=run_name, **options)
    engine = Engine(lambda engine, loss: {"loss": loss})
    handler.attach(engine)
    engine.run([1.0], max_epochs=max_epochs)
    return handler


def test_a_stage_without_validator_picture_or_guard_logs_its_losses(client, uri, tmp_path):
    run = log_stage(uri, "bare", panel_path=tmp_path / "nothing.png").cur_run
    assert client.get_run(run.info.run_id).data.metrics == {"warmup/loss": 1.0, "warmup/discarded_steps": 0.0}
    assert client.list_artifacts(run.info.run_id) == []


def test_a_resumed_run_goes_on_in_the_unfinished_run(uri):
    first = log_stage(uri, "resumed", "killed").cur_run
    assert log_stage(uri, "resumed").cur_run.info.run_id == first.info.run_id


def test_a_resumed_run_goes_on_in_the_latest_unfinished_run(uri):
    runs = [log_stage(uri, "several", name).cur_run.info.run_id for name in ("killed long ago", "killed now")]
    assert log_stage(uri, "several").cur_run.info.run_id == runs[1]


def test_a_resumed_run_can_be_longer(uri):
    log_stage(uri, "longer", max_epochs=1)
    log_stage(uri, "longer", max_epochs=2)


def make_workflow(folder, **override):
    configs = {
        "train.json": {
            "imports": ["$from miassr_monai.handlers import save_running_config"],
            "output_dir": "nowhere",
            "network": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": "@width"},
            "width": 64,
            "depth": 16,
            "initialize": ["$save_running_config(@output_dir + '/deep/config.json')"],
        },
        "overlay.json": {"width": 32, "network#bias": False},
        "metadata.json": {"version": "1"},
    }
    for name, content in configs.items():
        (folder / name).write_text(json.dumps(content))
    files = [str(folder / name) for name in ("train.json", "overlay.json")]
    return ConfigWorkflow(files, logging_file=False, workflow_type=None, **override)


def test_the_running_configuration_is_saved_with_overlays_and_overrides_merged(tmp_path):
    make_workflow(tmp_path, output_dir=str(tmp_path), depth=6).initialize()
    config = json.loads((tmp_path / "deep" / "config.json").read_text())
    linear = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": "@width", "bias": False}
    assert {key: config[key] for key in ("output_dir", "network", "width", "depth")} == {
        "output_dir": str(tmp_path),
        "network": linear,
        "width": 32,
        "depth": 6,
    }


def test_there_is_no_running_configuration_outside_of_a_workflow(tmp_path):
    with pytest.raises(RuntimeError, match=r"from within `python -m monai\.bundle run`"):
        save_running_config(tmp_path / "config.json")
    assert list(tmp_path.iterdir()) == []
