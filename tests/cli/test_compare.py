import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from make import small_generator

from miassr_monai import comparison
from miassr_monai.bundle import default_bundle
from miassr_monai.cli import compare, main
from miassr_monai.comparison import built_in_plans

PLAN = {
    "training": {"gan_epochs": 0, "perceptual_weight": 0},
    "networks": {"a": {"depth": 2}, "b": {"overlays": ["r3gan"]}},
}


@pytest.fixture
def data(folder, write_volume):
    """A data set, and a plan."""
    for section in ("training", "validation", "test"):
        write_volume(folder / "data" / section / f"{section}.nii.gz")
    (folder / "plan.json").write_text(json.dumps(PLAN))
    return folder / "data"


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the trainings and the evaluation, which leave what they leave without doing anything."""
    asked = SimpleNamespace(trainings=[], failed={}, code=0)

    def train(trainings, jobs, tell):
        asked.trainings, asked.jobs = trainings, jobs
        for training in trainings:
            training.folder.mkdir(parents=True)
            torch.save(small_generator().state_dict(), training.weights)
            row = {"stage": "warmup", "epoch": 1, "iteration": 6, "metric": "training_seconds", "value": 90.0}
            pd.DataFrame([row]).to_csv(training.folder / "log.csv", index=False)
        return asked.failed

    def evaluate(command):
        run_id, files, options = command
        asked.overlay = overlay = json.loads(Path(files[-1]).read_text())
        asked.evaluation = run_id, files[:-1], options
        rows = [
            {"degradation": "paper", "scale": "mean", "method": name, "measure": "psnr", "mean": 30.0 + number}
            for number, name in enumerate(overlay["methods"])
        ]
        report = {"degradation": "paper", "summary": rows, "distances": []}
        report["methods"] = [{"name": name} for name in overlay["methods"]]
        Path(options["output_dir"], "report.json").write_text(json.dumps(report))
        return SimpleNamespace(returncode=asked.code)

    monkeypatch.setattr(comparison, "train_all", train)
    monkeypatch.setattr("miassr_monai.comparison.training.bundle_command", lambda *asked: asked)
    monkeypatch.setattr(subprocess, "run", evaluate)
    # MLflow is slow to begin with, and tested beside it.
    monkeypatch.setattr("miassr_monai.comparison.mlflow.log_comparison", lambda *args: None)
    return asked


def run(*arguments):
    return main(["compare", "data", "out", "--plan", "plan.json", "--device", "cpu", *arguments])


def test_the_plans_of_the_bundle_are_offered(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert f"a name: {', '.join(['trunks', *sorted(set(built_in_plans()) - {'trunks'}, reverse=True)])};" in words


def test_networks_are_trained_evaluated_and_summed_up(folder, data, asked, capsys):
    options = "--jobs 3 --num-workers 2 --amp --section validation"
    settings = "seed=7 input_size=None slice_step=4 degradations=['psf']"
    assert run(*options.split(), "--set", *settings.split()) == 0
    first, second = asked.trainings
    shared = {"gan_epochs": 0, "perceptual_weight": 0, "seed": 7, "input_size": None, "amp": True}
    assert (first.name, first.folder, first.settings) == ("a", folder / "out" / "a", {**shared, "depth": 2})
    assert second.settings == shared and second.files[-1].endswith("configs/r3gan.json")
    uri = f"sqlite:///{folder}/out/mlruns.db"
    machine = {"device": "cpu", "dataset_dir": str(data)}
    assert first.options == second.options == {**machine, "num_workers": 2, "tracking_uri": uri}
    assert asked.jobs == 3
    assert asked.overlay == {
        "section": "validation",
        "amp": True,
        "slice_step": 4,
        "degradations": ["psf"],
        "methods": {"bicubic": "bicubic", "a": f"{first.weights}", "b": f"{second.weights}"},
    }
    config = str(default_bundle() / "configs/evaluate.json")
    assert asked.evaluation == ("evaluating", [config], {**machine, "output_dir": f"{folder}/out"})
    table = pd.read_csv(folder / "out/comparison.csv").set_index("network")
    assert table["psnr"].to_dict() == {"bicubic": 30.0, "a": 31.0, "b": 32.0}
    assert table.loc["a", ["steps", "minutes"]].tolist() == [6, 1.5]
    out = capsys.readouterr().out
    assert (folder / "out/comparison.md").read_text() in out and f"{folder}/out/comparison.png" in out


def test_a_network_that_failed_is_left_out_and_named(data, asked, capsys):
    asked.failed = {"a": "no reason."}
    assert run() == 2
    assert list(asked.overlay["methods"]) == ["bicubic", "b"]
    assert "miassr: error: a is left out: no reason." in capsys.readouterr().err


def test_without_a_network_or_an_evaluation_there_is_no_table(folder, data, asked, capsys):
    asked.failed = {"b": "no reason."}
    assert run("--only", "b") == 2
    assert capsys.readouterr().err == "miassr: error: no network could be trained, see above.\n"
    asked.code = 1
    assert run("--only", "a") == 2
    assert not (folder / "out/comparison.md").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--jobs 0", "--jobs is 0: a whole number from 1 is accepted."),
        ("--only c", "the plan has no network 'c': take some of a, b."),
        ("--plan none", "there is no plan none: give a file, or one of gan, size, trunks."),
        ("--set dept=3", "there is no key 'dept': did you mean depth?"),
        ("--set depth=0 --only b", "the network 'b' of the plan: depth is 0: a whole number from 1 is accepted."),
        ("--set vgg_path=none.pth", "the network 'a' of the plan: there is no file none.pth: correct vgg_path."),
        ("--section exam", "the data set data needs a datalist.json or a folder 'exam' with volumes."),
        ("--inception none.pth", "none.pth"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(folder, data, asked, capsys, options, message):
    assert run(*options.split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith("miassr: error: ") and message in err and err.count("\n") == 1 and out == ""
    assert not asked.trainings and not (folder / "out").exists()


def test_a_setting_that_cannot_be_parsed_is_told(data, capsys):
    with pytest.raises(SystemExit):
        run("--set", "depth")
    assert "'depth' is not KEY=VALUE, such as warmup_epochs=4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("[2.0,3]", [2.0, 3]), ("True", True), ("None", None), ("a/b.pth", "a/b.pth"), ("", "")],
)
def test_values_are_python_s_or_text(text, value):
    assert compare.setting(f"key={text}") == ("key", value)
