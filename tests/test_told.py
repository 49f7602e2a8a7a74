"""The benchmark that tells networks the degradation."""

import importlib.util
from pathlib import Path

import pytest
import torch

from miassr_monai.degradations import RandomDegradation, parse_degradation
from miassr_monai.prediction import load_model

LARGE_STEP = {"steps": 40, "rate": 1e-3, "estimator_rate": 1e-3}


@pytest.fixture(scope="module")
def told():
    path = Path(__file__).parents[1] / "benchmarks" / "told.py"
    spec = importlib.util.spec_from_file_location("told_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shipped():
    return load_model("small", "cpu").network


@pytest.mark.parametrize(
    ("text", "scale", "squared", "noise"),
    [
        ("psf:fwhm=1.5", 2.0, (2.25, 2.25), 0),
        ("psf:fwhm=0.8x1.6,noise=0.02", 3.0, (0.64, 2.56), 0.02),
        ("psf:fwhm=1.2", (1.0, 2.5), (0, 1.44), 0),
        # Nothing is blurred that a wave of four LR pixels could tell of.
        ("kspace:noise=0.04", 4.0, (0, 0), 0.04),
    ],
)
def test_the_truth_of_a_gaussian_is_its_squared_width(told, text, scale, squared, noise):
    values = told.truth(parse_degradation(text), scale)
    torch.testing.assert_close(
        values[:2] * told.WIDTH_UNIT, torch.tensor(squared), atol=0.03, rtol=0, check_dtype=False
    )
    assert values[2].item() * told.NOISE_UNIT == pytest.approx(noise)


def test_wrong_values_are_factors_of_width_and_noise(told):
    degradation = parse_degradation("psf:fwhm=1.5,noise=0.02")
    right, wrong = told.truth(degradation, 2.0), told.truth(degradation, 2.0, (1.2, 0.5))
    torch.testing.assert_close(wrong, right * torch.tensor([1.44, 1.44, 0.5]))


def test_sharpening_makes_the_square_negative(told):
    assert told.truth(parse_degradation("sampling:sharpen=1"), 2.0)[:2].max() < -0.1


@torch.inference_mode()
def test_told_begins_as_what_is_shipped(told, shipped):
    image, known = torch.rand(2, 1, 12, 17), torch.randn(2, told.TOLD)
    expected = shipped(image, (2.5, 1.5))
    assert torch.equal(told.super_resolve(shipped, image, known[:, :0], (2.5, 1.5)), expected)
    network = told.with_told_channels(shipped)
    torch.testing.assert_close(told.super_resolve(network, image, known, (2.5, 1.5)), expected, atol=1e-6, rtol=0)
    network.trunk.head.weight[:, -1] = 0.1
    assert (told.super_resolve(network, image, known, (2.5, 1.5)) - expected).abs().max() > 1e-4


def test_steps_teach_to_tell_and_a_stopped_run_goes_on_where_it_was(told, shipped, tmp_path):
    torch.manual_seed(0)
    image, family = torch.rand(4, 1, 24, 24), RandomDegradation({"psf:fwhm=0.4..1.8": 1}, intensity_prob=0, soft_prob=0)
    training = told.Training(shipped, **LARGE_STEP, checkpoint=tmp_path / "checkpoint.pt")
    losses = [training.step(image, 2.0, family) for _ in range(2)]
    # Weights of 0 that are told nothing of are as good as none.
    assert losses[0]["told"] == pytest.approx(losses[0]["blind"], abs=1e-5)
    assert training.learners["told"].network.trunk.head.weight[:, 1:].abs().max() > 0
    training.save()
    again = told.Training(shipped, **LARGE_STEP, checkpoint=tmp_path / "checkpoint.pt")
    assert again.done == 2
    for run in (training, again):
        torch.manual_seed(1)
        run.step(image, 2.0, family)
    for name, part in training.averages().items():
        for one, other in zip(part.parameters(), again.averages()[name].parameters(), strict=True):
            assert torch.equal(one, other)


def test_what_is_told_is_scored_by_its_error(told, shipped, monkeypatch):
    monkeypatch.setattr(told, "FAMILY", ("psf:noise=0.02",))
    monkeypatch.setattr(told, "HELD_OUT", ())

    def estimator(image, scale):
        return told.truth(parse_degradation("psf:noise=0.02"), scale)[None] + torch.tensor([[0.1, 0.1, 0.2]])

    trained = {"blind": shipped, "told": told.with_told_channels(shipped), "estimator": estimator}
    scores = told.evaluate(shipped, trained, {"someone": torch.rand(1, 1, 32, 32)})
    by_method = scores[scores["scale"] == 2].set_index("method")
    # All but bicubic are what is shipped, as long as nothing is learnt.
    assert by_method["psnr"].drop("bicubic").to_dict() == pytest.approx(
        dict.fromkeys(by_method.index.drop("bicubic"), by_method["psnr"]["as shipped"]), abs=1e-3
    )
    errors = by_method[["squared_width_error", "noise_error"]]
    assert errors.loc["told"].tolist() == [0, 0]
    assert errors.loc["told an estimate"].tolist() == pytest.approx([0.3, 0.01], rel=1e-3)
    assert errors.loc["told, noise x 1.5"].tolist() == pytest.approx([0, 0.01])
    # 1.2^2 - 1 of a width of 1.
    assert errors.loc["told, width + 20 %"].tolist() == pytest.approx([0.44, 0], abs=0.01)
