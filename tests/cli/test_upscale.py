import errno
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from miassr_monai import Predictor
from miassr_monai.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
SIZE = (10, 9, 6)
BICUBIC = ("--scale", "2", "--model", "bicubic")


def upscale(*arguments):
    return main(["upscale", *map(str, arguments)])


@pytest.fixture
def refusal(capsys, files):
    """Function that returns the sentence with which a request is refused, which leaves no file."""

    def refuse(*arguments):
        before = files(Path.cwd())
        assert upscale(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("miassr: error: ") and err.endswith(".\n") and err.count("\n") == 1
        assert files(Path.cwd()) == before
        return err

    return refuse


def test_a_volume_is_super_resolved_and_what_was_done_is_told(folder, weights, capsys, files):
    arguments = ["--model", weights, "--report", "r.json", "--preview", "p.png", "--device", "cpu"]
    assert upscale(folder / "in.nii.gz", folder / "out.nii.gz", "--spacing", "0.45", "0.55", *arguments) == 0
    out, err = capsys.readouterr()
    predictor = Predictor(weights, device="cpu")
    truth = predictor(folder / "in.nii.gz", spacing=(0.45, 0.55))
    saved = nib.load("out.nii.gz")
    assert saved.shape == (20, 18, 6)
    np.testing.assert_allclose(saved.get_fdata(), truth[0].numpy(), rtol=0, atol=1e-6)
    landmark = nib.load("in.nii.gz").affine @ (4, 5, 2, 1)
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


def test_a_gpu_without_enough_memory_is_told(weights, monkeypatch, refusal):
    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Predictor, "__call__", fail)
    sentence = "in.nii.gz needs more memory than the GPU has left: give a --tile-size below 64, or --device cpu."
    assert sentence in refusal("in.nii.gz", "out.nii.gz", "--scale", 2, "--model", weights, "--tile-size", 64)


@pytest.mark.parametrize(
    "name, write, message",
    [
        ("none.nii.gz", None, "there is no file or folder none.nii.gz: check the path"),
        ("text.txt", lambda p, _: p.write_text("hello"), "text.txt is not a volume"),
        ("bad.nii.gz", lambda p, _: p.write_text("hello"), "bad.nii.gz is not a NIfTI or Analyze image or is damaged"),
        ("nan.nii", lambda p, volume: volume(p, np.full(SIZE, np.nan)), "nan.nii holds NaN or infinite values"),
        ("flat.nii", lambda p, volume: volume(p, np.ones(SIZE)), "flat.nii has the value 1 everywhere"),
        ("complex.nii", lambda p, volume: volume(p, np.ones(SIZE, complex)), "complex.nii holds complex128 voxels"),
        ("empty", lambda p, _: p.mkdir(), "the folder empty holds no volume"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(folder, name, write, message, write_volume, refusal):
    if write is not None:
        write(folder / name, write_volume)
    assert message in refusal(name, "results" if name == "empty" else "out.nii.gz", *BICUBIC)


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
def test_a_request_that_cannot_be_met_is_refused(arguments, message, refusal):
    if "--model" not in arguments:
        arguments += " --model bicubic"
    assert message in refusal("in.nii.gz", "out.nii.gz", *arguments.split())


@pytest.mark.parametrize(
    "output, message",
    [
        ("out.mha", "out.mha is not the name of a NIfTI file: end it with .nii or .nii.gz"),
        ("none/out.nii.gz", "/none to write out.nii.gz in: make it first"),
        ("in.nii.gz", "in.nii.gz exists already: give another name, or --overwrite"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(output, message, refusal):
    assert message in refusal("in.nii.gz", output, *BICUBIC)


@pytest.mark.parametrize("option", [None, "--report", "--preview"])
def test_nothing_is_overwritten_unless_told_to(folder, option, refusal):
    name = "old.nii.gz" if option is None else "old"
    (folder / name).write_bytes(b"mine")
    arguments = ["in.nii.gz", "old.nii.gz" if option is None else "out.nii.gz", *BICUBIC]
    arguments += [] if option is None else [option, "old"]
    assert f"{name} exists already: give another name, or --overwrite" in refusal(*arguments)
    assert (folder / name).read_bytes() == b"mine"
    assert upscale(*arguments, "--overwrite") == 0
    assert (folder / name).stat().st_size > 100


def test_the_input_is_never_overwritten(folder, refusal):
    before = (folder / "in.nii.gz").read_bytes()
    assert "is the input itself" in refusal("in.nii.gz", folder / "in.nii.gz", *BICUBIC, "--overwrite")
    assert (folder / "in.nii.gz").read_bytes() == before


@pytest.mark.parametrize("option", [None, "--report"])
def test_a_read_only_folder_is_named(folder, monkeypatch, option, refusal):
    locked = folder / "locked"
    locked.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    arguments = ["in.nii.gz", "out.nii.gz", *BICUBIC, option, locked / "r.json"]
    if option is None:
        arguments = ["in.nii.gz", locked / "out.nii.gz", *BICUBIC]
    assert f"the folder {locked} is read-only" in refusal(*arguments)


def test_a_full_disk_leaves_nothing(folder, monkeypatch, refusal):
    def fail(image, path):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nib, "save", fail)
    message = refusal("in.nii.gz", "out.nii.gz", *BICUBIC, "--report", "r.json")
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
def test_a_command_that_is_stopped_leaves_nothing_partial(folder, number, files):
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


def test_in_a_folder_one_bad_volume_does_not_stop_the_others(folder, capsys, write_volume, files):
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


def test_a_folder_of_one_volume_is_a_folder(folder, write_volume, files):
    write_volume(folder / "one/a.nii.gz")
    assert upscale("one", "new/results", *BICUBIC, "--report", "r.json") == 0
    assert files(folder / "new") == {"results/a.nii.gz"}
    assert len(json.loads(Path("r.json").read_text())) == 1


def test_a_folder_whose_results_would_be_lost_is_refused(folder, write_volume, refusal):
    write_volume(folder / "all/a.nii.gz")
    before = (folder / "all/a.nii.gz").read_bytes()
    assert "give a folder for the results, not out.nii.gz" in refusal("all", "out.nii.gz", *BICUBIC)
    assert "is the input itself" in refusal("all", "all", *BICUBIC, "--overwrite")
    write_volume(folder / "all/a.nii")
    assert "would have the same result results/a.nii.gz: rename one" in refusal("all", "results", *BICUBIC)
    assert (folder / "all/a.nii.gz").read_bytes() == before


def test_a_dicom_series_is_read_and_its_patient_not_told(folder, capsys):
    pytest.importorskip("itk")
    spec = importlib.util.spec_from_file_location("dicom_files", Path(__file__).parents[1] / "data/test_dicom.py")
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


def test_a_warning_is_shown_in_a_line_and_kept_in_the_report(folder, weights, capsys, write_volume):
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
def test_strict_makes_warnings_errors(folder, weights, code, message, write_volume, refusal):
    write_volume(folder / "in.nii.gz", code=code)
    options = ["--scale", 2, 2, 2, "--model", weights, "--device", "cpu", "--strict"]
    assert message in refusal(folder / "in.nii.gz", "out.nii.gz", *options)


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
