import math
from fractions import Fraction

import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.data import RandomScaleCollate
from miassr_monai.degradations import RandomDegradation, paper_degradation, parse_degradation, psf_degradation
from miassr_monai.engines import DegradeBatch

SIZES = pytest.mark.parametrize(
    ("scale", "size"),
    [
        ("1", (24, 31)),
        ("1.1", (33, 40)),
        ("1.16", (29, 58)),
        ("2", (24, 25)),
        ("2.3", (96, 47)),
        ("3.7", (37, 40)),
        ("3.9999", (96, 96)),
    ],
)
CPU = torch.device("cpu")


def random_image(*size):
    return torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(3))


@SIZES
@pytest.mark.parametrize("degradation", [paper_degradation, psf_degradation])
def test_input_is_the_whole_image_degraded_at_exactly_the_scale(degradation, scale, size):
    image, seen = random_image(*size), []

    def record(x, s):
        seen.append((x, s))
        return degradation(x, s)

    inputs, _, args, kwargs = DegradeBatch(record)({"image": image, "scale": float(scale)}, CPU)
    ((x, s),) = seen
    assert s == (float(scale), float(scale))
    assert args == ()
    assert kwargs == {"scale": float(scale)}
    torch.testing.assert_close(x, image, rtol=0, atol=0)
    torch.testing.assert_close(inputs, degradation(image, float(scale)), rtol=0, atol=0)


@SIZES
def test_target_is_the_part_that_the_output_covers(scale, size):
    image = random_image(*size)
    inputs, targets, _, _ = DegradeBatch(paper_degradation)({"image": image, "scale": float(scale)}, CPU)
    lr = [math.floor(n / Fraction(scale)) for n in size]
    height, width = (math.floor(n * Fraction(scale)) for n in lr)
    assert list(inputs.shape[2:]) == lr
    torch.testing.assert_close(targets, image[:, :, :height, :width], rtol=0, atol=0)


def test_scales_of_rows_and_columns_may_differ():
    image, scale = random_image(37, 40), (3.7, 1.1)
    inputs, targets, _, kwargs = DegradeBatch(paper_degradation)({"image": image, "scale": scale}, CPU)
    assert kwargs == {"scale": scale}
    torch.testing.assert_close(inputs, paper_degradation(image, scale), rtol=0, atol=0)
    torch.testing.assert_close(targets, image[:, :, :37, :39], rtol=0, atol=0)


def test_metatensors_become_plain_tensors():
    image = MetaTensor(random_image(24, 24), affine=torch.eye(4))
    inputs, targets, _, _ = DegradeBatch(paper_degradation)({"image": image, "scale": 2.0}, CPU)
    assert type(inputs) is type(targets) is torch.Tensor
    torch.testing.assert_close(inputs, paper_degradation(image.as_tensor(), 2.0), rtol=0, atol=0)


def test_the_image_is_degraded_on_the_device_and_in_the_type_that_are_asked_for():
    seen = []

    def record(x, s):
        seen.append((x.device.type, x.dtype))
        return x

    batch = {"image": torch.zeros(1, 1, 4, 4), "scale": 1.0}
    DegradeBatch(record)(batch, torch.device("meta"), non_blocking=True, dtype=torch.float16)
    assert seen == [("meta", torch.float16)]


@pytest.mark.parametrize("order", [("blur", "kept"), ("kept", "blur")])
def test_of_several_degradations_the_batch_names_its_own(order):
    both = {"blur": psf_degradation, "kept": lambda x, s: x[..., :: int(s[0]), 1 :: int(s[1])]}
    prepare = DegradeBatch({name: both[name] for name in order})
    image = random_image(25, 24)
    for name in ("kept", "blur", "kept"):
        inputs, targets, args, kwargs = prepare({"image": image, "scale": 2.0, "degradation": name}, CPU)
        torch.testing.assert_close(inputs, both[name](image, (2.0, 2.0)), rtol=0, atol=0)
        # Every second of 25 rows are 13, which is one more than fills them.
        torch.testing.assert_close(targets, image[:, :, : 2 * inputs.shape[2], :24], rtol=0, atol=0)
        assert (args, kwargs) == ((), {"scale": 2.0})


def test_a_single_degradation_does_for_every_name():
    image = random_image(20, 20)
    inputs, *_ = DegradeBatch(psf_degradation)({"image": image, "scale": 2.0, "degradation": "any"}, CPU)
    torch.testing.assert_close(inputs, psf_degradation(image, 2.0), rtol=0, atol=0)


@pytest.mark.parametrize("named", [{"degradation": "other"}, {}])
def test_a_degradation_that_is_not_there_is_an_error(named):
    with pytest.raises(KeyError, match="other" if named else "degradation"):
        DegradeBatch({"psf": psf_degradation})({"image": random_image(8, 8), "scale": 2.0, **named}, CPU)


def test_a_degradation_is_named_by_its_text():
    image = random_image(20, 20)
    inputs, *_ = DegradeBatch("psf:fwhm=0.7")({"image": image, "scale": 2.0}, CPU)
    torch.testing.assert_close(inputs, psf_degradation(image, 2.0, fwhm=0.7), rtol=0, atol=0)
    with pytest.raises(ValueError, match="there is no 'blur'"):
        DegradeBatch("blur")


def test_volumes_are_degraded_along_all_their_axes():
    volume = torch.rand(2, 1, 9, 11, 13)
    inputs, targets, _, kwargs = DegradeBatch(psf_degradation)({"image": volume, "scale": 2.5}, CPU)
    torch.testing.assert_close(inputs, psf_degradation(volume, (2.5, 2.5, 2.5)), rtol=0, atol=0)
    torch.testing.assert_close(targets, volume[..., :7, :10, :12], rtol=0, atol=0)
    assert kwargs == {"scale": 2.5}


def test_what_a_family_draws_is_in_the_batch_and_its_gain_and_gamma_in_the_target():
    torch.manual_seed(0)
    family = RandomDegradation(extras={}, gain=(0.5, 0.9), gamma=(1.2, 1.5), intensity_prob=0.5, soft_prob=0)
    batch = {"image": torch.rand(6, 1, 25, 24), "scale": (2.0, 1.5)}
    inputs, targets, _, _ = DegradeBatch(family)(batch, CPU)
    assert 0 < sum(batch["gain"] == 1) < 6
    for i, name in enumerate(batch["degradation"]):
        altered = float(batch["gain"][i]) * batch["image"][i] ** float(batch["gamma"][i])
        torch.testing.assert_close(inputs[i], parse_degradation(name)(altered, (2.0, 1.5)), rtol=0, atol=1e-6)
        torch.testing.assert_close(targets[i], altered[:, :24, :24], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2.0, (1.0, 3.3)])
def test_a_pair_that_was_made_with_the_batch_is_the_one_that_would_be_made_here(scale):
    samples, degradation = [{"image": image} for image in random_image(40, 37)], "psf:noise=0.05,seed=4"
    collate = RandomScaleCollate(degradation=degradation)
    collate.draw = lambda: scale
    made = DegradeBatch("paper")(collate(samples), CPU)
    expected = DegradeBatch(degradation)({"image": random_image(40, 37), "scale": scale}, CPU)
    assert made[2:] == expected[2:]
    for pair in zip(made[:2], expected[:2], strict=True):
        torch.testing.assert_close(*pair, rtol=0, atol=0)


def test_a_family_is_drawn_from_with_the_batch():
    torch.manual_seed(0)
    collated = RandomScaleCollate(degradation=RandomDegradation(intensity_prob=1))([{"image": random_image(40, 37)[0]}])
    torch.manual_seed(0)
    batch = {"image": random_image(40, 37)[:1], "scale": RandomScaleCollate().draw()}
    images, targets, _, _ = DegradeBatch(RandomDegradation(intensity_prob=1))(batch, CPU)
    assert collated["degradation"] == batch["degradation"] and collated["scale"] == batch["scale"]
    torch.testing.assert_close(collated["image"], images, rtol=0, atol=0)
    torch.testing.assert_close(collated["label"], targets, rtol=0, atol=0)


@pytest.mark.parametrize("samples", [7, 10_000])
def test_some_samples_of_each_target_are_drawn_and_told(samples):
    torch.manual_seed(0)
    volume = torch.rand(2, 3, 9, 11, 13)
    inputs, targets, _, kwargs = DegradeBatch(psf_degradation, samples=samples)({"image": volume, "scale": 2.5}, CPU)
    _, whole, _, _ = DegradeBatch(psf_degradation)({"image": volume, "scale": 2.5}, CPU)
    assert inputs.shape == (2, 3, 3, 4, 5) and targets.shape == (2, 3, min(samples, 7 * 10 * 12))
    for image, target, drawn in zip(whole, targets, kwargs["samples"], strict=True):
        assert len(drawn.unique()) == len(drawn)
        for place, values in zip(drawn.tolist(), target.T, strict=True):
            i, j, k = place // 120, place // 12 % 10, place % 12
            assert torch.equal(values, image[:, i, j, k])
    assert kwargs["samples"].max() > 700 and kwargs["scale"] == 2.5


def test_a_target_without_samples_is_refused():
    with pytest.raises(ValueError, match="at least one sample of each target is needed, got 0"):
        DegradeBatch("psf", samples=0)
