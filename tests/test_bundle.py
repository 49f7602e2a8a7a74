"""The bundle through MONAI's own front door."""

import hashlib
import json
import shutil
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser, ConfigWorkflow
from processes import MonaiBundle

from miassr_monai.losses import (
    RelativisticAverageGANLoss,
    RelativisticPairingGANLoss,
    VanillaGANLoss,
    WassersteinClippingLoss,
    WassersteinGPLoss,
)
from miassr_monai.networks import Critic

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "bundle"
# A few epochs of two tiny steps a stage.
TINY = {
    "width": 4,
    "depth": 1,
    "projection": "center",
    "anisotropic": True,
    "skip": "bicubic",
    "critic_width": 2,
    "critic_dense_channels": 4,
    "perceptual_weight": 0,
    "patch_size": 32,
    "batch_size": 4,
    "samples_per_volume": 2,
    "epoch_length": 2,
    "warmup_epochs": 2,
    "gan_epochs": 3,
    "val_scales": "[2.0]",
    "learning_rate": 0.001,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    affine = np.array([[0, -0.7, 0, 30], [-0.7, 0, 0, 20], [0, 0, 3, -5], [0, 0, 0, 1.0]])
    for section in ("training", "validation", "test"):
        (folder / section).mkdir()
        image = nib.Nifti1Image(generator.uniform(100, 900, (40, 36, 4)).astype(np.float32), affine)
        nib.save(image, folder / section / "volume.nii.gz")
    return folder


def start(run_id, config_files, cwd=BUNDLE, **overrides):
    """``python -m monai.bundle run`` in a process of its own."""
    files = config_files if isinstance(config_files, str) else json.dumps(config_files)
    options = [item for key, value in overrides.items() for item in (f"--{key}", value)]
    process = MonaiBundle(["run", run_id, "--config_file", files, *options], cwd)
    process.start()
    return process


def run(*args, **kwargs):
    done = start(*args, **kwargs).done()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(*args, **kwargs):
    """The last line of a run that fails."""
    done = start(*args, **kwargs).done()
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


def logged(output_dir):
    """The metrics of a run's log."""
    log = pd.read_csv(output_dir / "log.csv").drop(columns="time")
    return log[log["metric"] != "training_seconds"].reset_index(drop=True)


def final_losses(output_dir):
    client = MlflowClient(f"sqlite:///{output_dir}/mlruns.db")
    (run_info,) = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    metrics = run_info.data.metrics
    assert run_info.info.status == "FINISHED"
    return {name: value for name, value in metrics.items() if "loss" in name or "psnr" in name}


@pytest.fixture(scope="module")
def trained(dataset_dir, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("trained")
    run("training", "configs/train.json", dataset_dir=dataset_dir, output_dir=output_dir, log_interval=1, **TINY)
    return output_dir


def stopped(stage, folder, **overrides):
    """Start a training and stop it after the first epoch of a stage; whether it had not ended before."""
    process = start("training", "configs/train.json", output_dir=folder, **overrides)
    log, row = folder / "log.csv", f"{stage},1,{TINY['epoch_length']},training_seconds,"
    # The last row of an epoch's log comes after its checkpoint.
    while process.is_alive() and not (log.is_file() and row in log.read_text()):
        time.sleep(0.002)
    process.terminate()
    done = process.done()
    assert done.returncode in (0, 128 + signal.SIGTERM), done.stdout + done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("stage", ["warmup", "gan"])
def test_run_that_was_killed_and_resumed_equals_one_that_was_not(stage, trained, dataset_dir, tmp_path):
    overrides = {"dataset_dir": dataset_dir, "log_interval": 1, **TINY}
    # On a busy machine so short a training may be over before it can be stopped.
    tries = (tmp_path / str(number) for number in range(6))
    tmp_path = next(folder for folder in tries if stopped(stage, folder, **overrides))
    run("training", "configs/train.json", output_dir=tmp_path, resume=True, **overrides)

    assert final_losses(tmp_path) == final_losses(trained)
    pd.testing.assert_frame_equal(logged(tmp_path), logged(trained))
    for name in ("gan_checkpoint.pt", "model.pt", "model_best_psnr.pt"):
        resumed, straight = (torch.load(folder / name, weights_only=True) for folder in (tmp_path, trained))
        # Each has a run of its own in MLflow, and takes its own time.
        for content in (resumed, straight):
            content.pop("mlflow_log", None)
            content.pop("time_limit", None)
        torch.testing.assert_close(resumed, straight, rtol=0, atol=0)


def test_a_short_training_from_given_weights_leaves_weights_without_a_validation_or_mlflow(
    trained, dataset_dir, tmp_path
):
    overrides = {
        **TINY,
        "gan_epochs": 0,
        "warmup_epochs": 1,
        "learning_rate": 0.0,
        "gradient_limit": 0.5,
        "input_size": 8,
        "val_interval": 5,
        "tracking_uri": "http://127.0.0.1:9",
    }
    weights = trained / "model.pt"
    printed = run(
        "training",
        "configs/train.json",
        dataset_dir=dataset_dir,
        output_dir=tmp_path,
        initial_weights=weights,
        **overrides,
    )
    torch.testing.assert_close(torch.load(tmp_path / "model.pt"), torch.load(weights), rtol=0, atol=3e-7)
    assert f"The weights are in {tmp_path}/model.pt." in printed
    assert printed.count("MLflow at http://127.0.0.1:9 cannot be used") == 1
    log = logged(tmp_path)
    assert set(log["metric"]) == {"discarded_steps"} and not (tmp_path / "model_best_psnr.pt").exists()


@pytest.mark.parametrize(
    ("overlay", "metrics"),
    [
        ("blind", {"warmup/loss"}),
        ("finetune", {"warmup/loss"}),
        ("ssim", {"warmup/loss"}),
        ("gan", {"gan/adversarial", "gan/perceptual"}),
    ],
)
def test_overlays_go_on_from_the_weights_that_they_are_given(overlay, metrics, trained, dataset_dir, tmp_path):
    overrides = {
        **TINY,
        "learning_rate": 0.0,
        "warmup_epochs": int(overlay != "gan"),
        "gan_epochs": int(overlay == "gan"),
        "input_size": 16,
    }
    del overrides["perceptual_weight"], overrides["critic_dense_channels"]
    weights = trained / "model.pt"
    configs = [f"configs/{name}.json" for name in ("train", "release", overlay)]
    paths = {"dataset_dir": dataset_dir, "output_dir": tmp_path, "initial_weights": weights}
    run("training", configs, val_interval=1, log_interval=1, **paths, **overrides)
    torch.testing.assert_close(torch.load(tmp_path / "model.pt"), torch.load(weights), rtol=0, atol=3e-7)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    (run_info,) = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    assert run_info.info.status == "FINISHED"
    assert set(run_info.data.metrics) >= metrics
    if overlay != "gan":
        # Noise has an SSIM of almost 0 with its interpolation, so 1 - SSIM shows beside the L1, which is below 1 / 4.
        assert (run_info.data.metrics["warmup/loss"] > 0.29) == (overlay == "ssim")


def test_inference_from_the_repository_root_writes_the_finer_grid_in_the_input_units(trained, dataset_dir, tmp_path):
    source = dataset_dir / "test" / "volume.nii.gz"
    run(
        "inference",
        "bundle/configs/inference.json",
        cwd=ROOT,
        ckpt_path=trained / "model.pt",
        input=source,
        output_dir=tmp_path,
        scale=2.5,
    )
    before, after = nib.load(source), nib.load(tmp_path / "volume_x2.5.nii.gz")
    assert after.shape == (100, 90, 4)
    np.testing.assert_allclose(after.header.get_zooms(), (0.28, 0.28, 3), rtol=1e-6)
    corner = [-0.5, -0.5, -0.5]
    np.testing.assert_allclose(
        nib.affines.apply_affine(after.affine, corner), nib.affines.apply_affine(before.affine, corner), atol=1e-4
    )
    # Barely trained, the model is close to bicubic, and the mean of a volume is about its input's.
    assert abs(after.get_fdata().mean() - before.get_fdata().mean()) < 20


def test_evaluation_goes_on_where_it_was_killed_and_reports_every_slice(trained, dataset_dir, tmp_path):
    overrides = {
        "dataset_dir": dataset_dir,
        "ckpt_path": trained / "model.pt",
        "output_dir": tmp_path,
        "methods": f"{{'bicubic': 'bicubic', 'first': '{trained / 'model.pt'}', 'model': '@ckpt_path'}}",
    }
    process = start("evaluating", "configs/evaluate.json", **overrides)
    while len(list(tmp_path.glob("parts/*/[!.]*.pt"))) < 2:
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    assert process.done().returncode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("parts/*/[!.]*.pt")}
    assert 2 <= len(kept) < 18 and not (tmp_path / "report.csv").exists()
    printed = run("evaluating", "configs/evaluate.json", **overrides)

    scores = pd.read_csv(tmp_path / "report.csv")
    assert len(scores) == len(scores.drop_duplicates(["degradation", "scale", "method", "slice"])) == 3 * 6 * 3 * 4
    same = scores.set_index(["degradation", "scale", "slice", "method"])["psnr"].unstack()
    assert (same["first"] == same["model"]).all() and (same["first"] != same["bicubic"]).any()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["protocol"]["degradations"] == ["paper", "psf", "kspace"]
    assert report["methods"][2]["sha256"] == hashlib.sha256((trained / "model.pt").read_bytes()).hexdigest()
    assert (tmp_path / "report.txt").read_text() in printed
    assert not (tmp_path / "parts").exists()
    assert f"{18 - len(kept)}/{18 - len(kept)}" in printed
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    runs = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    (finished,) = [run_info for run_info in runs if run_info.info.status == "FINISHED"]
    artifacts = {file.path for file in client.list_artifacts(finished.info.run_id)}
    assert artifacts >= {"report.html", "report.json", "report.csv", "report.txt"}
    assert finished.data.metrics["psnr/paper/model/mean"] == pytest.approx(
        scores[(scores["degradation"] == "paper") & (scores["method"] == "model")]
        .groupby("scale")["psnr"]
        .mean()
        .mean()
    )


@pytest.fixture
def old_run(trained, tmp_path):
    """A copy of the folder of a run, and what is in it."""
    folder = tmp_path / "old"
    shutil.copytree(trained, folder)
    return folder, {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("overrides", "last"),
    [
        ({"perceptual_weight": 0.006, "vgg_path": "missing.pth"}, "error: there are no VGG19 weights at missing.pth"),
        ({"learning_rat": 1}, "error: there is no key 'learning_rat': did you mean learning_rate?"),
        ({"channels": 2}, "/training/volume.nii.gz has 1 channel(s), but 2 (channels) are needed: leave it out, or"),
    ],
    ids=["weights", "key", "image"],
)
def test_a_training_that_fails_at_once_says_why_in_its_last_line_and_leaves_what_is_there(
    overrides, last, dataset_dir, old_run
):
    folder, before = old_run
    overrides = {"dataset_dir": dataset_dir, "output_dir": folder, **TINY, **overrides}
    assert last in refused("training", "configs/train.json", **overrides)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before} == before
    assert not (folder / "previous_1").exists()


def test_a_training_that_diverges_is_stopped_and_leaves_the_last_good_weights(dataset_dir, old_run):
    folder, before = old_run
    overrides = {**TINY, "learning_rate": 1e6, "epoch_length": 30, "divergence_steps": 20}
    line = refused("training", "configs/train.json", dataset_dir=dataset_dir, output_dir=folder, **overrides)
    assert line.startswith(
        "error: the training has diverged: 20 steps in a row, up to step 21, were discarded or had a"
    )
    assert not list(folder.glob("*.pt"))
    assert (folder / "previous_1" / "model.pt").read_bytes() == before["model.pt"]


def test_inference_names_a_volume_that_it_cannot_read(trained, tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(b"no volume")
    overrides = {"ckpt_path": trained / "model.pt", "input": tmp_path, "output_dir": tmp_path}
    line = refused("inference", "configs/inference.json", **overrides)
    assert line.startswith(f"error: {tmp_path}/cut.nii.gz is not a NIfTI or Analyze image or is damaged (")


def test_a_file_that_does_not_hold_weights_is_refused_by_name(dataset_dir, tmp_path):
    weights = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(1)}, weights)
    overrides = {"ckpt_path": weights, "input": dataset_dir / "test", "output_dir": tmp_path}
    line = refused("inference", "configs/inference.json", **overrides)
    assert f"error: {weights} does not hold the weights of a generator" in line


@pytest.mark.parametrize(("workflow_type", "name"), [("train", "train"), ("infer", "inference"), ("infer", "evaluate")])
def test_config_has_every_property_that_monai_requires(workflow_type, name, trained, dataset_dir, tmp_path):
    workflow = ConfigWorkflow(
        config_file=str(BUNDLE / f"configs/{name}.json"),
        workflow_type=workflow_type,
        meta_file=str(BUNDLE / "configs/metadata.json"),
        bundle_root=str(BUNDLE),
        dataset_dir=str(dataset_dir),
        output_dir=str(tmp_path),
        ckpt_path=str(trained / "model.pt"),
        **{key: value for key, value in TINY.items() if key != "val_scales"},
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_paper_recipe_is_the_default():
    config = json.loads((BUNDLE / "configs/train.json").read_text())
    assert config["epoch_length"] * config["warmup_epochs"] == config["epoch_length"] * config["gan_epochs"] == 100_000
    assert (config["batch_size"], config["patch_size"], config["scale_low"], config["scale_high"]) == (16, 96, 1.0, 4.0)
    assert (config["pixel_weight"], config["adversarial_weight"], config["perceptual_weight"]) == (1.0, 0.001, 0.006)
    assert (config["learning_rate"], config["lr_step"], config["lr_gamma"]) == (1e-4, 50_000, 0.5)


def test_arssr_s_recipe_is_that_of_volumes():
    parser = ConfigParser(
        ConfigParser.load_config_files([BUNDLE / f"configs/{n}.json" for n in ("train", "train_arssr")])
    )
    values = {
        key: parser.get_parsed_content(key) for key in ("scale_low", "scale_high", "input_size", "samples", "lr_step")
    }
    assert values == {"scale_low": 2.0, "scale_high": 4.0, "input_size": 10, "samples": 8000, "lr_step": 200 * 52}
    assert [parser[key] for key in ("batch_size", "learning_rate", "lr_gamma", "warmup_epochs")] == [
        15,
        1e-4,
        0.5,
        2500,
    ]
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    # One more input than published: the size of a voxel; in both stages, the first of which gives it on, too.
    assert sum(p.numel() for p in network.parameters()) == 5_918_784 + 364_676 + 3 * 256 + 1
    assert parser.get_parsed_content("discriminator_def").spatial_dims == 3


@pytest.mark.parametrize("amp", [False, True])
def test_bfloat16_is_asked_of_generator_and_critic(amp):
    config = ConfigParser()
    config.read_config(BUNDLE / "configs/train.json")
    config["amp"] = amp
    assert config.get_parsed_content("train#inferer").amp is config.get_parsed_content("discriminator_def").amp is amp


@pytest.mark.parametrize(
    ("overlay", "loss", "critic"),
    [
        (None, WassersteinGPLoss(penalty_interval=4), Critic()),
        ("wgan_gp", WassersteinGPLoss(), Critic(width=64, dense_channels=1024)),
        ("vanilla", VanillaGANLoss(), Critic()),
        ("ragan", RelativisticAverageGANLoss(), Critic()),
        ("wgan", WassersteinClippingLoss(0.05), Critic()),
        ("r3gan", RelativisticPairingGANLoss(penalty_interval=4), Critic()),
    ],
)
def test_an_overlay_chooses_the_adversarial_loss(overlay, loss, critic):
    files = [BUNDLE / f"configs/{name}.json" for name in ("train", overlay) if name]
    config = ConfigParser(ConfigParser.load_config_files(files))
    made, own = (config.get_parsed_content(key) for key in ("adversarial_loss", "discriminator_def"))
    assert type(made) is type(loss)
    plain = ("penalty_weight", "penalty_interval", "limit")
    assert [vars(made).get(name) for name in plain] == [vars(loss).get(name) for name in plain]
    assert str(own) == str(critic)
    # The rate that the paper gives is for WGAN-GP.
    assert config["critic_learning_rate"] == (1e-5 if overlay in (None, "wgan_gp") else 1e-4)


def test_learning_rate_is_halved_after_its_steps_in_bfloat16_too(dataset_dir, tmp_path):
    output = tmp_path / "output"
    overrides = {**TINY, "epoch_length": 4, "warmup_epochs": 1, "gan_epochs": 0, "lr_step": 3, "log_interval": 1}
    overrides |= {"amp": True, "augment_prob": 0.5}
    run("training", "configs/train.json", dataset_dir=dataset_dir, output_dir=output, **overrides)
    client = MlflowClient(f"sqlite:///{output}/mlruns.db")
    (run_info,) = client.search_runs([client.get_experiment_by_name("miassr").experiment_id])
    history = client.get_metric_history(run_info.info.run_id, "warmup/learning_rate")
    # The rate is logged after the scheduler's step.
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == [0.001, 0.001, 0.0005, 0.0005]
