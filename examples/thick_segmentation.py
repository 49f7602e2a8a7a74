"""What thick slices made isotropic are worth to the next stage: grey and white matter, by each method.

    python examples/thick_segmentation.py VOLUMES --thickness 3 4 5 --amp --csv dice.csv

VOLUMES is a folder of isotropic T1-weighted brains without skull, or a data list. The small UNet of segmentation.py
learns to segment axial slices of the MNI152 template. Thick slices are made of every volume, made isotropic again by
every method, and segmented; the Dice score compares that with what the UNet finds in the volume itself.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.metrics import DiceMetric
from monai.transforms import DivisiblePad
from segmentation import DEVICE, TISSUES, load_blocks, train
from torch import nn

from miassr_monai.adaptation import Adaptation
from miassr_monai.data import find_volumes
from miassr_monai.evaluation.thick_slices import ThickSlices, thick_methods
from miassr_monai.evaluation.whole_volumes import volume_loader
from miassr_monai.metrics import bootstrap_interval

# The UNet halves its input twice.
PAD = DivisiblePad((4, 4, 1))


@torch.no_grad()
def segment(network: Callable[[torch.Tensor], torch.Tensor], volume: torch.Tensor) -> torch.Tensor:
    """Labels ``(1, h, w, d)``, slice by slice across the last axis, of a volume of the same size in [0, 1]."""
    padded = PAD(volume)
    labels = [network(part.movedim(-1, 0).to(DEVICE)).argmax(1, keepdim=True).cpu() for part in padded.split(8, -1)]
    return PAD.inverse(padded.clone().copy_(torch.cat(labels).movedim(0, -1))).as_tensor()


def dice(networks: Sequence[nn.Module], volume: torch.Tensor, truths: Sequence[torch.Tensor]) -> dict[str, float]:
    """Dice of each tissue in a volume, the mean over the networks, each with its own labels of the truth."""
    metric = DiceMetric(include_background=False, reduction="mean_batch", num_classes=len(TISSUES) + 1)
    for network, truth in zip(networks, truths, strict=True):
        metric(segment(network, volume)[None], truth[None, ..., : volume.shape[-1]])
    return dict(zip(TISSUES, metric.aggregate().tolist(), strict=True))


def score(
    items: Sequence[dict[str, Any]],
    conditions: Sequence[ThickSlices],
    methods: dict[str, Callable],
    networks: Sequence[nn.Module],
) -> Iterator[dict[str, Any]]:
    """Dice of each volume, kind of slices and method."""
    load = volume_loader()
    for item in items:
        truth = load(item)
        truths = [segment(network, truth.as_tensor()) for network in networks]
        for slices in conditions:
            thick, scales = slices.see(truth)
            for name, method in methods.items():
                found = dice(networks, method(thick, scales), truths)
                yield {"volume": Path(item["image"]).name, "slices": slices.name, "method": name, **found}


def make_table(scores: pd.DataFrame) -> str:
    """Means over volumes with their 95 % bootstrap intervals: a row for each tissue and kind of slices."""
    methods = list(scores["method"].unique())
    rows = [["tissue, slices", *methods]]
    for tissue in TISSUES:
        for slices, group in scores.groupby("slices", sort=False):
            cells = []
            for method in methods:
                values = group.loc[group["method"] == method, tissue].tolist()
                lower, upper = bootstrap_interval(values)
                # Of one volume there is none.
                interval = "" if math.isnan(lower) else f" ({lower:.3f} to {upper:.3f})"
                cells.append(f"{sum(values) / len(values):.3f}{interval}")
            rows.append([f"{tissue}, {slices}", *cells])
    return "\n".join("".join(f"{cell:<25}" for cell in row).rstrip() for row in rows)


def main(arguments: list[str] | None = None) -> None:
    """Run, print the table, write the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="VOLUMES", help="folder of volumes, volume, or data list")
    parser.add_argument("--section", default="validation", metavar="NAME", help="of a data list; default: validation")
    parser.add_argument("--model", metavar="PATH", help="bundle folder or weights; default: the built-in bundle")
    parser.add_argument("--thickness", type=float, nargs="+", default=[3.0, 4.0, 5.0], metavar="MM")
    parser.add_argument("--profile", choices=("gaussian", "box", "rf"), nargs="+", default=["gaussian", "box"])
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="some only, such as 'cubic spline' model")
    parser.add_argument("--adapt-minutes", type=float, default=5.0, metavar="M", help="to each scan; default: 5")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of the UNet; default: 3")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of each training; default: 600")
    parser.add_argument("--amp", action="store_true", help="run the model in bfloat16")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the scores of every volume")
    args = parser.parse_args(arguments)
    try:
        methods = thick_methods({"model": args.model}, adaptation=Adaptation(args.adapt_minutes), amp=args.amp)
        unknown = set(args.methods or ()) - set(methods)
        if unknown:
            raise ValueError(f"there is no method {unknown.pop()!r}: give some of {', '.join(methods)}.")
        chosen = {name: method for name, method in methods.items() if args.methods is None or name in args.methods}
        items = find_volumes(args.data, args.section)
        networks = [train(load_blocks("training"), args.steps, seed) for seed in range(args.seeds)]
        conditions = ThickSlices.all_of(args.thickness, [0.0], args.profile)
        rows = []
        for row in score(items, conditions, chosen, networks):
            rows.append(row)
            if args.csv:
                pd.DataFrame(rows).to_csv(args.csv, index=False)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"thick_segmentation.py: error: {error}\n")
    print(make_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
