"""Blind or told: what a network gains that is told the blur and the noise instead of seeing them in the image.

    python benchmarks/told.py DATA --steps 1500 --output told

Small networks are trained on the very same batches of the family of degradations. One is *blind*; another one too, with
other first weights, which shows what chance does. The third one is *told* the truth as further constant channels of
the input (as Zhang et al., SRMD, CVPR 2018): the square of the blur's width along each axis and the level of the noise.
No estimator can know better than the truth, so what it gains is the most that telling can bring; what a wrong value
costs is measured, too. Then all are scored by degradations in the family and outside it.

A run that was stopped goes on from its last checkpoint in ``--output`` (with other batches than it would have had).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.transforms import CenterSpatialCrop, Compose
from monai.utils import set_determinism
from torch import nn

from miassr_monai.data import load_datalist
from miassr_monai.degradations import HELD_OUT, Degradation, degraded_pair, named_degradations, parse_degradation
from miassr_monai.files import save_atomically
from miassr_monai.geometry import Scale, scale_per_axis, upscaled_size
from miassr_monai.metrics.slice_scores import slice_psnr
from miassr_monai.networks import EDSR
from miassr_monai.networks.upscalers import MetaUpscale
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
# Told values shall be of the order of 1.
NOISE_UNIT, WIDTH_UNIT = 0.05, 3.0
# Wrong values: factors of the blur's width and of the noise.
WRONG = {
    "width + 20 %": (1.2, 1.0),
    "width - 20 %": (0.8, 1.0),
    "noise x 1.5": (1.0, 1.5),
    "noise / 1.5": (1.0, 1 / 1.5),
}
CROP = 128


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


def nothing(degradation: Degradation, scale: Scale) -> torch.Tensor:
    """A blind network is told nothing."""
    return torch.zeros(0)


# What each network is told, and the seed of its first weights.
NETWORKS: dict[str, tuple[Callable[..., torch.Tensor], int]] = {
    "blind": (nothing, 0),
    "blind, again": (nothing, 1),
    "told": (truth, 0),
}


class Told(nn.Module):
    """EDSR and meta-upscale beside bicubic interpolation, with further constant channels at the trunk's input."""

    def __init__(self, told: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.trunk = EDSR(in_channels=1 + told, width=size[0], depth=size[1])
        self.meta_upscale = MetaUpscale(size[0], 1, projection="center", anisotropic=True)

    def forward(self, image: torch.Tensor, told: torch.Tensor, scale: Any) -> torch.Tensor:
        """Super-resolve ``image`` ``(N, 1, h, w)``, of which ``told`` ``(N, K)`` is known."""
        maps = told[..., None, None].expand(-1, -1, *image.shape[2:])
        residual = self.meta_upscale(self.trunk(torch.cat([image, maps], 1)), scale)
        return bicubic_upscale(image, scale) + residual / self.meta_upscale.hidden.out_features


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


class Training:
    """The networks with what trains them, each by the same batches."""

    def __init__(self, size: tuple[int, int], steps: int, rate: float, checkpoint: Path) -> None:
        self.steps, self.done, self.rate, self.checkpoint = steps, 0, rate, checkpoint
        self.networks: dict[str, Told] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, (tell, seed) in NETWORKS.items():
            torch.manual_seed(seed)
            self.networks[name] = network = Told(len(tell(parse_degradation("psf"), 2.0)), size)
            self.optimizers[name] = torch.optim.Adam(network.parameters())
        if checkpoint.is_file():
            state = torch.load(checkpoint, weights_only=True)
            self.done = state["done"]
            for name, part in self.parts().items():
                part.load_state_dict(state[name])

    def parts(self) -> dict[str, Any]:
        """All that has a state, by name."""
        kinds = {"network": self.networks, "optimizer": self.optimizers}
        return {f"{kind}/{name}": part for kind, parts in kinds.items() for name, part in parts.items()}

    def save(self) -> None:
        """Write a checkpoint."""
        states: dict[str, Any] = {name: part.state_dict() for name, part in self.parts().items()}
        save_atomically({"done": self.done, **states}, self.checkpoint)

    def step(self, image: torch.Tensor, scale: Any, degradation: Any) -> dict[str, float]:
        """One step of each network on a batch of HR images; the L1 losses."""
        small, target, drawn = degraded_pair(image, scale, degradation)
        degradations = [parse_degradation(text) for text in drawn["degradation"]]
        losses = {}
        rate = self.rate * min(20 * self.done / self.steps, (1 + math.cos(math.pi * self.done / self.steps)) / 2)
        for name, network in self.networks.items():
            told = torch.stack([NETWORKS[name][0](one, scale) for one in degradations])
            with torch.autocast("cpu", torch.bfloat16):
                output = network(small, told, scale)
            loss = F.l1_loss(output, target)
            self.optimizers[name].zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.02)
            self.optimizers[name].param_groups[0]["lr"] = rate
            self.optimizers[name].step()
            losses[name] = loss.item()
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
                told = "  ".join(f"{name} {loss:.5f}" for name, loss in mean.items())
                print(f"{self.done:>6}  {told}  ({time.process_time():.0f} s of the processor)", flush=True)
            if self.done % 250 == 0 or self.done == self.steps:
                self.save()


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
def evaluate(networks: dict[str, Told], others: dict[str, nn.Module], slices: dict[str, torch.Tensor]) -> pd.DataFrame:
    """PSNR of each slice by each degradation, scale and method; ``others`` are networks that are told nothing."""
    rows = []
    for name, degradation in named_degradations([*FAMILY, *HELD_OUT]).items():
        for scale in SCALES:
            told = {method: NETWORKS[method][0](degradation, scale) for method in networks}
            told |= {f"told, {how}": truth(degradation, scale, wrong) for how, wrong in WRONG.items()}
            for subject, image in slices.items():
                small, target, _ = degraded_pair(image, scale, degradation)
                results = {"bicubic": bicubic_upscale(small, scale)}
                results |= {method: network(small, scale) for method, network in others.items()}
                for method, values in told.items():
                    network = networks[method if method in networks else "told"]
                    results[method] = network(small, values[None], scale)
                rows += [
                    {
                        "degradation": name,
                        "in_family": name in FAMILY,
                        "scale": scale,
                        "subject": subject,
                        "method": method,
                        "psnr": float(slice_psnr(result, target)),
                    }
                    for method, result in results.items()
                ]
        print(f"{name} is evaluated", flush=True)
    return pd.DataFrame(rows)


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Gain over bicubic (dB), the mean over subjects: a row for each degradation and scale."""
    keys = ["in_family", "degradation", "scale", "method"]
    table = scores.groupby(keys, sort=False)["psnr"].mean().unstack("method", sort=False)
    return table.drop(columns="bicubic").sub(table["bicubic"], axis=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set with the sections training and validation")
    parser.add_argument("--output", type=Path, default=Path("told"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8, help="patches of a step")
    parser.add_argument("--size", type=int, nargs=2, default=(32, 6), help="channels and blocks of the trunk")
    parser.add_argument("--rate", type=float, default=1e-3, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", nargs="*", default=[], metavar="NAME=PATH", help="weights to evaluate beside them")
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    configuration = parse_configs(args.data, args.batch, args.steps)
    training = Training(tuple(args.size), args.steps, args.rate, args.output / "checkpoint.pt")
    if training.done < args.steps:
        training.run(configuration, args.seed)
    networks = {name: network.eval() for name, network in training.networks.items()}
    others = {name: load_model(path, "cpu").network for name, path in (one.split("=", 1) for one in args.model)}
    scores = evaluate(networks, others, load_slices(configuration))
    scores.to_csv(args.output / "scores.csv", index=False)
    table = summarize(scores)
    pd.set_option("display.width", 250, "display.max_columns", 20, "display.max_rows", 200)
    print(table.unstack("scale").swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False).round(2))
    means = table.groupby(["in_family", "scale"]).mean()
    print(means.round(3))
    (args.output / "means.json").write_text(json.dumps(means.reset_index().to_dict("records"), indent=2))


if __name__ == "__main__":
    main()
