import errno
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from miassr_monai import Predictor, cli
from miassr_monai.cli import main
from miassr_monai.networks import MetaSRGenerator
from miassr_monai.transforms import psf_degradation

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
AFFINE = np.array([[0.0, -1.1, 0.0, 90.0], [0.9, 0.0, 0.0, -12.0], [0.0, 0.0, 3.0, 7.5], [0.0, 0.0, 0.0, 1.0]])
SIZE = (10, 9, 6)
BICUBIC = ("--scale", "2", "--model", "bicubic")


def write_volume(path, data=None, affine=AFFINE, code=1):
    path.parent.mkdir(exist_ok=True, parents=True)
    image = nib.Nifti1Image(np.random.default_rng(0).random(SIZE, np.float32) if data is None else data, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    nib.save(image, path)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Folder to work in, with a volume ``in.nii.gz``."""
    write_volume(tmp_path / "in.nii.gz")
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def weights(folder):
    torch.manual_seed(0)
    torch.save(MetaSRGenerator(width=4, depth=1, hidden_channels=8, skip="bicubic").state_dict(), "weights.pt")
    return folder / "weights.pt"


def files(folder):
    """Names of the files in a folder and its sub-folders, hidden ones too."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def upscale(*arguments):
    return main(["upscale", *map(str, arguments)])


def refusal(capsys, *arguments):
    """The sentence with which a request is refused, and that it leaves no file."""
    before = files(Path.cwd())
    assert upscale(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("miassr: error: ") and err.endswith(".\n") and err.count("\n") == 1
    assert files(Path.cwd()) == before
    return err


def test_a_volume_is_super_resolved_and_what_was_done_is_told(folder, weights, capsys):
    arguments = ["--model", weights, "--report", "r.json", "--preview", "p.png", "--device", "cpu"]
    assert upscale(folder / "in.nii.gz", folder / "out.nii.gz", "--spacing", "0.45", "0.55", *arguments) == 0
    out, err = capsys.readouterr()
    predictor = Predictor(weights, device="cpu")
    truth = predictor(folder / "in.nii.gz", spacing=(0.45, 0.55))
    saved = nib.load("out.nii.gz")
    assert saved.shape == (20, 18, 6)
    np.testing.assert_allclose(saved.get_fdata(), truth[0].numpy(), rtol=0, atol=1e-6)
    landmark = AFFINE @ (4, 5, 2, 1)
    np.testing.assert_allclose(saved.affine @ (8.5, 10.5, 2, 1), landmark, rtol=0, atol=1e-4)
    assert err == ""
    assert out.startswith(f"{folder}/out.nii.gz: 10 x 9 x 6 at 0.9 x 1.1 x 3 mm -> 20 x 18 x 6 at 0.45 x 0.55 x 3 mm, ")
    report = json.loads(Path("r.json").read_text())
    expected = json.loads(json.dumps(predictor.report)) | {"input_file": "in.nii.gz", "output_file": "out.nii.gz"}
    assert {k: v for k, v in report.items() if k != "seconds"} == {k: v for k, v in expected.items() if k != "seconds"}
    assert f"consistency {report['consistency']['psnr_db']:.1f} dB" in out
    assert str(folder) not in Path("r.json").read_text()
    with Image.open("p.png") as picture:
        assert picture.format == "PNG" and np.asarray(picture.convert("L")).std() > 10
    assert files(folder) == {"in.nii.gz", "weights.pt", "out.nii.gz", "r.json", "p.png"}


def test_settings_reach_the_predictor(folder, weights):
    settings = {"window": (0.2, 0.7), "slice_axis": 1, "amp": True, "tile_size": 4, "consistency": "project"}
    truth = Predictor(weights, device="cpu", **settings)(folder / "in.nii.gz", scale=(2, 2))
    options = "--window 0.2 0.7 --slice-axis 1 --amp --tile-size 4 --consistency project --device cpu --quiet"
    assert upscale("in.nii.gz", "out.nii.gz", "--scale", 2, 2, "--model", weights, *options.split()) == 0
    saved = nib.load("out.nii.gz").get_fdata()
    assert saved.shape == (20, 9, 12)
    np.testing.assert_allclose(saved, truth[0].numpy(), rtol=0, atol=1e-6)


def test_a_gpu_without_enough_memory_is_told(weights, capsys, monkeypatch):
    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Predictor, "__call__", fail)
    sentence = "in.nii.gz needs more memory than the GPU has left: give a --tile-size below 64, or --device cpu."
    assert sentence in refusal(capsys, "in.nii.gz", "out.nii.gz", "--scale", 2, "--model", weights, "--tile-size", 64)


@pytest.mark.parametrize(
    "name, write, message",
    [
        ("none.nii.gz", None, "there is no file or folder none.nii.gz: check the path"),
        ("text.txt", lambda p: p.write_text("hello"), "text.txt is not a volume"),
        ("bad.nii.gz", lambda p: p.write_text("hello"), "bad.nii.gz is not a NIfTI or Analyze image or is damaged"),
        ("nan.nii", lambda p: write_volume(p, np.full(SIZE, np.nan)), "nan.nii holds NaN or infinite values"),
        ("flat.nii", lambda p: write_volume(p, np.ones(SIZE)), "flat.nii has the value 1 everywhere"),
        ("complex.nii", lambda p: write_volume(p, np.ones(SIZE, complex)), "complex.nii holds complex128 voxels"),
        ("empty", lambda p: p.mkdir(), "the folder empty holds no volume"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(folder, capsys, name, write, message):
    if write is not None:
        write(folder / name)
    assert message in refusal(capsys, name, "results" if name == "empty" else "out.nii.gz", *BICUBIC)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--scale 0.5", "in.nii.gz: the scale must be in [1, 8] along each axis"),
        ("--scale 40", "in.nii.gz: the scale must be in [1, 8] along each axis"),
        ("--scale nan", "in.nii.gz: the scale must be in [1, 8] along each axis"),
        ("--scale 1", "in.nii.gz: there is nothing to do"),
        ("--scale 2 2 2 2", "in.nii.gz: scale must be a number or one number for each axis"),
        ("--spacing 0", "in.nii.gz: the spacing must be above 0 mm"),
        ("--spacing 2", "in.nii.gz: axis 0 has a spacing of 0.9 mm, and"),
        ("--scale 2 --window 7 3", "window must be two intensities, the lower one first"),
        ("--scale 2 --tile-size 0", "tile_size must be at least 1"),
        ("--scale 2 --device gpu", "the device 'gpu' cannot be used here"),
        ("--scale 2 --model none.pt", "there is no model at none.pt"),
        ("--scale 2 --model in.nii.gz", "in.nii.gz does not hold the weights of a generator"),
        ("--scale 2 --report none/r.json", "/none to write r.json in: make it first"),
        ("--scale 2 --preview none/p.png", "/none to write p.png in: make it first"),
        ("--scale 2 --report .", ". is a folder: give the name of a file"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(capsys, arguments, message):
    if "--model" not in arguments:
        arguments += " --model bicubic"
    assert message in refusal(capsys, "in.nii.gz", "out.nii.gz", *arguments.split())


@pytest.mark.parametrize(
    "output, message",
    [
        ("out.mha", "out.mha is not the name of a NIfTI file: end it with .nii or .nii.gz"),
        ("none/out.nii.gz", "/none to write out.nii.gz in: make it first"),
        ("in.nii.gz", "in.nii.gz exists already: give another name, or --overwrite"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(capsys, output, message):
    assert message in refusal(capsys, "in.nii.gz", output, *BICUBIC)


@pytest.mark.parametrize("option", [None, "--report", "--preview"])
def test_nothing_is_overwritten_unless_told_to(folder, capsys, option):
    name = "old.nii.gz" if option is None else "old"
    (folder / name).write_bytes(b"mine")
    arguments = ["in.nii.gz", "old.nii.gz" if option is None else "out.nii.gz", *BICUBIC]
    arguments += [] if option is None else [option, "old"]
    assert f"{name} exists already: give another name, or --overwrite" in refusal(capsys, *arguments)
    assert (folder / name).read_bytes() == b"mine"
    assert upscale(*arguments, "--overwrite") == 0
    assert (folder / name).stat().st_size > 100


def test_the_input_is_never_overwritten(folder, capsys):
    before = (folder / "in.nii.gz").read_bytes()
    assert "is the input itself" in refusal(capsys, "in.nii.gz", folder / "in.nii.gz", *BICUBIC, "--overwrite")
    assert (folder / "in.nii.gz").read_bytes() == before


@pytest.mark.parametrize("option", [None, "--report"])
def test_a_read_only_folder_is_named(folder, capsys, monkeypatch, option):
    locked = folder / "locked"
    locked.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    arguments = ["in.nii.gz", "out.nii.gz", *BICUBIC, option, locked / "r.json"]
    if option is None:
        arguments = ["in.nii.gz", locked / "out.nii.gz", *BICUBIC]
    assert f"the folder {locked} is read-only" in refusal(capsys, *arguments)


def test_a_full_disk_leaves_nothing(folder, capsys, monkeypatch):
    def fail(image, path):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nib, "save", fail)
    message = refusal(capsys, "in.nii.gz", "out.nii.gz", *BICUBIC, "--report", "r.json")
    assert "out.nii.gz cannot be written (No space left on device): make room" in message


def run_slowly(folder):
    """The command, which gets stuck while it writes."""

    def stick(image, path):
        Path(path).write_bytes(b"half")
        time.sleep(60)

    torch.set_num_threads(1)
    os.chdir(folder)
    sys.stderr = open("errors", "w", buffering=1)  # noqa: SIM115
    nib.save = stick
    sys.exit(upscale("in.nii.gz", "out.nii.gz", *BICUBIC, "--report", "r.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_nothing_partial(folder, number):
    process = multiprocessing.get_context("fork").Process(target=run_slowly, args=(folder,))
    process.start()
    end = time.monotonic() + 20
    while not list(folder.glob(".*partial*")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.join(20)
    left = files(folder) - {"in.nii.gz", "errors"}
    if number == signal.SIGKILL:
        assert process.exitcode == -number and not left & {"out.nii.gz", "r.json"}
    else:
        assert process.exitcode == 130 and not left
        assert Path("errors").read_text() == "miassr: interrupted; nothing partial was written.\n"


def test_in_a_folder_one_bad_volume_does_not_stop_the_others(folder, capsys):
    for name in ("a.nii", "b.nii.gz", "deep/c.NII.GZ", "deep/x.y.hdr"):
        path = write_volume(folder / "all" / name.replace(".hdr", ".nii"))
        if name.endswith(".hdr"):
            nib.save(nib.Nifti1Pair.from_image(nib.load(path)), path.with_suffix(".hdr"))
            path.unlink()
    (folder / "all/bad.nii.gz").write_text("hello")
    assert upscale("all", "results", *BICUBIC, "--report", "r.json", "--preview", "p.png") == 2
    out, err = capsys.readouterr()
    assert files(folder / "results") == {"a.nii.gz", "b.nii.gz", "deep/c.nii.gz", "deep/x.y.nii.gz"}
    assert err.startswith("miassr: error: all/bad.nii.gz is not") and err.count("\n") == 1
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"results/{name}.nii.gz" for name in ("a", "b", "deep/c", "deep/x.y")
    ]
    reports = json.loads(Path("r.json").read_text())
    assert [r["input_file"] for r in reports] == ["a.nii", "b.nii.gz", "c.NII.GZ", "x.y.hdr"]
    assert Path("p.png").is_file()
    (folder / "all/bad.nii.gz").unlink()
    assert upscale("all", "again", *BICUBIC, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_folder_of_one_volume_is_a_folder(folder):
    write_volume(folder / "one/a.nii.gz")
    assert upscale("one", "new/results", *BICUBIC, "--report", "r.json") == 0
    assert files(folder / "new") == {"results/a.nii.gz"}
    assert len(json.loads(Path("r.json").read_text())) == 1


def test_a_folder_whose_results_would_be_lost_is_refused(folder, capsys):
    write_volume(folder / "all/a.nii.gz")
    before = (folder / "all/a.nii.gz").read_bytes()
    assert "give a folder for the results, not out.nii.gz" in refusal(capsys, "all", "out.nii.gz", *BICUBIC)
    assert "is the input itself" in refusal(capsys, "all", "all", *BICUBIC, "--overwrite")
    write_volume(folder / "all/a.nii")
    assert "would have the same result results/a.nii.gz: rename one" in refusal(capsys, "all", "results", *BICUBIC)
    assert (folder / "all/a.nii.gz").read_bytes() == before


def test_a_dicom_series_is_read_and_its_patient_not_told(folder, capsys):
    pytest.importorskip("itk")
    spec = importlib.util.spec_from_file_location("dicom_files", Path(__file__).parent / "data/test_dicom.py")
    dicom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dicom)
    pixels = dicom.write_series(folder / "series", shape=(8, 9), sop=dicom.CT)
    assert upscale("series", "out.nii.gz", *BICUBIC, "--report", "r.json") == 0
    err = capsys.readouterr().err
    assert err.startswith("miassr: warning: CT without a window") and err.count("\n") == 1
    saved = nib.load("out.nii.gz")
    assert saved.shape == (18, 16, 4)
    # The corners of the volume, which super-resolution keeps, in RAS.
    corner = dicom.ORIGIN - (dicom.ROW * dicom.BETWEEN_COLUMNS + dicom.COLUMN * dicom.BETWEEN_ROWS) / 2
    np.testing.assert_allclose(saved.affine @ (-0.5, -0.5, 0, 1), (*(corner * (-1, -1, 1)), 1), rtol=0, atol=1e-4)
    assert abs(saved.get_fdata().mean() - pixels.mean()) < 5
    content = Path("out.nii.gz").read_bytes(), nib.load("out.nii.gz").header.binaryblock
    text = Path("r.json").read_text()
    assert not any(value in text or any(value.encode() in c for c in content) for value in dicom.PRIVATE)
    assert str(folder) not in text and json.loads(text)["input_file"] == "series"


def test_a_warning_is_shown_in_a_line_and_kept_in_the_report(folder, weights, capsys):
    source = write_volume(folder / "lost.nii.gz", code=0)
    arguments = [source, "out.nii.gz", "--scale", 2, 2, 2, "--model", weights, "--device", "cpu", "--overwrite"]
    assert upscale(*arguments, "--report", "r.json") == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all(line.startswith("miassr: warning: ") for line in err)
    assert "does not say how the patient lies" in err[0] and "no weights for the axis across" in err[1]
    told = json.loads(Path("r.json").read_text())["warnings"]
    assert [f"miassr: warning: {w}" for w in told] == [err[0].replace(f"{folder}/", ""), err[1]]
    assert upscale(*arguments, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("code, message", [(0, "does not say how"), (1, "in.nii.gz: the model has no weights for")])
def test_strict_makes_warnings_errors(folder, weights, capsys, code, message):
    write_volume(folder / "in.nii.gz", code=code)
    options = ["--scale", 2, 2, 2, "--model", weights, "--device", "cpu", "--strict"]
    assert message in refusal(capsys, folder / "in.nii.gz", "out.nii.gz", *options)


def test_an_unknown_error_is_not_swallowed(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Predictor, "__call__", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        upscale("in.nii.gz", "out.nii.gz", *BICUBIC)
    (Path.cwd() / "all").mkdir()
    os.rename("in.nii.gz", "all/in.nii.gz")
    with pytest.raises(RuntimeError, match="a bug"):
        upscale("all", "results", *BICUBIC)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "required: COMMAND"),
        (["upscale", "a", "b"], "one of the arguments --scale --spacing is required"),
        (["upscale", "a", "b", "--scale", "2", "--spacing", "1"], "not allowed with argument"),
        (["upscale", "--scale", "2", "a.nii", "b.nii"], "'a.nii' is not a number (IN and OUT go before the options)"),
        (["upscale", "a", "b", "--scale", "two"], "'two' is not a number"),
        (["upscale", "a", "b", "--scale", "2", "--slice-axis", "3"], "invalid choice"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.fixture
def truth(folder):
    """Folder of a volume to degrade."""
    generator = np.random.default_rng(1)
    return write_volume(folder / "truth" / "a.nii.gz", generator.random((24, 20, 2), np.float32), np.eye(4)).parent


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def test_models_are_compared_on_a_folder_of_volumes(folder, truth, weights, capsys):
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
    network = MetaSRGenerator.from_weights(torch.load(weights, weights_only=True)).eval()
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


class Asked(monai.bundle.ConfigWorkflow):
    """A workflow that does nothing but tell what was asked of it."""

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
    options = "--scale 2 3.5 --degradation psf kspace --window -160 240 --slice-step 3 --inception i.pth --frd --amp"
    assert evaluate("truth", "out", *options.split(), "--device", "cpu", "--model", "a=b=c.pt", "--model", "d=e") == 0
    assert {key: value for key, value in asked[1].items() if key not in given} == {
        **always,
        "methods": {**methods, "a": "b=c.pt", "d": "e"},
        "scales": [2, 3.5],
        "degradations": {"psf": "$psf_degradation", "kspace": "$kspace_degradation"},
        "intensity_window": True,
        "intensity_lower": -160,
        "intensity_upper": 240,
        "slice_step": 3,
        "inception_path": "i.pth",
        "with_frd": True,
        "amp": True,
        "device": "cpu",
    }


def test_a_section_of_a_data_set_is_evaluated(folder, asked):
    for section in ("training", "test"):
        write_volume(folder / "data" / section / f"{section}.nii.gz")
    assert evaluate("data", "out") == evaluate("data", "out", "--section", "training") == 0
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
        ("--degradation paper blur", "invalid choice: 'blur'"),
        ("--scale two", "'two' is not a number"),
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
        ("truth out --model bicubic=w.pt", "there are two methods called 'bicubic': give --model another name"),
        ("truth out --model a=w.pt --model a=v.pt", "there are two methods called 'a': give --model another name"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_refused_before_any_work(folder, truth, asked, capsys, arguments, message):
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
        ("--window 3 1", "lower must be below upper, got 3.0 and 1.0"),
    ],
)
def test_what_the_bundle_refuses_is_told_in_a_line(truth, capsys, options, message):
    assert evaluate(truth, "out", "--device", "cpu", *options.split()) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("miassr")]
    assert len(err) == 1 and err[0].startswith(f"miassr: error: {message}")


def test_who_was_trained_on_is_not_evaluated(folder, capsys):
    write_volume(folder / "data" / "training" / "sub-1.nii.gz")
    write_volume(folder / "data" / "test" / "sub-1.nii.gz")
    assert evaluate("data", "out", "--device", "cpu") == 2
    assert "error: the subject sub-1 is in the lists of training and of testing" in capsys.readouterr().err


def test_a_bug_in_an_evaluation_is_not_swallowed(truth, asked, monkeypatch):
    def fail(self):
        raise RuntimeError("a bug") from KeyError("another")

    monkeypatch.setattr(Asked, "initialize", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        evaluate("truth", "out")


def test_info_tells_of_a_bundle_and_of_weights_alone(folder, weights, capsys):
    assert main(["info", "--model", str(weights)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["model"] == "weights.pt" and lines["scales"] == lines["licence"] == "unknown"
    for name in ("models", "configs"):
        (folder / name).mkdir()
    weights.rename(folder / "models/model.pt")
    trained = {"scales": [1, 4], "spacing_mm": [0.45, 1.2], "modalities": ["MR", "CT"], "license": "CC BY 4.0"}
    metadata = {"name": "brains", "version": "1.0.0", "trained_for": trained, "intended_use": "research only"}
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    assert main(["info", "--model", "."]) == 0
    out = capsys.readouterr().out
    rows = ("model         brains", "scales        1 to 4", "spacing made  0.45 to 1.2 mm", "modalities    MR, CT")
    assert all(row in out.splitlines() for row in (*rows, "licence       CC BY 4.0", "version       1.0.0"))
    assert main(["info", "--model", "none"]) == 2
    capsys.readouterr()
    assert main(["info"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "others        --model small"


def test_help_and_info_import_nothing_heavy(weights):
    code = (
        "import sys\nfrom miassr_monai.cli import main\n"
        "for line in (['--help'], ['upscale', '--help'], ['evaluate', '--help'],\n"
        "             ['info', '--model', sys.argv[1]], ['completion', 'bash']):\n"
        "    try:\n        main(line)\n    except SystemExit as done:\n        assert done.code == 0\n"
        "print([m for m in ('torch', 'monai', 'numpy', 'nibabel', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, weights], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("\n[]\n"), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_names_every_option(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    words = set(script.replace('"', " ").replace(";", " ").split())
    assert {"upscale", "info", "completion", "--scale", "--spacing", "--overwrite", "--preview"} <= words
    assert {"evaluate", "--model", "--section", "--degradation", "--slice-step", "--inception", "--frd"} <= words
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
        line = "COMP_WORDS=(miassr upscale --sc) COMP_CWORD=2; _miassr; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{line}"], capture_output=True, text=True)
        assert done.stdout == "--scale\n"


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"miassr {cli.miassr_monai.__version__}\n"
