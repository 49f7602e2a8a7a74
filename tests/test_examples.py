import importlib.util
import json
import math
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from miassr_monai.prediction import SuperResolved

# Three intensities only, as the images here have, look like a clipped image.
pytestmark = pytest.mark.filterwarnings("ignore:.*looks clipped")


def load_example(name):
    """A script, as a module."""
    spec = importlib.util.spec_from_file_location(
        f"{name}_example", Path(__file__).parents[1] / "examples" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example():
    return load_example("segmentation")


@pytest.fixture
def block():
    """Two slices whose intensities 0, 1/2 and 1 are the labels 0, 1 and 2, in squares of 12 pixels."""
    squares = torch.tensor([[0, 1, 2, 0], [2, 0, 1, 1], [0, 2, 1, 0], [1, 0, 0, 2]])
    label = squares.repeat_interleave(12, 0).repeat_interleave(12, 1)[None, ..., None].repeat(1, 1, 1, 2).float()
    affine = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([90.0, -126.0, -2.0])
    return {"image": MetaTensor(label / 2, affine=affine), "label": MetaTensor(label, affine=affine)}


def thresholds(image):
    """Logits that are right for the block: -(2 x - class)^2."""
    return torch.cat([-((2 * image - k) ** 2) for k in range(3)], 1)


def test_labels_are_the_larger_map_above_a_half(example):
    grey = torch.tensor([0.0, 0.6, 0.3, 0.55, 0.45])
    white = torch.tensor([0.1, 0.2, 0.7, 0.45, 0.49])
    assert example.tissue_labels(grey, white).tolist() == [0, 1, 2, 1, 0]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_each_input_is_on_the_grid_that_it_should_be_on(example, block, scale):
    for kind in example.INPUTS:
        image = example.preprocessing(kind, scale, "bicubic")(block)["image"]
        step = scale if kind == "low resolution" else 1
        assert image.shape == (1, 48 // step, 48 // step, 2)
        torch.testing.assert_close(image.pixdim, torch.tensor([step, step, 1.0], dtype=torch.float64))
        centre = torch.tensor([90.0 - (step - 1) / 2, -126.0 + (step - 1) / 2, -2.0], dtype=torch.float64)
        torch.testing.assert_close(image.affine[:3, 3], centre)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_coarse_segmentation_reaches_the_fine_grid_by_repetition(example, block, step):
    coarse = block["image"].as_tensor()[:, ::step, ::step]
    affine = block["image"].affine @ torch.diag(torch.tensor([step, step, 1, 1], dtype=torch.float64))
    affine[:2, 3] = block["image"].affine[:2, 3] + torch.tensor([-1.0, 1.0]) * (step - 1) / 2
    found = example.segment(thresholds, {**block, "image": MetaTensor(coarse, affine=affine)})
    assert torch.equal(found["segmentation"].as_tensor(), block["label"].as_tensor())
    assert example.dice([found]) == [1.0, 1.0]


def test_dice_is_of_the_block_as_a_whole(example, block):
    label = block["label"].as_tensor()
    missed = block["label"].clone()
    missed[..., 0][label[..., 0] == 2] = 0
    # Half of the white matter found and nothing else taken for it: 2 * 1/2 / (1/2 + 1).
    assert example.dice([{**block, "segmentation": missed}]) == pytest.approx([1.0, 2 / 3])


def test_training_learns_and_repeats_itself(example, block):
    few, again, many = (example.train([block], steps, seed=3) for steps in (2, 2, 40))
    assert all(torch.equal(a, b) for a, b in zip(few.parameters(), again.parameters(), strict=True))
    before, after = (min(example.dice([example.segment(network, block)])) for network in (few, many))
    assert after > 0.95 > before


def test_table(example):
    values = {"low resolution": [0.5, 0.5], "bicubic": [0.6, 0.7], "super-resolved": [0.7, 0.9], "original": [1, 1]}
    table = example.make_table({kind: {"2": {"grey": v, "white": v}} for kind, v in values.items()}).splitlines()
    assert [line[:8] for line in table] == ["tissue, ", "grey, 2 ", "white, 2"]
    assert table[1].split("  ")[-1].strip() == "0.150 ± 0.071"
    assert "0.800 ± 0.141" in table[1]


def test_from_the_command_line(example, block, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(example, "load_blocks", lambda section: [block])
    scores, picture = tmp_path / "scores.json", tmp_path / "picture.png"
    arguments = ["--model", "bicubic", "--scales", "2", "4", "--seeds", "2", "--steps", "1", "--retrain"]
    example.main([*arguments, "--json", str(scores), "--picture", str(picture)])
    written = json.loads(scores.read_text())
    assert capsys.readouterr().out.splitlines() == example.make_table(written["dice"]).splitlines()
    assert written["model"] == "bicubic"
    # The same images to the same network, trained alike.
    assert written["dice"]["bicubic"] == written["dice"]["super-resolved"]
    low, original = (written["dice"][kind] for kind in ("low resolution", "original"))
    assert original["2"] == original["4"] != low["4"] != low["2"]
    assert [len(values) for values in original["4"].values()] == [2, 2]
    assert picture.stat().st_size > 0


def test_blocks_hold_brain_and_do_not_meet(example):
    pytest.importorskip("nilearn")
    (test,) = example.load_blocks("test")
    assert test["image"].shape == test["label"].shape == (1, 192, 240, 10)
    assert test["label"].unique().tolist() == [0, 1, 2]
    # White matter is brighter than grey in a T1 image, and grey than the rest.
    rest, grey, white = (test["image"].as_tensor()[test["label"].as_tensor() == k].mean().item() for k in range(3))
    assert rest < 0.3 < grey < white
    # The first slice is the 70th, and axis 2 of the template begins at -72 mm.
    assert test["image"].affine[2, 3] == -2


def test_errors_are_one_sentence(example, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        example.main(["--model", str(tmp_path / "none.pt")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("segmentation.py: error: there is no model at")
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with pytest.raises(SystemExit):
        example.main(["--model", "bicubic"])
    assert "pip install miassr-monai[sample]" in capsys.readouterr().err


def test_a_segmentation_goes_back_to_the_coarse_grid(block):
    """What the documentation shows."""
    preprocessing = Compose([SuperResolved("image", 3, model="bicubic", slice_axis=2)])
    affine = torch.diag(torch.tensor([3.0, 3.0, 1.0, 1.0]))
    coarse = {"image": MetaTensor(block["image"].as_tensor()[:, ::3, ::3], affine=affine)}
    item = preprocessing(coarse)
    assert item["image"].shape == (1, 48, 48, 2)
    item["segmentation"] = MetaTensor(block["label"].as_tensor(), affine=item["image"].affine)
    back = Invertd("segmentation", preprocessing, orig_keys="image", nearest_interp=True)(item)["segmentation"]
    assert torch.equal(back.as_tensor(), block["label"].as_tensor()[:, 1::3, 1::3])
    torch.testing.assert_close(back.affine, coarse["image"].affine)


@pytest.mark.parametrize("diameter", [4.0, 8.0, 15.0])
def test_a_disc_has_its_area_and_lies_where_it_should(diameter):
    shape, outside = load_example("lesions").disc((60, 50), 20.0, 30.0, diameter)
    assert shape.sum().item() == pytest.approx(math.pi * diameter**2 / 4, rel=0.05)
    rows, columns = shape.nonzero().float().mean(0)
    assert (rows, columns) == (pytest.approx(20), pytest.approx(30))
    assert outside[20, 30] == -diameter / 2 and outside[20, 40].item() == pytest.approx(10 - diameter / 2)


def test_nearest_neighbours_at_scale_2_keep_what_a_lesion_weighs():
    class Nearest(torch.nn.Module):
        def forward(self, x, scale):
            return x.repeat_interleave(int(scale), 2).repeat_interleave(int(scale), 3)

    lesions = load_example("lesions")
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    brain = (((rows - 48) ** 2 + (columns - 48) ** 2) < 40**2) * 0.5
    outcome = lesions.fate({"nearest": Nearest()}, brain.repeat(3, 1, 1, 1), 2.0, 8.0, torch.Generator().manual_seed(0))
    scores = outcome["scores"]["nearest"]
    # Cutting k-space keeps the mean.
    assert scores["mass"] == pytest.approx([1.0] * 3, abs=1e-3)
    truth = outcome["pictures"]["truth"]
    assert truth[lesions.SHOWN, lesions.SHOWN] == pytest.approx(0.5 + lesions.CONTRAST)


def test_images_unlike_those_of_the_training_are_what_they_are_called():
    failures = load_example("failures")
    generator = torch.Generator().manual_seed(0)
    brain = torch.rand(1, 1, 90, 120, generator=generator)
    cases = failures.make_cases(brain, generator)
    coarse, truth = cases["as trained"]
    assert truth is brain and coarse.shape == (1, 1, 30, 40)
    noise = cases["noise"][0] - coarse
    assert noise.std().item() == pytest.approx(failures.NOISE, rel=0.05) and abs(noise.mean()) < 0.005
    _, thick = cases["2 mm instead of 1"]
    pixels = brain[0, 0].reshape(45, 2, 60, 2)
    torch.testing.assert_close(thick[0, 0], (pixels[:, 0, :, 0] + pixels[:, 0, :, 1] + pixels[:, 1].sum(-1)) / 4)
    # Away from the border a Gaussian of one pixel leaves exp(-w^2 / 2) of a wave: sharpening adds what it takes.
    rows = torch.arange(240.0)
    wave = (0.5 + 0.2 * (2 * math.pi * rows / 24).cos())[None, None, :, None].repeat(1, 1, 1, 240)
    cases = failures.make_cases(wave, generator)
    (coarse, _), (sharpened, _) = cases["as trained"], cases["sharpened before"]
    gain = 2 - math.exp(-((2 * math.pi / 8) ** 2) / 2)
    torch.testing.assert_close(
        sharpened[..., 20:60, 40] - 0.5, gain * (coarse[..., 20:60, 40] - 0.5), atol=2e-3, rtol=0
    )


def test_dice_of_thick_slices_is_that_with_the_truth_s_own_segmentation(block, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    example = load_example("thick_segmentation")
    truth = block["image"].as_tensor()[:, :46, :47]
    assert torch.equal(example.segment(thresholds, truth), 2 * truth)
    missed = truth.clone()
    missed[..., 0][truth[..., 0] == 1] = 0
    assert list(example.dice([thresholds], missed, [2 * truth]).values()) == pytest.approx([1.0, 2 / 3], abs=0.01)
    # In slices that are all alike nothing is lost; in others something is.
    varied = torch.cat([truth[..., :1].expand(1, 46, 47, 12), truth[..., :1].flip(1).expand(1, 46, 47, 12)], -1)
    for name, image in {"alike": truth[..., :1].expand(1, 46, 47, 24), "varied": varied}.items():
        nib.save(nib.Nifti1Image(image[0].numpy(), np.eye(4)), tmp_path / f"{name}.nii.gz")
    monkeypatch.setattr(example, "load_blocks", lambda section: [])
    monkeypatch.setattr(example, "train", lambda blocks, steps, seed: thresholds)
    methods = ["--methods", "bicubic", "cubic spline", "--thickness", "3", "--profile", "box", "--seeds", "1"]
    example.main([str(tmp_path), *methods, "--csv", str(tmp_path / "dice.csv")])
    scores = pd.read_csv(tmp_path / "dice.csv")
    assert len(scores) == 4 and len(capsys.readouterr().out.splitlines()) == 3
    assert (scores.loc[scores["volume"] == "alike.nii.gz", ["grey", "white"]] == 1).all(axis=None)
    alike = example.make_table(scores[scores["volume"] == "alike.nii.gz"])
    assert [line.split()[4:] for line in alike.splitlines()[1:]] == [["1.000", "1.000"]] * 2
    assert (scores.loc[scores["volume"] == "varied.nii.gz", ["grey", "white"]] < 0.99).all(axis=None)
    with pytest.raises(SystemExit):
        example.main([str(tmp_path), "--methods", "magic"])
    assert "there is no method 'magic'" in capsys.readouterr().err
