"""What the keys of the bundle's configurations accept."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from monai.bundle import ConfigParser

from miassr_monai.geometry import parse_scale

__all__ = ["check_values"]

# Whether a value is accepted, and the words for what is.
Rule = tuple[Callable[[Any], bool], str]

LARGEST = sys.float_info.max
# A larger scale is not super-resolution any more.
LARGEST_SCALE = 16
# A patch has at least so many LR pixels along each axis: fewer show a network nothing but its borders.
SMALLEST_INPUT = 4


def number(low: float, high: float = math.inf, *, above: bool = False) -> Rule:
    """Numbers from ``low``, or only ``above`` it, to ``high``."""

    def accepts(value: Any) -> bool:
        # Not math.isfinite, which raises on whole numbers that no float can hold.
        real = isinstance(value, Real) and not isinstance(value, bool) and abs(value) <= LARGEST  # type: ignore[operator]
        return real and (low < value if above else low <= value) and value <= high

    start = f"a number above {low:g}" if above else f"a number from {low:g}"
    return accepts, start if high == math.inf else f"{start} to {high:g}"


def whole(low: int, high: float = math.inf) -> Rule:
    """Whole numbers from ``low`` to ``high``."""
    in_range, words = number(low, high)
    return (lambda value: isinstance(value, Integral) and in_range(value)), words.replace("a number", "a whole number")


def optional(rule: Rule) -> Rule:
    """A rule, or ``None``."""
    return (lambda value: value is None or rule[0](value)), f"{rule[1]}, or None,"


def is_scale(value: Any) -> bool:
    """Whether a value is a scale: a number, one for each axis, or either as text."""
    try:
        value = parse_scale(value) if isinstance(value, str) else value
    except ValueError:
        return False
    axes = value if isinstance(value, Sequence) else [value]
    return len(axes) > 0 and all(number(1, LARGEST_SCALE)[0](axis) for axis in axes)


def are_scales(value: Any) -> bool:
    """Whether a value is a list of scales, and not an empty one."""
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0 and all(map(is_scale, value))


def is_device(value: Any) -> bool:
    """Whether something can be computed on a device here, named by text or as PyTorch has it."""
    try:
        return torch.ones(1, device=value).item() == 1
    # PyTorch raises what it likes, AssertionError where it was built without CUDA.
    except Exception:
        return False


def are_axes(value: Any) -> bool:
    """Whether a value has, for each axis in space, the letter of one of its two directions."""
    return isinstance(value, str) and sorted(map("RLAPIS".find, value)) in AXES


# Places in RLAPIS of one letter of each pair.
AXES = [[a, b, c] for a in (0, 1) for b in (2, 3) for c in (4, 5)]
FLAG: Rule = (lambda value: isinstance(value, bool)), "True or False"
SCALE: Rule = is_scale, f"a number from 1 to {LARGEST_SCALE}, or one for each axis,"
SCALES: Rule = are_scales, f"a list of one or more scales from 1 to {LARGEST_SCALE}"

DEVICE: Rule = is_device, "a device of this machine, such as cpu or cuda:0,"

RULES: dict[str, Rule] = {
    "device": DEVICE,
    "axcodes": (are_axes, "a letter for each axis, of R or L, A or P, I or S, such as RAS,"),
    "skip": (lambda value: value in (None, "bicubic", "tricubic"), "bicubic, tricubic for volumes, or None"),
    "projection": (lambda value: value in ("corner", "center"), "corner or center"),
    "resume": FLAG,
    "grow": FLAG,
    "partial": FLAG,
    "freeze_trunk": FLAG,
    "degrade_in_workers": FLAG,
    "fill_missing": FLAG,
    "train_generator": FLAG,
    "amp": FLAG,
    "anisotropic": FLAG,
    "intensity_window": FLAG,
    "with_frd": FLAG,
    "seed": whole(0, 2**32 - 1),
    "num_workers": whole(0),
    "channels": whole(1),
    "spatial_dims": whole(2, 3),
    "samples": optional(whole(1)),
    "width": whole(1),
    "depth": whole(1),
    "critic_width": whole(1),
    "critic_batch_norm": FLAG,
    "patch_size": whole(1),
    "input_size": optional(whole(SMALLEST_INPUT)),
    "batch_size": whole(1),
    "samples_per_volume": whole(1),
    "augment_prob": number(0, 1),
    "plane_prob": number(0, 1),
    "scale_low": number(1, LARGEST_SCALE),
    "scale_high": number(1, LARGEST_SCALE),
    "one_axis_high": optional(number(1, LARGEST_SCALE)),
    "val_scales": SCALES,
    "val_slice_step": whole(1),
    "val_interval": whole(1),
    "epoch_length": whole(1),
    "warmup_epochs": whole(0),
    "gan_epochs": whole(0),
    "stage_minutes": optional(number(0, above=True)),
    "learning_rate": number(0),
    "critic_learning_rate": number(0),
    "lr_step": whole(1),
    "lr_gamma": number(0, 1, above=True),
    "loss_limit": number(0, above=True),
    "divergence_loss": number(0, above=True),
    "divergence_steps": whole(1),
    "gradient_limit": optional(number(0, above=True)),
    "ema_momentum": number(0, 0.999, above=True),
    "pixel_weight": number(0),
    "adversarial_weight": number(0),
    "perceptual_weight": number(0),
    "penalty_weight": number(0),
    "penalty_interval": whole(1),
    "log_interval": whole(1),
    "scale": SCALE,
    "scales": SCALES,
    "slice_step": whole(1),
    "slice_batch_size": whole(1),
    "tile_size": optional(whole(1)),
}


def check_values(parser: ConfigParser) -> None:
    """Check the values of a configuration, by themselves and against each other.

    Raises:
        ValueError: when one is not accepted; with its key, the value and what is accepted.
    """
    values = {key: resolved(parser, key) for key in RULES if key in parser}
    for key, value in values.items():
        accepts, words = RULES[key]
        if not accepts(value):
            raise ValueError(f"{key} is {value!r}: {words} is accepted.")
    if "intensity_window" in values:
        check_intensities(*(resolved(parser, f"intensity_{name}") for name in ("lower", "upper", "window")))
    # An overlay that is for evaluation and inference as well gives these some of the keys.
    if "train" in parser:
        check_training(values)
        if values["plane_prob"] and resolved(parser, "whole_degradation") is not None:
            raise ValueError(
                f"plane_prob is {values['plane_prob']:g}: 0 is accepted with a whole_degradation, which is of the "
                "slices as they are."
            )


def resolved(parser: ConfigParser, key: str) -> Any:
    """The value of a key, its references followed and its expressions evaluated.

    Raises:
        ValueError: when that fails.
    """
    try:
        return parser.get_parsed_content(key)
    # An expression can raise anything.
    except Exception as error:
        raise ValueError(
            f"{key} is {parser.get(key)!r}, which cannot be resolved ({type(error).__name__}): correct it."
        ) from error


def check_intensities(lower: Any, upper: Any, window: bool) -> None:
    """Check the intensities that become 0 and 1."""
    accepts, _ = number(-math.inf if window else 0, math.inf if window else 100)
    if not (accepts(lower) and accepts(upper) and lower < upper):
        words = "intensities" if window else "percentiles in [0, 100] (or intensities, with intensity_window)"
        raise ValueError(
            f"intensity_lower is {lower!r} and intensity_upper {upper!r}: {words} are accepted, the lower below the "
            "upper."
        )


def check_training(values: dict[str, Any]) -> None:
    """Check what has to fit together in a training."""
    if not values["warmup_epochs"] + values["gan_epochs"]:
        raise ValueError("warmup_epochs and gan_epochs are both 0: one of them has to be 1 or more.")
    low, high, patch = values["scale_low"], values["scale_high"], values["patch_size"]
    if low > high:
        raise ValueError(f"scale_high is {high:g}: a number from scale_low, {low:g}, is accepted.")
    if patch < SMALLEST_INPUT * high:
        raise ValueError(
            f"patch_size is {patch}: a whole number from {math.ceil(SMALLEST_INPUT * high)} is accepted, which gives "
            f"{SMALLEST_INPUT} LR pixels at scale_high, {high:g}."
        )
    batch, samples = values["batch_size"], values["samples_per_volume"]
    if batch % samples:
        raise ValueError(f"batch_size is {batch}: a multiple of samples_per_volume, {samples}, is accepted.")
