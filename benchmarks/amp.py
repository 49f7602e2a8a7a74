"""Does bfloat16 train as float32 does? The quick start's network with both, from the same seed on the same batches.

python benchmarks/amp.py --picture amp.png --json amp.json
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from monai.utils import set_determinism
from sample_patches import BATCH, draw_patches, load_slices
from timing import write_json

from miassr_monai.degradations import paper_degradation
from miassr_monai.engines import DegradeBatch
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, MetaSRGenerator


def train(slices: torch.Tensor, steps: int, amp: bool) -> list[float]:
    """L1 loss of each step."""
    set_determinism(0)
    generator = torch.Generator().manual_seed(0)
    network = MetaSRGenerator(EDSR(width=32, depth=6), skip="bicubic")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    prepare_batch, inferer = DegradeBatch(paper_degradation), SuperResolutionInferer(BATCH, amp=amp)
    losses = []
    for _ in range(steps):
        scale = 1 + 3 * torch.rand((), generator=generator).item()
        batch = {"image": draw_patches(slices, generator), "scale": scale}
        image, target, _, arguments = prepare_batch(batch, "cpu")
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(inferer(image, network, **arguments), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Train both, print the mean loss of each quarter, draw the curves, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sample", default="sample", help="folder for the sample data")
    parser.add_argument("--picture", default="amp.png")
    parser.add_argument("--json", default="amp.json")
    args = parser.parse_args()
    slices = load_slices("training", args.sample)
    curves = {name: train(slices, args.steps, name == "bfloat16") for name in ("float32", "bfloat16")}
    quarter = args.steps // 4
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for name, losses in curves.items():
        means = torch.tensor(losses).unfold(0, 10, 1).mean(1)
        axes.semilogy(range(10, len(means) + 10), means.tolist(), label=name, linewidth=1)
        shown = "  ".join(f"{sum(losses[i : i + quarter]) / quarter:.5f}" for i in range(0, 4 * quarter, quarter))
        print(f"{name:<10}mean L1 loss of each quarter of the steps: {shown}")
    axes.set(xlabel="step", ylabel="L1 loss, mean of 10 steps")
    axes.legend()
    figure.savefig(args.picture, dpi=120)
    write_json(args.json, curves)


if __name__ == "__main__":
    main()
