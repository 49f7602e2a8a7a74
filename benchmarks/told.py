"""Blind or told: what a trained network gains that is told the blur and the noise instead of seeing them in the image.

    python benchmarks/told.py DATA --steps 3000 --output told

Trained blind weights are trained on, by the same batches of the family of degradations: *blind*, as they are, and
*told*, with the truth as further constant channels of the input (as Zhang et al., SRMD, CVPR 2018), whose weights begin
at 0: the square of the blur's width along each axis and the level of the noise. Beside them an estimator learns from
the LR images to say the same. Then all are scored by degradations in the family and outside it, the told one by the
truth (the most that telling can bring), by the estimate (what it brings where nobody knows) and by wrong values.

A run that was stopped goes on from its last checkpoint in ``--output`` (with other batches than it would have had).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.transforms import CenterSpatialCrop, Compose
from monai.utils import set_determinism
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from miassr_monai.data import load_datalist
from miassr_monai.degradations import HELD_OUT, Degradation, degraded_pair, named_degradations, parse_degradation
from miassr_monai.files import save_atomically
from miassr_monai.geometry import Scale, scale_per_axis, upscaled_size
from miassr_monai.metrics.slice_scores import slice_psnr
from miassr_monai.networks import MetaSRGenerator
from miassr_monai.prediction import load_model
from miassr_monai.resampling import bicubic_upscale

CONFIGS = Path(__file__).parents[1] / "bundle" / "configs"
# In the family, or mixtures of its members: those of the table in the bundle's README.
FAMILY = (
    "psf",
    "psf:fwhm=0.6",
    "psf:fwhm=1.5",
    "psf:noise=0.02",
    "kspace",
    "kspace:window=hann",
    "kspace:window=tukey,alpha=0.5,noise=0.03",
    "paper",
    "sampling",
    "area",
    "area:noise=0.02",
    "area:noise=0.04",
    "area:sharpen=1",
)
SCALES = (2.0, 4.0)
# Cycles per LR pixel at which a degradation is measured.
FREQUENCY = 1 / 4
# LR pixels of the test pattern, and how many of them at each border are not looked at.
PATTERN, BORDER = 32, 8
# What is told: the squared width along each axis, and the noise; in these units the values are of the order of 1.
WIDTH_UNIT, NOISE_UNIT = 3.0, 0.05
TOLD = 3
# Wrong values: factors of the blur's width and of the noise.
WRONG = {
    "width + 20 %": (1.2, 1.0),
    "width - 20 %": (0.8, 1.0),
    "noise x 1.5": (1.0, 1.5),
    "noise / 1.5": (1.0, 1 / 1.5),
}
CROP = 192
GRADIENT_LIMIT, MOMENTUM = 0.02, 0.002


def transfer(degradation: Degradation, scale: Scale) -> torch.Tensor:
    """What a degradation leaves of a wave of four LR pixels along each axis ``(2,)``, its noise left away."""
    scales = scale_per_axis(scale, 2)

    def cosine(count: int, factor: float) -> torch.Tensor:
        return torch.cos(2 * math.pi * FREQUENCY * (torch.arange(count) + 0.5) / factor)

    sizes = [upscaled_size(PATTERN, factor) for factor in scales]
    rows, columns = (cosine(size, factor) for size, factor in zip(sizes, scales, strict=True))
    patterns = torch.stack([rows[:, None].expand(*sizes), columns[None, :].expand(*sizes)])
    small = degradation.noiseless(0.5 + 0.25 * patterns, scales)
    inner = slice(BORDER, PATTERN - BORDER)
    along = torch.stack([small[0, inner, PATTERN // 2], small[1, PATTERN // 2, inner]])
    return 4 * 2 * ((along - 0.5) * cosine(PATTERN, 1.0)[inner]).mean(-1)


def truth(degradation: Degradation, scale: Scale, wrong: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
    """The squared FWHM (LR pixels) of the Gaussian that damps that wave as much, along each axis, and the noise, all by
    factors; sharpened images have a negative square."""
    left = transfer(degradation, scale).clamp(min=0.01)
    squared = -4 * math.log(2) * left.log() / (math.pi * FREQUENCY) ** 2
    noise = torch.tensor([degradation.noise / NOISE_UNIT])
    return torch.cat([wrong[0] ** 2 * squared / WIDTH_UNIT, wrong[1] * noise])


def with_told_channels(network: MetaSRGenerator) -> MetaSRGenerator:
    """A copy whose first convolution sees what is told, too, with weights that begin at 0."""
    network = deepcopy(network)
    seen = network.trunk.head.weight
    network.trunk.head.weight = nn.Parameter(torch.cat([seen, seen.new_zeros(len(seen), TOLD, *seen.shape[2:])], 1))
    return network


def super_resolve(network: MetaSRGenerator, image: torch.Tensor, told: torch.Tensor, scale: Any) -> torch.Tensor:
    """A generator's result of ``image`` ``(N, 1, h, w)``, of which ``told`` ``(N, TOLD)`` is known."""
    maps = told[..., None, None].expand(-1, -1, *image.shape[2:])
    residual = network.meta_upscale(network.trunk(torch.cat([image, maps], 1)), scale)
    return bicubic_upscale(image, scale) + network.residual_scale * residual


class Estimator(nn.Module):
    """What can be told of images ``(N, 1, h, w)`` and their scale, by the images alone ``(N, TOLD)``.

    Features see second differences, which show noise and blur, beside the image. Their mean and standard deviation are
    over the whole image; the latter as logarithm, in which a Gaussian's squared width is linear.
    """

    def __init__(self, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        along_rows = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0], [0.0, 0.0, 0.0]])
        along_both = torch.outer(along_rows[1], along_rows[1])
        self.register_buffer("differences", 5 * torch.stack([along_rows, along_rows.T, along_both])[:, None])
        layers: list[nn.Module] = []
        for channels in (4, *[width] * (depth - 1)):
            layers += [nn.Conv2d(channels, width, 3), nn.LeakyReLU(0.2)]
            nn.init.kaiming_normal_(layers[-2].weight, 0.2)
        self.features = nn.Sequential(*layers)
        self.values = nn.Sequential(nn.Linear(2 * width + 2, 64), nn.LeakyReLU(0.2), nn.Linear(64, TOLD))

    def forward(self, image: torch.Tensor, scale: Scale) -> torch.Tensor:
        """Squared widths and noise in their units."""
        seen = torch.cat([image[..., 1:-1, 1:-1], F.conv2d(image, self.differences)], 1)
        variance, mean = torch.var_mean(self.features(seen), (2, 3))
        scales = image.new_tensor(scale_per_axis(scale, 2)).log2().expand(len(image), -1)
        return self.values(torch.cat([mean, (variance + 1e-6).log(), scales], 1))


class Learner:
    """A network, its moving average, and what trains it."""

    def __init__(self, network: nn.Module, rate: float, steps: int) -> None:
        self.network = network.train()
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - MOMENTUM))
        self.optimizer = torch.optim.Adam(network.parameters(), rate)
        self.scheduler = OneCycleLR(self.optimizer, rate, steps, pct_start=0.03, cycle_momentum=False)

    def step(self, loss: torch.Tensor) -> float:
        """One step down a loss; the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update_parameters(self.network)
        return loss.item()


class Training:
    """The two networks and the estimator, each trained by the same batches."""

    def __init__(
        self, start: MetaSRGenerator, steps: int, rate: float, estimator_rate: float, checkpoint: Path
    ) -> None:
        self.steps, self.done, self.checkpoint = steps, 0, checkpoint
        torch.manual_seed(0)
        self.learners = {
            "blind": Learner(deepcopy(start), rate, steps),
            "told": Learner(with_told_channels(start), rate, steps),
            "estimator": Learner(Estimator(), estimator_rate, steps),
        }
        if checkpoint.is_file():
            state = torch.load(checkpoint, weights_only=True)
            self.done = state["done"]
            for name, part in self.parts().items():
                part.load_state_dict(state[name])

    def parts(self) -> dict[str, Any]:
        """All that has a state, by name."""
        return {
            f"{name}/{kind}": part for name, learner in self.learners.items() for kind, part in vars(learner).items()
        }

    def save(self) -> None:
        """Write a checkpoint."""
        states: dict[str, Any] = {name: part.state_dict() for name, part in self.parts().items()}
        save_atomically({"done": self.done, **states}, self.checkpoint)

    def averages(self) -> dict[str, Any]:
        """The averaged networks, to be evaluated."""
        return {name: learner.average.module.eval() for name, learner in self.learners.items()}

    def step(self, image: torch.Tensor, scale: Any, degradation: Any) -> dict[str, float]:
        """One step of each on a batch of HR images; the losses: L1, and the estimator's mean squared error."""
        small, target, drawn = degraded_pair(image, scale, degradation)
        known = torch.stack([truth(parse_degradation(text), scale) for text in drawn["degradation"]])
        losses = {}
        for name, told in {"blind": known[:, :0], "told": known}.items():
            with torch.autocast("cpu", torch.bfloat16):
                output = super_resolve(self.learners[name].network, small, told, scale)
            losses[name] = self.learners[name].step(F.l1_loss(output, target))
        estimator = self.learners["estimator"]
        losses["estimator"] = estimator.step(F.mse_loss(estimator.network(small, scale), known))
        self.done += 1
        return losses

    def run(self, parser: ConfigParser, seed: int) -> None:
        """All steps that are left."""
        set_determinism(seed + self.done)
        batches = parser.get_parsed_content("train#dataloader")
        degradation = parser.get_parsed_content("train_degradation")
        mean: dict[str, float] = {}
        for batch in batches:
            if self.done == self.steps:
                break
            losses = self.step(batch["image"], batch["scale"], degradation)
            mean = {name: 0.98 * mean.get(name, loss) + 0.02 * loss for name, loss in losses.items()}
            if self.done % 50 == 0 or self.done == self.steps:
                means = "  ".join(f"{name} {loss:.5f}" for name, loss in mean.items())
                print(f"{self.done:>6}  {means}  ({time.process_time():.0f} s of the processor)", flush=True)
            if self.done % 250 == 0 or self.done == self.steps:
                self.save()


def parse_configs(data: Path, batch: int, steps: int) -> ConfigParser:
    """The configuration by which the shipped weights were trained."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", "release.json", "blind.json")])
    parser.update(
        {
            "bundle_root": str(CONFIGS.parent),
            "dataset_dir": str(data),
            "batch_size": batch,
            "samples_per_volume": 2,
            "patch_size": 144,
            "epoch_length": steps,
        }
    )
    return parser


def load_slices(parser: ConfigParser) -> dict[str, torch.Tensor]:
    """The middle of the middle slice ``(1, 1, H, W)`` of the first validation volume of each subject."""
    *transforms, _ = parser.get_parsed_content("validate#preprocessing").transforms
    slices: dict[str, torch.Tensor] = {}
    for item in load_datalist(parser.get("dataset_dir"), "validation"):
        if item["subject"] not in slices:
            volume = Compose(transforms)(dict(item))["image"].as_tensor()
            slices[item["subject"]] = CenterSpatialCrop((CROP, CROP))(volume[..., volume.shape[-1] // 2])[None]
    return slices


@torch.inference_mode()
def evaluate(start: MetaSRGenerator, trained: dict[str, Any], slices: dict[str, torch.Tensor]) -> pd.DataFrame:
    """PSNR of each slice by each degradation, scale and method, and how far off what the method was told is: the
    squared width (squared LR pixels, root mean square of both axes) and the noise."""
    rows = []
    for name, degradation in named_degradations([*FAMILY, *HELD_OUT]).items():
        for scale in SCALES:
            known = truth(degradation, scale)
            wrong = {f"told, {how}": truth(degradation, scale, factors) for how, factors in WRONG.items()}
            for subject, image in slices.items():
                small, target, _ = degraded_pair(image, scale, degradation)
                results = {
                    "bicubic": bicubic_upscale(small, scale),
                    "as shipped": start(small, scale),
                    "blind": trained["blind"](small, scale),
                }
                told = {"told": known, "told an estimate": trained["estimator"](small, scale)[0], **wrong}
                for method, values in told.items():
                    results[method] = super_resolve(trained["told"], small, values[None], scale)
                for method, result in results.items():
                    row = {"in_family": name in FAMILY, "degradation": name, "scale": scale, "subject": subject}
                    row |= {"method": method, "psnr": float(slice_psnr(result, target))}
                    if method in told:
                        error = told[method] - known
                        row["squared_width_error"] = WIDTH_UNIT * float(error[:2].square().mean().sqrt())
                        row["noise_error"] = NOISE_UNIT * float(error[2].abs())
                    rows.append(row)
        print(f"{name} is evaluated", flush=True)
    return pd.DataFrame(rows)


def report(scores: pd.DataFrame) -> None:
    """Print the gains over bicubic (dB), what telling brings each subject, and how far off what is told is."""
    pd.set_option("display.width", 250, "display.max_columns", 30, "display.max_rows", 200)
    keys = ["in_family", "scale", "degradation", "subject"]
    gains = scores.set_index([*keys, "method"])["psnr"].unstack("method", sort=False)
    gains = gains.drop(columns="bicubic").sub(gains["bicubic"], axis=0)
    print("Gain over bicubic (dB):", gains.groupby(keys[:3], sort=False).mean().round(2).to_string(), sep="\n")
    print(gains.groupby(keys[:2]).mean().round(3).to_string())
    over_blind = gains.sub(gains["blind"], axis=0).drop(columns="blind").groupby([*keys[:2], "subject"]).mean()
    print("The same over blind, mean and standard error over the subjects:")
    print(over_blind.groupby(keys[:2]).agg(["mean", "sem"]).round(3).to_string())
    print("Mean errors of what is told:")
    print(scores.groupby(["in_family", "scale", "method"])[["squared_width_error", "noise_error"]].mean().dropna())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set with the sections training and validation")
    parser.add_argument("--output", type=Path, default=Path("told"))
    parser.add_argument("--start", default="small", help="trained blind weights (EDSR), or small, the built-in ones")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8, help="patches of a step")
    parser.add_argument("--rate", type=float, default=3e-4, help="largest learning rate")
    parser.add_argument("--estimator-rate", type=float, default=2e-3, help="that of the estimator")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    configuration = parse_configs(args.data, args.batch, args.steps)
    start: Any = load_model(args.start, "cpu").network
    training = Training(start, args.steps, args.rate, args.estimator_rate, args.output / "checkpoint.pt")
    if training.done < args.steps:
        training.run(configuration, args.seed)
    scores = evaluate(start, training.averages(), load_slices(configuration))
    scores.to_csv(args.output / "scores.csv", index=False)
    report(scores)


if __name__ == "__main__":
    main()
