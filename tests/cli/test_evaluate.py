import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import monai.bundle
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from miassr_monai.adaptation import Adaptation
from miassr_monai.cli import main
from miassr_monai.degradations import psf_degradation
from miassr_monai.evaluation import thick_slices, whole_volumes
from miassr_monai.networks import load_network
from miassr_monai.resampling import tricubic_upscale

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


@pytest.fixture
def truth(folder, write_volume):
    """Folder of a volume to degrade."""
    generator = np.random.default_rng(1)
    return write_volume(folder / "truth" / "a.nii.gz", generator.random((24, 20, 2), np.float32), np.eye(4)).parent


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def test_models_are_compared_on_a_folder_of_volumes(folder, truth, weights, capsys, files):
    options = "--scale 2 --degradation psf --device cpu"
    assert evaluate(truth, "out", "--model", f"mine={weights}", *options.split()) == 0
    assert {"report.html", "report.json", "report.csv", "report.txt"} <= files(folder / "out")
    assert files(folder) == {"in.nii.gz", "weights.pt", "truth/a.nii.gz"} | {f"out/{p}" for p in files(folder / "out")}
    assert capsys.readouterr().out.endswith("\n\nout/report.html\n")
    scores = pd.read_csv("out/report.csv")
    assert len(scores) == 4 * 2 and set(scores["degradation"]) == {"psf"} and set(scores["scale"]) == {2.0}
    volume = nib.load(truth / "a.nii.gz").get_fdata()
    low, high = np.percentile(volume, [0, 99.95])
    fine = torch.from_numpy((volume - low) / (high - low)).float().movedim(-1, 0)[:, None]
    small = psf_degradation(fine, 2.0)
    network = load_network(weights).eval()
    with torch.no_grad():
        error = (network(small, 2.0) - fine).square().mean((1, 2, 3))
    found = scores.set_index(["method", "slice"])["psnr"].unstack()
    assert list(scores["method"].unique()) == ["linear", "bicubic", "model", "mine"]
    np.testing.assert_allclose(found.loc["mine"], -10 * error.log10(), rtol=0, atol=1e-4)
    # Another time nothing is replaced unless told to.
    before = {name: (folder / "out" / name).stat().st_mtime_ns for name in files(folder / "out")}
    assert evaluate(truth, "out", *options.split()) == 2
    assert "report.html exists already: give another name, or --overwrite" in capsys.readouterr().err
    assert {name: (folder / "out" / name).stat().st_mtime_ns for name in files(folder / "out")} == before


QUICK = "--scale", "1x2", "--degradation", "psf", "--device", "cpu"


def test_a_volume_that_cannot_be_read_is_named_and_does_not_stop_the_others(folder, truth, capsys, caplog):
    (truth / "b.nii.gz").write_bytes(b"no volume")
    assert evaluate(truth, "out", *QUICK) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    report = json.loads((folder / "out" / "report.json").read_text())
    assert list(report["failed"]) == ["b.nii.gz"]
    told = f"b.nii.gz is left out: {report['failed']['b.nii.gz']}"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("miassr")] == [told]
    assert told in out and out.endswith("\n\nout/report.html\n")
    assert err.endswith("miassr: error: 1 of 2 volumes are left out, see above.\n")
    scores = pd.read_csv("out/report.csv")
    assert set(scores["volume"]) == {"a.nii.gz"} and set(scores["scale"]) == {"1x2"}


def test_where_no_volume_can_be_read_that_is_told_in_a_line(folder, truth, capsys):
    (truth / "a.nii.gz").write_bytes(b"no volume")
    assert evaluate(truth, "out", *QUICK) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("miassr: error: none of the 1 volumes could be evaluated; a.nii.gz: ")
    assert not (folder / "out" / "report.html").exists()


class Asked(monai.bundle.ConfigWorkflow):
    """A workflow that does nothing but tell what was asked of it."""

    parser = SimpleNamespace(get_parsed_content=lambda name: SimpleNamespace(failed={}))

    def __init__(self, **asked):
        self.asked.append(asked)

    def initialize(self):
        pass

    run = initialize


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the bundle, which does nothing."""
    monkeypatch.setattr(Asked, "asked", [], raising=False)
    monkeypatch.setattr(monai.bundle, "ConfigWorkflow", Asked)
    return Asked.asked


def test_options_of_an_evaluation_reach_the_bundle(truth, asked):
    methods = {"linear": "linear", "bicubic": "bicubic", "model": None}
    given = {"workflow_type", "config_file", "run_id", "logging_file"}
    always = {"dataset_dir": "truth", "output_dir": "out", "methods": methods, "section": "test"}
    always["datalist"] = [{"image": "truth/a.nii.gz"}]
    assert evaluate("truth", "out") == 0
    assert {key: value for key, value in asked[0].items() if key not in given} == always
    options = (
        "--scale 2 3.5 1x2 --degradation psf:fwhm=0.80 kspace --window -160 240 --slice-step 3 "
        "--inception i.pth --frd --amp"
    )
    assert evaluate("truth", "out", *options.split(), "--device", "cpu", "--model", "a=b=c.pt", "--model", "d=e") == 0
    assert {key: value for key, value in asked[1].items() if key not in given} == {
        **always,
        "methods": {**methods, "a": "b=c.pt", "d": "e"},
        "scales": [2, 3.5, (1, 2)],
        "degradations": ["psf:fwhm=0.8", "kspace"],
        "intensity_window": True,
        "intensity_lower": -160,
        "intensity_upper": 240,
        "slice_step": 3,
        "inception_path": "i.pth",
        "with_frd": True,
        "amp": True,
        "device": "cpu",
    }


def test_overlays_lie_over_the_bundles_configuration_in_their_order(folder, truth, asked):
    (folder / "mine.json").write_text("{}")
    assert evaluate("truth", "out", "--overlay", "ultrasound", "mine.json") == 0
    assert [Path(file).name for file in asked[0]["config_file"]] == ["evaluate.json", "ultrasound.json", "mine.json"]
    assert "scales" not in asked[0] and all(Path(file).is_file() for file in asked[0]["config_file"])


def test_a_section_of_a_data_set_is_evaluated(folder, asked, write_volume):
    for section in ("training", "test"):
        write_volume(folder / "data" / section / f"{section}.nii.gz")
    assert evaluate("data", "out") == evaluate("data", "out", "--section", "training") == 0
    assert evaluate("data", "out", "--section", "nowhere") == 2
    assert evaluate("data/test/test.nii.gz", "out") == 0
    assert [[item["image"] for item in given["datalist"]] for given in asked] == [
        ["data/test/test.nii.gz"],
        ["data/training/training.nii.gz"],
        ["data/test/test.nii.gz"],
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--model", "expected one argument"),
        ("--model model.pt", "'model.pt' is not NAME=PATH, such as mine=model.pt"),
        ("--model =model.pt", "'=model.pt' is not NAME=PATH, such as mine=model.pt"),
        ("--model mine=", "'mine=' is not NAME=PATH, such as mine=model.pt"),
        ("--degradation paper blur", "the degradation 'blur' cannot be made: there is no 'blur', take one of "),
        ("--degradation psf:fwhm=9", "fwhm must be a number in [0.05, 8], got 9. (DATA and OUT go before the options)"),
        ("--scale two", "'two' is not a number, or one for each axis such as 1x1x4"),
    ],
)
def test_an_evaluation_that_cannot_be_parsed_is_explained_in_a_line(asked, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        evaluate("truth", "out", *arguments.split())
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and message in lines[-1] and len(lines) == 2
    assert lines[0] == "usage: miassr evaluate DATA OUT [--model NAME=PATH ...] [other options]"
    assert not asked


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("truth old", "old/report.html exists already: give another name, or --overwrite"),
        ("truth none/out", "/none to write out in: make it first"),
        ("none out", "there is no file or folder none"),
        ("empty out", "the folder empty holds no volume"),
        ("truth out --overlay sonar", "configs/sonar.json: give one of the bundle's by name, or a file"),
        ("truth out --model bicubic=w.pt", "there are two methods called 'bicubic': give --model another name"),
        ("truth out --model a=w.pt --model a=v.pt", "there are two methods called 'a': give --model another name"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_refused_before_any_work(
    folder, truth, asked, capsys, arguments, message, files
):
    (folder / "empty").mkdir()
    (folder / "old").mkdir()
    (folder / "old" / "report.html").write_text("mine")
    before = files(folder)
    assert evaluate(*arguments.split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith("miassr: error: ") and err.count("\n") == 1 and message in err and out == ""
    assert files(folder) == before and not asked
    if "old" in arguments:
        assert evaluate(*arguments.split(), "--overwrite") == 0 and len(asked) == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ("--model mine=none.pt", "there is no model at none.pt"),
        ("--model truth=bicubic", "a method cannot be called 'truth'"),
        ("--window 3 1", "intensity_lower is 3.0 and intensity_upper 1.0"),
        ("--scale 1x0.5", "scales is [(1.0, 0.5)]: a list of one or more scales from 1 to 16 is accepted"),
        ("--scale 1x1x2", "the scale 1x1x2 goes across the slices, and these networks see slices"),
    ],
)
def test_what_the_bundle_refuses_is_told_in_a_line(truth, capsys, options, message):
    assert evaluate(truth, "out", "--device", "cpu", *options.split()) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("miassr")]
    assert len(err) == 1 and err[0].startswith(f"miassr: error: {message}")


def test_who_was_trained_on_is_not_evaluated(folder, capsys, write_volume):
    write_volume(folder / "data" / "training" / "sub-1.nii.gz")
    write_volume(folder / "data" / "test" / "sub-1.nii.gz")
    assert evaluate("data", "out", "--device", "cpu") == 2
    assert "error: the subject sub-1 is in the lists of training and of testing" in capsys.readouterr().err


def test_a_bug_in_an_evaluation_is_told_in_a_line(truth, asked, monkeypatch, capsys):
    def fail(self):
        raise RuntimeError("a bug") from KeyError("another")

    monkeypatch.setattr(Asked, "initialize", fail)
    assert evaluate("truth", "out") == 1
    assert "please report it: RuntimeError (a bug), line " in capsys.readouterr().err


def test_the_paper_s_protocol_scores_pairs_made_by_opencv(truth, capsys):
    assert evaluate(truth, "out", "--protocol", "paper", "--scale", "1.5", "--device", "cpu") == 0
    report = json.loads(Path("out/report.json").read_text())
    assert report["protocol"]["pairs"] == "as in the MIASSR paper"
    assert report["protocol"]["degradations"] == ["paper"]
    scores = pd.read_csv("out/report.csv").set_index(["method", "slice"])["psnr"]
    volume = nib.load(truth / "a.nii.gz").get_fdata()
    # No percentile: the highest voxel is 1. 24 x 20 pixels become 16 x 13 and 24 x 19.
    volume = (volume - volume.min()) / np.ptp(volume)
    for number in range(2):
        small = cv2.resize(volume[..., number], (13, 16), interpolation=cv2.INTER_CUBIC)
        wanted = cv2.resize(volume[..., number], (19, 24), interpolation=cv2.INTER_CUBIC)
        again = cv2.resize(cv2.GaussianBlur(small, (3, 3), 0), (19, 24), interpolation=cv2.INTER_CUBIC)
        expected = -10 * np.log10(np.square(again - wanted).mean())
        assert scores["bicubic", number] == pytest.approx(expected, abs=1e-4)
    assert evaluate(truth, "other", "--protocol", "paper", "--window", "0", "1") == 2
    assert "leave out --degradation, --window" in capsys.readouterr().err


def test_thick_slices_are_made_of_volumes_and_methods_compared(tmp_path, monkeypatch, capsys):
    data = np.random.default_rng(0).random((20, 20, 24), np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    made = {}

    def methods(models, **settings):
        made.update(models=models, **settings)
        return {"cubic spline": thick_slices.cubic_spline}

    monkeypatch.setattr(thick_slices, "thick_methods", methods)
    out = str(tmp_path / "out")
    arguments = ["evaluate", str(tmp_path / "a.nii.gz"), out, "--task", "through-plane", "--model", "mine=m.pt"]
    options = "--thickness 3 4 --gap 0 1 --profile box --adapt-minutes 2 --adapt-steps 9 --amp --device cpu"
    assert main([*arguments, *options.split()]) == 0
    table = (tmp_path / "out/through_plane.txt").read_text()
    assert capsys.readouterr().out == table
    assert [line.split("mm")[0].strip() for line in table.splitlines() if "mm" in line] == [
        "box 3",
        "box 3+1",
        "box 4",
        "box 4+1",
    ]
    assert made["models"] == {"model": None, "mine": "m.pt"} and made["amp"] and made["device"] == "cpu"
    assert made["adaptation"] == Adaptation(minutes=2.0, steps=9)
    assert main([*arguments, "--overwrite", "--scale", "2"]) == 2
    assert "--task through-plane makes thick slices: leave out --scale." in capsys.readouterr().err
    assert main(arguments) == 2


def test_networks_on_slices_and_on_volumes_are_compared_as_volumes(tmp_path, monkeypatch, capsys):
    data = np.random.default_rng(0).random((24, 24, 28), np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    made = {}

    def methods(models, **settings):
        made.update(models=models, **settings)
        return {"tricubic": lambda coarse, scales: tricubic_upscale(coarse.as_tensor(), scales)}

    monkeypatch.setattr(whole_volumes, "volume_methods", methods)
    monkeypatch.setattr("miassr_monai.cli.evaluate.built_in_models", lambda: {"small": "s.pt", "volume": "v.pt"})
    arguments = ["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "out"), "--task", "volume", "--device", "cpu"]
    assert main([*arguments, "--crop", "24x24x24", "--model", "mine=m.pt"]) == 0
    assert made["models"] == {"model": None, "volume": "volume", "mine": "m.pt"}
    assert capsys.readouterr().out == (tmp_path / "out/volume.txt").read_text()
    scores = pd.read_csv(tmp_path / "out/volume.csv")
    assert scores["input"].tolist() == [f"{d} x{s}" for d in ("psf", "kspace") for s in ("2", "3", "1x1x3")]
    assert json.loads((tmp_path / "out/volume.json").read_text())["crop"] == [24.0] * 3
    assert main([*arguments, "--overwrite", "--protocol", "paper"]) == 2
    assert "--task volume degrades volumes: leave out --protocol." in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "b"), "--crop", "9"]) == 2
    assert "--crop is for the tasks on volumes" in capsys.readouterr().err
