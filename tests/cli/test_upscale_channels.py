import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from make import small_generator
from PIL import Image

from miassr_monai import Predictor
from miassr_monai.cli import main

FILES = ("t1.nii.gz", "t2.nii.gz", "flair.nii.gz")


@pytest.fixture
def three(folder, write_volume):
    """Weights for three channels, and the files of these."""
    generator = np.random.default_rng(1)
    for number, name in enumerate(FILES):
        write_volume(folder / name, (10**number * generator.random((10, 9, 6))).astype(np.float32))
    torch.manual_seed(0)
    torch.save(small_generator(3, skip="bicubic").state_dict(), "three.pt")
    return folder / "three.pt"


def upscale(*arguments):
    return main(["upscale", "--channels", *map(str, arguments), "--scale", "2", "--device", "cpu"])


def test_channels_are_seen_together_and_each_has_its_result(three, folder, capsys):
    arguments = ["--model", three, "--report", "r.json", "--preview", "p.png"]
    assert upscale(*FILES, folder / "fine", *arguments) == 0
    predictor = Predictor(three, device="cpu")
    truth = predictor(FILES, scale=2)
    for name, channel in zip(FILES, truth, strict=True):
        saved = nib.load(folder / "fine" / name)
        np.testing.assert_allclose(saved.get_fdata(), channel.numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(saved.affine, truth.affine, atol=1e-6)
    alone = Predictor(three, device="cpu")([FILES[0], FILES[0], FILES[0]], scale=2)
    assert (alone[0] - truth[0]).abs().max() > 1e-3
    report = json.loads(Path("r.json").read_text())
    assert report["input_file"] == report["output_file"] == list(FILES)
    rmse = report["consistency"]["rmse_of_channels"]
    assert report["consistency"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(rmse))))
    assert report["consistency"]["rmse"] == pytest.approx(predictor.report["consistency"]["rmse"])
    out, err = capsys.readouterr()
    assert out.startswith(f"{folder}/fine: 10 x 9 x 6 at") and err == ""
    with Image.open("p.png") as picture:
        # Three rows, one a channel, of three panels.
        assert picture.height > 0.8 * picture.width


def test_a_missing_channel_is_refused_or_filled_as_told(three, folder, files, capsys):
    arguments = ["-", *FILES[1:], folder / "fine", "--model", three]
    assert upscale(*arguments) == 2
    assert "channel 0 of the image beside t2.nii.gz is missing: give it, or have it filled" in capsys.readouterr().err
    assert not (folder / "fine").exists()
    assert upscale(*arguments, "--fill-missing", "--report", "r.json") == 0
    assert files(folder / "fine") == set(FILES[1:])
    fine = Predictor(three, device="cpu", fill_missing=True)([None, *FILES[1:]], scale=2)
    assert not fine[0].any()
    np.testing.assert_allclose(nib.load("fine/flair.nii.gz").get_fdata(), fine[2].numpy(), rtol=0, atol=1e-5)
    report = json.loads(Path("r.json").read_text())
    assert report["input_file"] == [None, *FILES[1:]] and report["missing_channels"] == [0]
    assert report["consistency"]["rmse_of_channels"][0] is None and report["warnings"] == []


def test_results_that_are_there_are_kept(three, folder, capsys):
    (folder / "fine").mkdir()
    (folder / "fine/t2.nii.gz").write_text("mine")
    arguments = [*FILES, folder / "fine", "--model", three]
    assert upscale(*arguments) == 2
    assert "fine/t2.nii.gz and in all 1 of 3 results exist already" in capsys.readouterr().err
    assert upscale(*arguments, "--skip-existing") == 0
    assert (folder / "fine/t2.nii.gz").read_text() == "mine"
    assert nib.load("fine/t1.nii.gz").shape == (20, 18, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*FILES, "fine.nii.gz"], "each channel has a result of its own: give a folder for them, not fine.nii.gz"),
        ([*FILES[:2], "fine"], "t1.nii.gz, t2.nii.gz: the model needs 3 channels, but the image has 2: give"),
        (["t1.nii.gz", "t2.nii.gz", "none.nii.gz", "fine"], "there is no file or folder none.nii.gz: check the path"),
        (["-", "-", "fine"], "no channel is given: give the volumes of the channels"),
        (["t1.nii.gz", "other/t1.nii.gz", "t2.nii.gz", "fine"], "would have the same result fine/t1.nii.gz: rename"),
        ([*FILES[:2], "other/t1.nii.gz", "fine"], "would have the same result fine/t1.nii.gz: rename one of them"),
        (
            [*FILES[:2], "other/odd.nii.gz", "fine"],
            "odd.nii.gz has 3 x 9 x 6 voxels, but t1.nii.gz has 10 x 9 x 6",
        ),
        ([*FILES, "."], "t1.nii.gz"),
    ],
    ids=["file", "few", "none", "all missing", "same", "same name", "grid", "same folder"],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    three, folder, files, capsys, write_volume, arguments, message
):
    write_volume(folder / "other/t1.nii.gz")
    write_volume(folder / "other/odd.nii.gz", np.random.default_rng(0).random((3, 9, 6)).astype(np.float32))
    before = files(folder)
    assert upscale(*arguments, "--model", three) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert files(folder) == before and not (folder / "fine").exists()


def test_several_volumes_are_channels_only_on_request(three, capsys):
    assert main(["upscale", *FILES, "fine", "--scale", "2"]) == 2
    assert "there are 3 volumes: give --channels where they are those of one image" in capsys.readouterr().err
