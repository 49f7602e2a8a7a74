import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import volumes
from make import small_generator
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


def test_pictures_become_pictures_of_the_same_depth(folder, weights, capsys, files):
    (folder / "frames").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9), np.uint8)
    Image.fromarray(pixels).save("frames/a.png")
    Image.fromarray(257 * pixels.astype(np.uint16)).save("frames/b.tif")
    assert upscale("frames", "fine", "--scale", "2.5", "--quiet", "--model", weights, "--device", "cpu") == 0
    assert capsys.readouterr() == ("", "") and files(folder / "fine") == {"a.png", "b.tif"}
    predictor = Predictor(weights, device="cpu")
    for name, dtype in (("a.png", np.uint8), ("b.tif", np.uint16)):
        made = np.asarray(Image.open(folder / "fine" / name))
        truth = predictor(folder / "frames" / name, scale=2.5)[0].round().clamp(0, np.iinfo(dtype).max)
        assert made.dtype == dtype
        np.testing.assert_array_equal(made, truth.numpy())
    assert upscale("frames/a.png", "a.nii", *BICUBIC) == 0
    assert "a.nii: 12 x 9 -> 24 x 18, pixels of unknown size, " in capsys.readouterr().out


def test_what_a_picture_cannot_hold_or_say_is_refused_before_the_work(folder, refusal):
    Image.fromarray(np.eye(9, dtype=np.uint8)).save("a.png")
    assert "in.nii.gz: " not in refusal("in.nii.gz", "out.png", *BICUBIC)
    assert "give a scale instead of a spacing" in refusal("a.png", "out.png", "--spacing", "0.5", "--model", "bicubic")
    assert "cannot hold int16 values" in refusal("a.png", "out.png", "--dtype", "int16", *BICUBIC)


def test_a_volume_is_super_resolved_and_what_was_done_is_told(folder, weights, capsys, files):
    arguments = ["--model", weights, "--report", "r.json", "--preview", "p.png", "--device", "cpu"]
    assert upscale(folder / "in.nii.gz", folder / "out.nii.gz", "--spacing", "0.45x0.55", *arguments) == 0
    out, err = capsys.readouterr()
    predictor = Predictor(weights, device="cpu")
    truth = predictor(folder / "in.nii.gz", spacing=(0.45, 0.55))
    saved = nib.load("out.nii.gz")
    assert saved.shape == (20, 18, 6)
    np.testing.assert_allclose(saved.get_fdata(), truth[0].numpy(), rtol=0, atol=1e-6)
    landmark = nib.load("in.nii.gz").affine @ (4, 5, 2, 1)
    np.testing.assert_allclose(saved.affine @ (8.5, 10.5, 2, 1), landmark, rtol=0, atol=1e-4)
    assert err == ""
    sizes = "10 x 9 x 6 at 0.9 x 1.1 x 3 mm -> 20 x 18 x 6 at 0.45 x 0.55 x 3 mm"
    assert out.startswith(f"{folder}/out.nii.gz: {sizes}, axial slices (axis 2), ")
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
    assert upscale("in.nii.gz", "out.nii.gz", "--scale", "2x2", "--model", weights, *options.split()) == 0
    saved = nib.load("out.nii.gz").get_fdata()
    assert saved.shape == (20, 9, 12)
    np.testing.assert_allclose(saved, truth[0].numpy(), rtol=0, atol=1e-6)


def test_a_gpu_without_enough_memory_is_told(weights, monkeypatch, refusal):
    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Predictor, "__call__", fail)
    sentence = (
        "in.nii.gz needs more memory than there is: give a --tile-size below 64, or a smaller --scale, or --device"
    )
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
        ("--scale 2x2x2x2", "in.nii.gz: scale must be a number or one number for each axis"),
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


def test_nothing_that_is_read_is_ever_overwritten(folder, weights, refusal):
    (folder / "sub").mkdir()
    (folder / "link.nii.gz").symlink_to("in.nii.gz")
    os.link("in.nii.gz", "hard.nii.gz")
    before = [path.read_bytes() for path in (folder / "in.nii.gz", weights)]
    for name in ("in.nii.gz", "sub/../in.nii.gz", "link.nii.gz", "hard.nii.gz"):
        assert "is read by this very command" in refusal("in.nii.gz", name, *BICUBIC, "--overwrite")
        assert "is read by this very command" in refusal(name, folder / "in.nii.gz", *BICUBIC, "--overwrite")
        for option in ("--report", "--preview"):
            assert "is read by" in refusal("in.nii.gz", "out.nii.gz", *BICUBIC, option, name, "--overwrite")
    model = ("--model", weights, "--report", weights)
    assert "is read by" in refusal("in.nii.gz", "out.nii.gz", "--scale", 2, *model, "--overwrite")
    assert [path.read_bytes() for path in (folder / "in.nii.gz", weights)] == before


@pytest.mark.parametrize(
    "options",
    [("--report", "out.nii.gz"), ("--report", "./r.json", "--preview", "r.json"), ("--preview", "sub/../out.nii.gz")],
)
def test_no_two_results_have_one_name(folder, refusal, options):
    (folder / "sub").mkdir()
    assert "would be written twice" in refusal("in.nii.gz", "out.nii.gz", *BICUBIC, *options, "--overwrite")


def test_a_link_that_leads_nowhere_is_there_already(folder, refusal):
    (folder / "out.nii.gz").symlink_to("nowhere.nii.gz")
    assert "out.nii.gz exists already" in refusal("in.nii.gz", "out.nii.gz", *BICUBIC)
    assert upscale("in.nii.gz", "out.nii.gz", *BICUBIC, "--overwrite") == 0
    assert (folder / "out.nii.gz").is_symlink() and nib.load("nowhere.nii.gz").shape == (20, 18, 6)


def test_a_name_that_is_too_long_is_told_in_a_line(refusal):
    name = 256 * "x" + ".nii"
    assert refusal("in.nii.gz", name, *BICUBIC) == f"miassr: error: {name}: File name too long.\n"


@pytest.mark.parametrize(
    "arguments",
    [("none.nii.gz", "out.nii.gz"), ("in.nii.gz", "old.nii.gz"), ("in.nii.gz", "out.nii.gz", "--model", "x")],
)
def test_what_is_not_there_or_there_already_is_told_before_anything_heavy_is_loaded(folder, arguments):
    (folder / "old.nii.gz").write_bytes(b"mine")
    code = (
        "import sys\nfrom miassr_monai.cli import main\nassert main(['upscale', *sys.argv[1:], '--scale', '2']) == 2\n"
        "print([m for m in ('torch', 'monai', 'numpy', 'nibabel', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout == "[]\n" and done.stderr.startswith("miassr: error: "), done.stderr


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_nothing_partial(folder, number, files, capsys):
    process = multiprocessing.get_context("fork").Process(target=run_slowly, args=(folder,))
    process.start()
    end = time.monotonic() + 20
    while not list(folder.glob(".*partial*")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.join(20)
    left = files(folder) - {"in.nii.gz", "errors"}
    if number == signal.SIGKILL:
        assert process.exitcode == -number and len(left) == 1 and "partial" in left.pop()
        # The next run clears what this one has left.
        assert upscale("in.nii.gz", "out.nii.gz", *BICUBIC) == 0
        assert files(folder) == {"in.nii.gz", "errors", "out.nii.gz"}
    else:
        assert process.exitcode == 130 and not left
        assert Path("errors").read_text() == "miassr: interrupted; nothing partial was written.\n"


def test_in_a_folder_one_bad_volume_does_not_stop_the_others(folder, capsys, write_volume, files):
    for name in ("a.nii", "b.nii.gz", "deep/c.NII.GZ", "deep/x.y.hdr", ".hidden/d.nii"):
        path = write_volume(folder / "all" / name.replace(".hdr", ".nii"))
        if name.endswith(".hdr"):
            nib.save(nib.Nifti1Pair.from_image(nib.load(path)), path.with_suffix(".hdr"))
            path.unlink()
    (folder / "all/bad.nii.gz").write_text("hello")
    assert upscale("all", "results", *BICUBIC, "--report", "r.json", "--preview", "p.png") == 2
    out, err = capsys.readouterr()
    assert files(folder / "results") == {"a.nii.gz", "b.nii.gz", "deep/c.nii.gz", "deep/x.y.nii.gz"}
    sentence, summary = err.splitlines()
    assert sentence.startswith("miassr: error: all/bad.nii.gz is not")
    assert summary == "miassr: 1 of 5 volumes failed: bad.nii.gz."
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"results/{name}.nii.gz" for name in ("a", "b", "deep/c", "deep/x.y")
    ]
    reports = json.loads(Path("r.json").read_text())
    assert [r["input_file"] for r in reports] == ["a.nii", "b.nii.gz", "bad.nii.gz", "deep/c.NII.GZ", "deep/x.y.hdr"]
    assert [r.get("output_file") for r in reports] == ["a.nii.gz", "b.nii.gz", None, "deep/c.nii.gz", "deep/x.y.nii.gz"]
    assert reports[2]["error"].startswith("bad.nii.gz is not a NIfTI")
    assert Path("p.png").is_file()
    (folder / "all/bad.nii.gz").unlink()
    assert upscale("all", "again", *BICUBIC, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


FAILURES = {
    "a bug": (KeyError(77), r"all/b.nii failed in an unforeseen way, please report it: KeyError \(77\), line \d+ of "),
    "NumPy's memory": (MemoryError(), "all/b.nii needs more memory than there is: give a --tile-size below 512"),
    "PyTorch's memory": (
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        "all/b.nii needs more memory than there is",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_that_nobody_foresaw_does_not_stop_the_others(
    folder, capsys, write_volume, files, monkeypatch, failure
):
    for name in "abc":
        write_volume(folder / f"all/{name}.nii")
    error, message = FAILURES[failure]
    call = Predictor.__call__

    def fail(predictor, image, **wish):
        if image.meta["filename_or_obj"] == "all/b.nii":
            # What was done is told even if the next volume kills the process.
            assert [r["input_file"] for r in json.loads(Path("r.json").read_text())] == ["a.nii"]
            raise error
        return call(predictor, image, **wish)

    monkeypatch.setattr(Predictor, "__call__", fail)
    assert upscale("all", "results", *BICUBIC, "--report", "r.json") == 2
    sentence, summary = capsys.readouterr().err.splitlines()
    assert re.match(f"miassr: error: {message}", sentence) and summary == "miassr: 1 of 3 volumes failed: b.nii."
    assert files(folder / "results") == {"a.nii.gz", "c.nii.gz"}
    assert re.match(message.replace("all/", ""), json.loads(Path("r.json").read_text())[1]["error"])


def test_each_warning_about_a_folder_says_whose_it_is(folder, capsys, write_volume):
    write_volume(folder / "all/lost.nii", code=0)
    write_volume(folder / "all/clipped.nii", np.minimum(np.random.default_rng(0).random(SIZE, np.float32), 0.5))
    assert upscale("all", "results", *BICUBIC, "--report", "r.json") == 0
    clipped, lost = capsys.readouterr().err.splitlines()
    assert clipped.startswith("miassr: warning: all/clipped.nii: 5") and clipped.endswith("the image looks clipped.")
    assert lost.startswith("miassr: warning: all/lost.nii does not say how the patient lies")
    assert [r["warnings"][0][:10] for r in json.loads(Path("r.json").read_text())] == [clipped[34:44], "lost.nii d"]


def test_a_run_can_be_continued(folder, capsys, write_volume, files):
    for name in ("a.nii", "deep/b.nii", "c.nii"):
        write_volume(folder / "all" / name)
    assert upscale("all", "results", *BICUBIC, "--report", "r.json") == 0
    whole = json.loads(Path("r.json").read_text())
    Path("results/deep/b.nii.gz").unlink()
    before = {name: Path("results", name).stat().st_mtime_ns for name in files(folder / "results")}
    capsys.readouterr()
    assert upscale("all", "results", *BICUBIC, "--report", "r.json", "--skip-existing") == 0
    out, err = capsys.readouterr()
    assert out.startswith("miassr: 2 of 3 results exist already and are left as they are.\nresults/deep/b.nii.gz: ")
    assert out.count("\n") == 2 and err == ""
    assert {name: Path("results", name).stat().st_mtime_ns for name in before} == before
    reports = json.loads(Path("r.json").read_text())
    assert {r["input_file"] for r in reports} == {"a.nii", "c.nii", "deep/b.nii"} and len(reports) == 3
    assert all(r in reports for r in whole if r["input_file"] != "deep/b.nii")
    # There is nothing left to do, and so no model is needed.
    assert upscale("all", "results", "--scale", 2, "--device", "none", "--skip-existing") == 0
    assert upscale("in.nii.gz", "results/a.nii.gz", "--scale", 2, "--device", "none", "--skip-existing") == 0


def test_a_folder_of_one_volume_is_a_folder(folder, write_volume, files):
    write_volume(folder / "one/a.nii.gz")
    assert upscale("one", "new/results", *BICUBIC, "--report", "r.json") == 0
    assert files(folder / "new") == {"results/a.nii.gz"}
    assert len(json.loads(Path("r.json").read_text())) == 1


def test_a_dicom_series_is_read_and_its_patient_not_told(folder, capsys):
    pytest.importorskip("itk")
    pixels = volumes.write_series(folder / "series", shape=(8, 9), sop=volumes.CT)
    assert upscale("series", "out.nii.gz", *BICUBIC, "--report", "r.json") == 0
    err = capsys.readouterr().err
    assert err.startswith("miassr: warning: CT without a window") and err.count("\n") == 1
    saved = nib.load("out.nii.gz")
    assert saved.shape == (18, 16, 4)
    # The corners of the volume, which super-resolution keeps, in RAS.
    corner = volumes.FIRST_PIXEL - (volumes.ROW * volumes.BETWEEN_COLUMNS + volumes.COLUMN * volumes.BETWEEN_ROWS) / 2
    np.testing.assert_allclose(saved.affine @ (-0.5, -0.5, 0, 1), (*(corner * (-1, -1, 1)), 1), rtol=0, atol=1e-4)
    assert abs(saved.get_fdata().mean() - pixels.mean()) < 5
    content = Path("out.nii.gz").read_bytes(), nib.load("out.nii.gz").header.binaryblock
    text = Path("r.json").read_text()
    assert not any(value in text or any(value.encode() in c for c in content) for value in volumes.PRIVATE)
    assert str(folder) not in text and json.loads(text)["input_file"] == "series"


def test_a_folder_of_series_and_nrrd_files_is_a_folder_of_volumes(folder, files):
    pytest.importorskip("itk")
    (folder / "all/deep").mkdir(parents=True)
    first = volumes.write_series(folder / "all/one", shape=(8, 9))
    volumes.write_series(folder / "all/deep/two", shape=(7, 9))
    volumes.write_nrrd(folder / "all/a.nrrd")
    assert upscale("all", "results", *BICUBIC, "--quiet") == 0
    assert files(folder / "results") == {"one.nii.gz", "deep/two.nii.gz", "a.nii.gz"}
    assert upscale("all/one", "one.nii.gz", *BICUBIC, "--quiet") == 0
    for name in ("one.nii.gz", "results/one.nii.gz"):
        assert abs(nib.load(name).get_fdata().mean() - first.mean()) < 5
    assert nib.load("results/a.nii.gz").shape == (6, 8, 5)


def test_a_warning_is_shown_in_a_line_and_kept_in_the_report(folder, weights, capsys, write_volume):
    source = write_volume(folder / "lost.nii.gz", code=0)
    arguments = [source, "out.nii.gz", "--scale", "2x2x2", "--model", weights, "--device", "cpu", "--overwrite"]
    assert upscale(*arguments, "--report", "r.json") == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all(line.startswith("miassr: warning: ") for line in err)
    assert "does not say how the patient lies" in err[0] and "no weights for the axis across" in err[1]
    told = json.loads(Path("r.json").read_text())["warnings"]
    assert [f"miassr: warning: {w}" for w in told] == [err[0].replace(f"{folder}/", ""), err[1]]
    assert upscale(*arguments, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_weights_that_a_scan_has_taught_are_kept_and_can_be_given(folder, write_volume, refusal):
    torch.manual_seed(0)
    network = small_generator(depth=1, skip="bicubic", anisotropic=True)
    torch.save(network.state_dict(), "anisotropic.pt")
    write_volume(folder / "in.nii.gz", np.random.default_rng(0).random((16, 18, 6), np.float32))
    options = ["--scale", "1x1x3", "--slice-thickness", "3", "--device", "cpu", "--overwrite"]
    adapting = ["--model", "anisotropic.pt", "--adapt", "--adapt-minutes", "0.01", "--save-model", "own.pt"]
    assert upscale("in.nii.gz", "a.nii.gz", *options, *adapting, "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text())["adaptation"]["steps"] >= 1
    assert upscale("in.nii.gz", "b.nii.gz", *options, "--model", "own.pt", "--consistency", "project") == 0
    first, second = (nib.load(name).get_fdata() for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


def test_weights_are_kept_of_an_adaptation_to_one_scan_only(refusal):
    request = ["in.nii.gz", "c.nii.gz", "--scale", "1x1x3", "--save-model", "own.pt"]
    assert "--save-model keeps what --adapt makes of one scan" in refusal(*request)


@pytest.mark.parametrize("code, message", [(0, "does not say how"), (1, "in.nii.gz: the model has no weights for")])
def test_strict_makes_warnings_errors(folder, weights, code, message, write_volume, refusal):
    write_volume(folder / "in.nii.gz", code=code)
    options = ["--scale", "2x2x2", "--model", weights, "--device", "cpu", "--strict"]
    assert message in refusal(folder / "in.nii.gz", "out.nii.gz", *options)


@pytest.mark.parametrize("dtype", ["int16", "input"])
def test_a_result_is_written_in_the_type_that_is_asked_for(folder, write_volume, dtype):
    write_volume(folder / "ints.nii", np.random.default_rng(0).integers(-40, 900, SIZE, np.int16))
    assert upscale("ints.nii", "exact.nii", *BICUBIC) == upscale("ints.nii", "out.nii", *BICUBIC, "--dtype", dtype) == 0
    saved, exact = nib.load("out.nii"), nib.load("exact.nii")
    assert (saved.get_data_dtype(), exact.get_data_dtype()) == (np.int16, np.float32)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(exact.dataobj).round())
    assert np.asarray(exact.dataobj).min() < -40.6
