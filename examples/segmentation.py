"""What super-resolution is worth to the next stage: grey and white matter from coarse slices of a brain.

    python examples/segmentation.py --json segmentation.json

A small UNet learns to segment axial slices of the MNI152 template at 1 mm. It is then tested on slices that it has not
seen, made 2, 3 and 4 times coarser, and given to it as they are, interpolated, or super-resolved.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import Compose, RandFlipd, ResampleToMatchd, ResizeWithPadOrCropd
from monai.utils import optional_import, set_determinism
from torch.utils.data import RandomSampler

from miassr_monai.data.sample import BLOCKS
from miassr_monai.prediction import SuperResolved, load_model
from miassr_monai.transforms import Degraded

SCALES = (2, 3, 4)
TISSUES = ("grey", "white")
INPUTS = ("low resolution", "bicubic", "super-resolved", "original")
# Holds the brain, and a UNet that halves its input twice can be run on it at every scale: 48 = lcm(2, 3, 4) * 4.
SLICE_SIZE = (192, 240)
BATCH_SIZE = 4

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Item = dict[str, MetaTensor]


def tissue_labels(grey: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
    """Labels of probability maps: 1 for grey and 2 for white matter where the larger is above a half, else 0."""
    return torch.stack([torch.full_like(grey, 0.5), grey, white]).argmax(0)


def load_blocks(section: str) -> list[Item]:
    """The axial blocks ``(1, H, W, D)`` of a section of the sample data: ``image`` and ``label``."""
    datasets, found = optional_import("nilearn.datasets")
    if not found:
        raise ImportError("the sample data comes with nilearn: `pip install miassr-monai[sample]`.")
    loaders = (datasets.load_mni152_template, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    templates = [load(resolution=1) for load in loaders]
    t1, grey, white = (torch.as_tensor(template.get_fdata(dtype="float32")) for template in templates)
    volumes = {"image": t1, "label": tissue_labels(grey, white).float()}
    crop = ResizeWithPadOrCropd(("image", "label"), (*SLICE_SIZE, -1))
    blocks = []
    for first, after in BLOCKS[section]:
        affine = torch.as_tensor(templates[0].slicer[:, :, first:after].affine)
        blocks.append(crop({k: MetaTensor(v[None, :, :, first:after], affine=affine) for k, v in volumes.items()}))
    return blocks


def train(blocks: Iterable[Item], steps: int, seed: int) -> UNet:
    """Train a UNet, of 27 thousand parameters, on the slices of blocks."""
    set_determinism(seed)
    slices = [{k: v.as_tensor()[..., i] for k, v in b.items()} for b in blocks for i in range(b["image"].shape[-1])]
    data = CacheDataset(slices, RandFlipd(("image", "label"), prob=0.5, spatial_axis=0), progress=False)
    sampler = RandomSampler(data, replacement=True, num_samples=steps * BATCH_SIZE)
    network = UNet(2, 1, 3, channels=(12, 24, 48), strides=(2, 2), num_res_units=1, norm="batch").to(DEVICE)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for batch in DataLoader(data, batch_size=BATCH_SIZE, sampler=sampler):
        image, label = (batch[k].as_tensor().to(DEVICE) for k in ("image", "label"))
        optimizer.zero_grad()
        loss_of(network(image), label).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def preprocessing(kind: str, scale: int, model: str | None) -> Compose:
    """What happens to the image before the UNet sees it."""
    degrade = Degraded("image", "paper", scale)
    # The spacing across the slices is the smallest here, so which axis that is cannot be told from the spacing.
    return {
        "low resolution": Compose([degrade]),
        "bicubic": Compose([degrade, SuperResolved("image", scale, model="bicubic", slice_axis=2)]),
        "super-resolved": Compose([degrade, SuperResolved("image", scale, model=model, slice_axis=2)]),
        "original": Compose([]),
    }[kind]


@torch.no_grad()
def segment(network: Callable[[torch.Tensor], torch.Tensor], item: Item) -> Item:
    """Add the ``segmentation`` of the image, on the grid of the label: by nearest neighbour if the image is coarser."""
    image = item["image"]
    logits = network(image.as_tensor().movedim(-1, 0).to(DEVICE))
    labels = logits.argmax(1, keepdim=True).movedim(0, -1).float().cpu()
    found = {**item, "segmentation": MetaTensor(labels, affine=image.affine)}
    return ResampleToMatchd("segmentation", "label", mode="nearest", padding_mode="border")(found)


def dice(found: Iterable[Item]) -> list[float]:
    """Dice of grey and white matter, each block as one volume; the mean over blocks."""
    metric = DiceMetric(include_background=False, reduction="mean_batch", num_classes=3)
    for item in found:
        metric(item["segmentation"].as_tensor()[None], item["label"].as_tensor()[None])
    return metric.aggregate().tolist()


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def make_table(scores: Mapping[str, Any]) -> str:
    """The Dice scores as text, one row for each tissue and scale; ``gain`` is over bicubic, seed by seed."""
    rows = [["tissue, scale", *INPUTS, "gain"]]
    for tissue in TISSUES:
        for scale in scores["original"]:
            row = {kind: scores[kind][scale][tissue] for kind in INPUTS}
            gain = [a - b for a, b in zip(row["super-resolved"], row["bicubic"], strict=True)]
            rows.append([f"{tissue}, {scale}", *(mean_and_spread(values) for values in (*row.values(), gain))])
    return "\n".join("".join(f"{cell:<17}" for cell in row).rstrip() for row in rows)


def draw(panels: Mapping[str, Item], path: Path) -> None:
    """Draw the middle slice: the UNet's inputs above, their segmentations and the tissue maps below."""
    from matplotlib import pyplot as plt

    plt.switch_backend("Agg")
    original = panels["original"]
    panels = {**panels, "tissue maps": {"image": original["image"], "segmentation": original["label"]}}
    figure, axes = plt.subplots(2, len(panels), figsize=(2.4 * len(panels), 6), layout="constrained")
    for (top, bottom), (title, item) in zip(axes.T, panels.items(), strict=True):
        image, labels = (item[k][0, ..., item[k].shape[-1] // 2].T.numpy() for k in ("image", "segmentation"))
        top.set_title(title)
        top.imshow(image, cmap="gray", origin="lower", vmin=0, vmax=1)
        bottom.imshow(labels, origin="lower", vmin=0, vmax=2, interpolation="nearest")
    for panel in axes.flat:
        panel.axis("off")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train a UNet for each seed and score every input at every scale."""
    # First of all, so that a wrong path is found out before the UNet is trained.
    model = load_model(args.model)
    training, test = load_blocks("training"), load_blocks("test")
    stages = {case: preprocessing(*case, args.model) for case in product(INPUTS, args.scales)}
    inputs = {case: [stage(block) for block in test] for case, stage in stages.items()}
    networks = [train(training, args.steps, seed) for seed in range(args.seeds)]
    scores = {kind: {str(scale): {tissue: [] for tissue in TISSUES} for scale in args.scales} for kind in INPUTS}
    panels = {}
    for (kind, scale), items in inputs.items():
        used = networks
        if args.retrain and kind in ("bicubic", "super-resolved"):
            seen = [stages[kind, scale](block) for block in training]
            used = [train(seen, args.steps, seed) for seed in range(args.seeds)]
        for network in used:
            found = [segment(network, item) for item in items]
            for tissue, value in zip(TISSUES, dice(found), strict=True):
                scores[kind][str(scale)][tissue].append(value)
        panels[kind] = found[0]
    if args.picture:
        draw(panels, args.picture)
    settings = {name: getattr(args, name) for name in ("scales", "seeds", "steps", "retrain")}
    return {"model": model.name, "sha256": model.sha256, **settings, "dice": scores}


def main(arguments: list[str] | None = None) -> None:
    """Run, print the table, write the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="PATH", help="bundle folder or weights; default: the built-in bundle")
    parser.add_argument("--scales", type=int, nargs="+", choices=SCALES, default=SCALES, help="default: all of them")
    parser.add_argument("--retrain", action="store_true", help="train a UNet on bicubic and super-resolved slices, too")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of the UNet; default: 3")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of each training; default: 600")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores of every seed")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw a slice at the last scale")
    args = parser.parse_args(arguments)
    try:
        result = run(args)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"segmentation.py: error: {error}\n")
    print(make_table(result["dice"]))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
