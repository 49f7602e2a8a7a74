import json
import math
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from miassr_monai.configuration import RULES, check_values

CONFIGS = Path(__file__).parent.parent / "bundle" / "configs"
DATA_SETS = ("oasis", "brats", "acdc", "covid_ct", "decathlon_brain_tumour")


def check(name="train", **values):
    parser = ConfigParser()
    parser.read_config(CONFIGS / f"{name}.json")
    parser.update(values)
    check_values(parser)


@pytest.mark.parametrize(
    "names",
    [
        "train",
        "train,release",
        "train,release,finetune",
        "train,release,ssim",
        "train,release,gan",
        "train,train_arssr",
        "train,train_arssr,blind,gan",
        "train,train_arssr,blind,release_volume",
        "evaluate",
        "inference",
    ]
    + [f"{name},quickstart" for name in ("train", "evaluate", "inference")]
    + [f"{name},{data_set}" for name in ("train", "evaluate") for data_set in DATA_SETS],
)
def test_the_bundle_s_own_values_are_accepted(names):
    parser = ConfigParser()
    parser.read_config([CONFIGS / f"{name}.json" for name in names.split(",")])
    check_values(parser)


def test_every_number_and_switch_of_a_training_has_its_rule():
    config = json.loads((CONFIGS / "train.json").read_text())
    unruled = {key for key, value in config.items() if isinstance(value, (int, float))} - set(RULES)
    # These two are checked together.
    assert unruled == {"intensity_lower", "intensity_upper"}


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("device", "nonsense", "a device of this machine, such as cpu or cuda:0,"),
        ("device", "meta", "a device of this machine, such as cpu or cuda:0,"),
        ("axcodes", "RAX", "a letter for each axis, of R or L, A or P, I or S, such as RAS,"),
        ("axcodes", "RLS", "a letter for each axis, of R or L, A or P, I or S, such as RAS,"),
        ("skip", "linear", "bicubic, tricubic for volumes, or None"),
        ("projection", "centre", "corner or center"),
        ("patch_size", 0, "a whole number from 1"),
        ("patch_size", 96.5, "a whole number from 1"),
        ("depth", 0, "a whole number from 1"),
        ("batch_size", True, "a whole number from 1"),
        ("gan_epochs", "two", "a whole number from 0"),
        ("learning_rate", -1, "a number from 0"),
        ("learning_rate", math.nan, "a number from 0"),
        ("learning_rate", math.inf, "a number from 0"),
        ("learning_rate", 10**400, "a number from 0"),
        ("augment_prob", 1.5, "a number from 0 to 1"),
        ("ema_momentum", 0, "a number above 0 to 0.999"),
        ("scale_high", 40, "a number from 1 to 16"),
        ("scale_low", 0.5, "a number from 1 to 16"),
        ("input_size", 3, "a whole number from 4, or None,"),
        ("gradient_limit", 0.0, "a number above 0, or None,"),
        ("val_scales", [], "a list of one or more scales from 1 to 16"),
        ("val_scales", [99], "a list of one or more scales from 1 to 16"),
        ("val_scales", [2.0, 0.5], "a list of one or more scales from 1 to 16"),
        ("val_scales", 2.0, "a list of one or more scales from 1 to 16"),
        ("val_scales", "2", "a list of one or more scales from 1 to 16"),
        ("resume", "yes", "True or False"),
        ("amp", 1, "True or False"),
    ],
)
def test_a_value_that_is_not_accepted_is_told_with_its_key_and_what_is(key, value, accepted):
    with pytest.raises(ValueError) as caught:
        check(**{key: value})
    assert str(caught.value) == f"{key} is {value!r}: {accepted} is accepted."


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0),
        ("num_workers", 0),
        ("augment_prob", 1),
        ("input_size", 4),
        ("gradient_limit", None),
        ("scale_high", 1.5),
        ("val_scales", [1, 2.5, [1, 2], "1x2", (1.0, 1.0, 4.0)]),
    ],
)
def test_what_is_at_the_edge_is_accepted(key, value):
    check(**{key: value})


@pytest.mark.parametrize("scale", ["two", "1x0.5", [], [2, 17], None, "1x1x1x1"])
def test_what_is_no_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale is .*: a number from 1 to 16, or one for each axis, is accepted"):
        check("inference", scale=scale)


@pytest.mark.parametrize(("value", "reason"), [("@missing", "ValueError"), ("$1 / 0", "RuntimeError")])
@pytest.mark.parametrize("key", ["depth", "intensity_lower"])
def test_a_value_that_cannot_be_resolved_is_told_with_its_key(key, value, reason):
    with pytest.raises(ValueError) as caught:
        check(**{key: value})
    assert str(caught.value) == f"{key} is {value!r}, which cannot be resolved ({reason}): correct it."


def test_a_reference_is_followed():
    with pytest.raises(ValueError, match="depth is 0: "):
        check(seed=0, depth="@seed")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"warmup_epochs": 0, "gan_epochs": 0},
            "warmup_epochs and gan_epochs are both 0: one of them has to be 1 or more.",
        ),
        ({"scale_low": 3, "scale_high": 2.5}, "scale_high is 2.5: a number from scale_low, 3, is accepted."),
        (
            {"patch_size": 4},
            "patch_size is 4: a whole number from 16 is accepted, which gives 4 LR pixels at scale_high, 4.",
        ),
        (
            {"patch_size": 19, "scale_high": 4.76},
            "patch_size is 19: a whole number from 20 is accepted, which gives 4 LR pixels at scale_high, 4.76.",
        ),
        (
            {"batch_size": 7, "samples_per_volume": 3},
            "batch_size is 7: a multiple of samples_per_volume, 3, is accepted.",
        ),
        (
            {"whole_degradation": "sparse_view_ct", "plane_prob": 0.5},
            "plane_prob is 0.5: 0 is accepted with a whole_degradation, which is of the slices as they are.",
        ),
        ({"batch_size": 2}, "batch_size is 2: a multiple of samples_per_volume, 4, is accepted."),
        (
            {"intensity_lower": 60, "intensity_upper": 40},
            "intensity_lower is 60 and intensity_upper 40: percentiles in [0, 100] (or intensities, with "
            "intensity_window) are accepted, the lower below the upper.",
        ),
        (
            {"intensity_lower": -1000},
            "intensity_lower is -1000 and intensity_upper 99.95: percentiles in [0, 100] (or intensities, with "
            "intensity_window) are accepted, the lower below the upper.",
        ),
        (
            {"intensity_lower": 60, "intensity_upper": 40, "intensity_window": True},
            "intensity_lower is 60 and intensity_upper 40: intensities are accepted, the lower below the upper.",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_told(values, message):
    with pytest.raises(ValueError) as caught:
        check(**values)
    assert str(caught.value) == message


def test_values_that_just_fit_together_are_accepted():
    check(scale_low=2, scale_high=2.0)
    check(scale_low=1, scale_high=1)
    check(patch_size=16, scale_high=4.0, batch_size=12, samples_per_volume=3, gan_epochs=0)
    check(intensity_lower=-1000, intensity_upper=1000, intensity_window=True)
    check("evaluate", intensity_lower=0, intensity_upper=100)
