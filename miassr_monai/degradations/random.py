"""The family of degradations that training draws from.

Nobody knows how a real image was degraded. A network that was trained on a few exact degradations inverts just these;
one that has seen the family below has to tell from the image. :data:`MEMBERS`, :data:`EXTRAS` and the ranges of gain,
gamma, softness and texture are the whole of it. Left out on purpose, so that they can be tested on: :data:`HELD_OUT`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.layers import gaussian_1d, separable_filtering

from miassr_monai.degradations.degradation import Degradation, parse_degradation, read_degradation
from miassr_monai.degradations.noise import speckle_noise
from miassr_monai.degradations.psf import FWHM_PER_SIGMA
from miassr_monai.geometry import Scale

__all__ = ["EXTRAS", "HELD_OUT", "MEMBERS", "RandomDegradation"]


def members_of(spatial_dims: int) -> dict[str, float]:
    """One of these is drawn, as often as its weight says; LOW..HIGH is a number drawn from that range."""
    return {
        "psf:fwhm=0.4..1.8": 3,
        f"psf:fwhm={'x'.join(['0.4..1.8'] * spatial_dims)}": 2,
        "slice_profile:thickness=0.5..1.6": 2,
        "kspace": 2,
        "kspace:window=hann": 1,
        "kspace:window=tukey,alpha=0.2..0.9": 1,
        "paper": 1,
        "sampling": 1,
        "sampling:interpolation=linear": 0.5,
    }


MEMBERS = members_of(2)

# What follows on the LR image, each with a chance of its own.
EXTRAS = {"sharpen=0.2..1.5": 0.1, "noise=0.002..0.05": 0.5}

# Degradations that are kept out of the family, and so of training.
HELD_OUT = (
    "antialiased_bicubic",
    "antialiased_bicubic:noise=0.02",
    "antialiased_bicubic:noise=0.03,noise_model=gaussian",
    "kspace:fraction=0.75",
    "slice_profile:profile=rf",
    "slice_profile:profile=rf,noise=0.02",
    "psf:fwhm=2.2",
    "psf:noise=0.08",
)

RANGE = re.compile(r"(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)")


class RandomDegradation:
    """Degrade each image of a batch in its own way, drawn from a family with torch's generator.

    A member of the family is the text of a degradation (see :func:`parse_degradation`) in which ``LOW..HIGH`` may stand
    for a number, which is then drawn uniformly: ``psf:fwhm=0.4..1.8``. Extras are further parameters, written alike.

    Gain and gamma change the image before it is degraded, ``gain * image^gamma``, and so the target: contrasts differ
    from scanner to scanner, and a network shall not depend on them. Some images are made softer than their grid, noise
    and all, before they are degraded, and these are the target, too: CT and ultrasound often are, and a network that
    knows sharp images only makes them sharper than they ever were. Nothing else touches the target.

    Args:
        members: how often each is drawn, relative to the others; the family above unless given.
        spatial_dims: 2 for slices, 3 for volumes, whose point-spread functions may have a width along each axis.
        extras: chance of each; they follow the members in their order.
        gain: range of the factor of the intensities.
        gamma: range of their exponent.
        intensity_prob: how often gain and gamma are drawn; else both are 1.
        softness: range of the full width at half maximum (HR samples) of the Gaussian that makes an image soft, drawn
            for each axis.
        texture: range of the standard deviation of the noise, where the image is 1, that is made soft with it.
        soft_prob: how often an image is made soft.

    Raises:
        ValueError: when there is no member, a weight or chance makes no sense, or a text is no degradation.
    """

    def __init__(
        self,
        members: Mapping[str, float] | None = None,
        *,
        spatial_dims: int = 2,
        extras: Mapping[str, float] = EXTRAS,
        gain: tuple[float, float] = (0.7, 1.1),
        gamma: tuple[float, float] = (0.7, 1.5),
        intensity_prob: float = 0.3,
        softness: tuple[float, float] = (1.0, 3.5),
        texture: tuple[float, float] = (0.0, 0.1),
        soft_prob: float = 0.25,
    ) -> None:
        members = members_of(spatial_dims) if members is None else members
        if not members or min(members.values()) <= 0:
            raise ValueError(f"a family needs members with weights above 0, got {dict(members)}.")
        if not all(0 <= chance <= 1 for chance in (*extras.values(), intensity_prob, soft_prob)):
            raise ValueError(f"chances must lie in [0, 1], got {dict(extras)}, {intensity_prob} and {soft_prob}.")
        if not (0 < softness[0] <= softness[1] and 0 <= texture[0] <= texture[1]):
            raise ValueError(
                f"softness must be a range of widths above 0, and texture one of levels from 0 on, got {softness} and "
                f"{texture}."
            )
        for member in members:
            for end in (r"\1", r"\2"):
                parse_degradation(RANGE.sub(end, joined(member, list(extras))))
        self.members, self.extras = dict(members), dict(extras)
        self.gain, self.gamma, self.intensity_prob = tuple(gain), tuple(gamma), intensity_prob
        self.softness, self.texture, self.soft_prob = tuple(softness), tuple(texture), soft_prob

    def __call__(self, image: torch.Tensor, scale: Scale) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Degrade images ``(N, C, *size)``.

        Returns:
            LR images, the HR images that they were made of, and what was drawn: ``degradation``, a text for each
            image, ``gain`` and ``gamma`` ``(N,)``, and ``softness``, its widths ``(N, axes)``, 0 where there is none.
        """
        drawn = [self.draw() for _ in image]
        intensities = torch.tensor([self.draw_intensity() for _ in image])
        widths = torch.tensor([self.draw_softness(image.dim() - 2) for _ in image])
        altered, small = [], []
        for sample, degradation, (gain, gamma), width in zip(
            image, drawn, intensities.tolist(), widths.tolist(), strict=True
        ):
            if (gain, gamma) != (1.0, 1.0):
                sample = gain * sample.sign() * sample.abs() ** gamma
            if any(width):
                sample = soften(speckle_noise(sample, uniform(*self.texture)), width)
            altered.append(sample)
            small.append(degradation(sample, scale))
        record = {
            "degradation": [d.name for d in drawn],
            "gain": intensities[:, 0],
            "gamma": intensities[:, 1],
            "softness": widths,
        }
        return torch.stack(small), torch.stack(altered), record

    def draw(self) -> Degradation:
        """One degradation of the family."""
        weights = torch.tensor(list(self.members.values()), dtype=torch.float64)
        member = list(self.members)[int(torch.multinomial(weights, 1))]
        extras = [extra for extra, chance in self.extras.items() if uniform(0, 1) < chance]
        text = RANGE.sub(lambda found: f"{uniform(*map(float, found.groups())):.4g}", joined(member, extras))
        return read_degradation(text)

    def draw_intensity(self) -> tuple[float, float]:
        """Gain and gamma."""
        if uniform(0, 1) >= self.intensity_prob:
            return 1.0, 1.0
        return uniform(*self.gain), uniform(*self.gamma)

    def draw_softness(self, axes: int) -> list[float]:
        """Width along each axis, all 0 for an image that is left as sharp as it is."""
        # Nothing is drawn where none is made soft, so that seeds of such a family give what they did without it.
        soft = self.soft_prob > 0 and uniform(0, 1) < self.soft_prob
        return [uniform(*self.softness) if soft else 0.0 for _ in range(axes)]


def uniform(low: float, high: float) -> float:
    """A number between two others, drawn with torch's generator."""
    return low + (high - low) * float(torch.rand(()))


def soften(image: torch.Tensor, fwhm: Sequence[float]) -> torch.Tensor:
    """Blur an image ``(C, *size)`` on its own grid by a Gaussian of these widths (samples)."""
    kernels = [gaussian_1d(torch.tensor(width / FWHM_PER_SIGMA)).to(image) for width in fwhm]
    return separable_filtering(image[None], kernels, mode="replicate")[0]


def joined(member: str, extras: list[str]) -> str:
    """The text of a member with further parameters."""
    return ",".join([member, *extras]) if ":" in member or not extras else f"{member}:{','.join(extras)}"
