"""Every degradation by its name, and the text that names one with its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from miassr_monai.degradations.antialiased_bicubic import antialiased_bicubic_degradation
from miassr_monai.degradations.area import area_degradation
from miassr_monai.degradations.kspace import kspace_degradation
from miassr_monai.degradations.noise import gaussian_noise, rician_noise, speckle_noise
from miassr_monai.degradations.paper import paper_degradation
from miassr_monai.degradations.parameters import check_number, check_word
from miassr_monai.degradations.psf import psf_degradation
from miassr_monai.degradations.sampling import sampling_degradation
from miassr_monai.degradations.sharpen import sharpen
from miassr_monai.degradations.slice_profile import slice_profile_degradation
from miassr_monai.degradations.sparse_view_ct import sparse_view_ct_degradation
from miassr_monai.degradations.ultrasound import ultrasound_degradation
from miassr_monai.degradations.ultrasound_sector import ultrasound_sector_degradation
from miassr_monai.degradations.undersampled_kspace import undersampled_kspace_degradation
from miassr_monai.geometry import Scale
from miassr_monai.resampling import trailing_scales

__all__ = ["DEGRADATIONS", "Degradation", "named_degradations", "parse_degradation"]

DEGRADATIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "antialiased_bicubic": antialiased_bicubic_degradation,
    "area": area_degradation,
    "kspace": kspace_degradation,
    "paper": paper_degradation,
    "psf": psf_degradation,
    "sampling": sampling_degradation,
    "slice_profile": slice_profile_degradation,
    "sparse_view_ct": sparse_view_ct_degradation,
    "ultrasound": ultrasound_degradation,
    "ultrasound_sector": ultrasound_sector_degradation,
    "undersampled_kspace": undersampled_kspace_degradation,
}

# Degradations that an image of the same size shows.
SAME_SIZE = ("sparse_view_ct", "ultrasound_sector", "undersampled_kspace")

# Degradations that are not linear, such as magnitudes.
NOT_LINEAR = ("undersampled_kspace",)

# Degradations whose ``window`` says which Hounsfield units 0 and 1 stand for.
IN_HOUNSFIELD_UNITS = ("sparse_view_ct",)

# Parameters by which a degradation makes noise of its own, while it measures. It then takes a ``generator``, too.
MEASURED_NOISE = ("photons", "complex_noise")

NOISES = {"rician": rician_noise, "gaussian": gaussian_noise, "speckle": speckle_noise}


@dataclass(frozen=True)
class Degradation:
    """A degradation of :data:`DEGRADATIONS` with its parameters, and what is done to the LR image after it.

    Called with an image and a scale it returns the LR image. :func:`parse_degradation` makes one from its text.

    Args:
        kind: its name in the table.
        parameters: keyword parameters of that function.
        sharpen: amount of an unsharp mask of the LR image, in [0, 4], see :func:`sharpen`.
        noise: standard deviation of the noise that is added at last, in [0, 1]; intensities are in [0, 1].
        noise_model: ``"rician"`` as in MR magnitude images, ``"gaussian"``, or ``"speckle"`` as in ultrasound.
        seed: of the noise, which is then the same at each call; without it, torch's generator goes on.
    """

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sharpen: float = 0.0
    noise: float = 0.0
    noise_model: str = "rician"
    seed: int | None = None

    @property
    def same_size(self) -> bool:
        """Whether an image at scale 1 is degraded, too, so that there is something to restore."""
        return self.kind in SAME_SIZE or self.noise > 0 or self.sharpen > 0

    @property
    def linear(self) -> bool:
        """Whether what it makes of a sum of images is, but for a constant, the sum of what it makes of each."""
        return self.kind not in NOT_LINEAR

    @property
    def name(self) -> str:
        """The text that :func:`parse_degradation` reads the same from, such as ``psf:fwhm=0.8,noise=0.02``."""
        given = {key: getattr(self, key) for key, default in AFTERWARDS.items() if getattr(self, key) != default}
        pairs = ",".join(f"{key}={format_value(value)}" for key, value in {**self.parameters, **given}.items())
        return f"{self.kind}:{pairs}" if pairs else self.kind

    def in_window(self, window: Sequence[float] | None) -> Degradation:
        """The degradation of images of which 0 and 1 stand for two intensities, where it has to know them."""
        if window is None or self.kind not in IN_HOUNSFIELD_UNITS:
            return self
        return replace(self, parameters={**self.parameters, "window": tuple(window)})

    @property
    def noiseless(self) -> Degradation:
        """The same without noise: what a super-resolved image is degraded again by."""
        parameters = {key: value for key, value in self.parameters.items() if key not in MEASURED_NOISE}
        return replace(self, parameters=parameters, noise=0.0, noise_model="rician", seed=None)

    def __call__(self, image: torch.Tensor, scale: Scale) -> torch.Tensor:
        """Degrade an image along its last axes; one number is the scale of the last two."""
        generator = None if self.seed is None else torch.Generator(device=image.device).manual_seed(self.seed)
        measured = {"generator": generator} if any(key in self.parameters for key in MEASURED_NOISE) else {}
        small = DEGRADATIONS[self.kind](image, scale, **self.parameters, **measured)
        if self.sharpen:
            small = sharpen(small, self.sharpen, axes=len(trailing_scales(scale)))
        if self.noise:
            small = NOISES[self.noise_model](small, self.noise, generator=generator)
        return small


# Parameters that every degradation has, and what they are unless given.
AFTERWARDS = {"sharpen": 0.0, "noise": 0.0, "noise_model": "rician", "seed": None}


def parse_degradation(text: str, **parameters: Any) -> Degradation:
    """Read a degradation as it is written: ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``.

    A value is a number, one number for each axis (``0.8x1.2``), or a word.

    Args:
        text: such as ``psf:fwhm=0.8,noise=0.02``.
        parameters: further ones, which come before those of the text.

    Raises:
        ValueError: when there is no such degradation, or it does not take these parameters.
    """
    try:
        return checked(read_degradation(text, **parameters))
    except ValueError as error:
        raise ValueError(f"the degradation {text!r} cannot be made: {error}") from None


def named_degradations(texts: Sequence[str], *, seed: int | None = 0) -> dict[str, Degradation]:
    """Degradations by their texts, as evaluation needs them: noise is the same at each call.

    Args:
        texts: see :func:`parse_degradation`.
        seed: of the noise of those that do not have a ``seed`` themselves.

    Raises:
        ValueError: when a text is no degradation.
    """
    return {parse_degradation(text).name: parse_degradation(text, seed=seed) for text in texts}


def read_degradation(text: str, **parameters: Any) -> Degradation:
    """The degradation of a text; the values of its parameters are not looked at."""
    kind, _, written = text.partition(":")
    if kind not in DEGRADATIONS:
        raise ValueError(f"there is no {kind!r}, take one of {', '.join(DEGRADATIONS)}.")
    pairs = [pair.partition("=") for pair in written.split(",")] if written else []
    if not all(key and value for key, _, value in pairs):
        raise ValueError("write NAME or NAME:KEY=VALUE,KEY=VALUE.")
    values = {**parameters, **{key.strip(): read_value(value.strip()) for key, _, value in pairs}}
    own = list(inspect.signature(DEGRADATIONS[kind]).parameters)[2:]
    taken = [key for key in own if key != "generator"] + list(AFTERWARDS)
    for key in values:
        if key not in taken:
            raise ValueError(f"{kind} has no parameter {key!r}, it takes {', '.join(taken)}.")
    common = {key: values.pop(key) for key in AFTERWARDS if key in values}
    return Degradation(kind, values, **common)


def checked(degradation: Degradation) -> Degradation:
    """The degradation, after a trial on a small image.

    Raises:
        ValueError: when a parameter is not what it may be.
    """
    check_number("sharpen", degradation.sharpen, 0.0, 4.0)
    check_number("noise", degradation.noise, 0.0, 1.0)
    check_word("noise_model", degradation.noise_model, NOISES)
    if not (degradation.seed is None or isinstance(degradation.seed, int)):
        raise ValueError(f"seed must be a whole number, got {degradation.seed!r}.")
    lengths = [len(value) for value in degradation.parameters.values() if isinstance(value, (list, tuple))]
    axes = 3 if 3 in lengths else 2
    replace(degradation, noise=0.0, seed=0)(torch.zeros((4,) * axes), (2.0,) * axes)
    return degradation


def read_value(text: str) -> Any:
    """A number, one for each axis, or a word."""
    for read in (int, float, lambda numbers: tuple(float(number) for number in numbers.split("x"))):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def format_value(value: Any) -> str:
    """Text that :func:`read_value` reads the same from."""
    if isinstance(value, (list, tuple)):
        return "x".join(format_value(part) for part in value)
    return value if isinstance(value, str) else f"{value:.12g}"
