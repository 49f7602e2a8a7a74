"""Does a trunk begin to learn from scratch? L1 of the first steps of training, beside that of bicubic interpolation.

    python benchmarks/trunk_starts.py first.nii.gz second.nii.gz --trunk SPAN --form scaled

Given are volumes of 8 bits. A step is Adam at 4e-4 on two patches of 48 x 48 at scale 1.5, 2 or 3, by the degradation
`paper`, with the gradient's norm limited to 0.1, as in the plan `trunks` of `miassr compare`. The forms of a network:
as `published`; its features `scaled` by RRDB's 1.2^-23 or SPAN's 1/255; or added to `bicubic` interpolation.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import nibabel
import torch

from miassr_monai.degradations import paper_degradation
from miassr_monai.networks import EDSR, RRDB, SPAN, MetaSRGenerator, Trunk
from miassr_monai.resampling import bicubic_upscale

SCALES = (1.5, 2.0, 3.0)
SIZE, BATCH = 48, 2
# Patches that are darker are background.
DARK = 0.1
# Slices at either end of a volume that are left out.
FIRST, LAST = 40, 30
SHOWN = 20


def make_trunk(name: str, scaled: bool) -> Trunk:
    """Small ones, but for the depths that their features grow with."""
    if name == "SPAN":
        return SPAN(output_scale=1 / 255 if scaled else 1.0)
    if name == "RRDB":
        return RRDB(width=24, growth=12, output_scale=1.2**-23 if scaled else 1.0)
    return EDSR(width=32, depth=6)


def draw(volumes: Sequence[torch.Tensor], generator: torch.Generator) -> tuple[torch.Tensor, float]:
    """Axial patches ``(BATCH, 1, SIZE, SIZE)`` with values in [0, 1], and a scale."""

    def below(end: int) -> int:
        return int(torch.randint(end, (), generator=generator))

    patches: list[torch.Tensor] = []
    while len(patches) < BATCH:
        volume = volumes[below(len(volumes))]
        z = FIRST + below(volume.shape[2] - LAST - FIRST)
        x, y = (below(size - SIZE) for size in volume.shape[:2])
        patch = volume[x : x + SIZE, y : y + SIZE, z]
        if patch.mean() > DARK:
            patches.append(patch)
    return torch.stack(patches).unsqueeze(1), SCALES[below(len(SCALES))]


def main() -> None:
    """Train, and print the mean L1 of each twenty steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+")
    parser.add_argument("--trunk", choices=("EDSR", "RRDB", "SPAN"), required=True)
    parser.add_argument("--form", choices=("published", "scaled", "bicubic"), required=True)
    parser.add_argument("--steps", type=int, default=120)
    args = parser.parse_args()
    volumes = [torch.as_tensor(nibabel.load(path).get_fdata(), dtype=torch.float32) / 255 for path in args.volumes]
    torch.manual_seed(0)
    skip = "bicubic" if args.form == "bicubic" else None
    network = MetaSRGenerator(make_trunk(args.trunk, args.form == "scaled"), projection="center", skip=skip)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-4)
    generator = torch.Generator().manual_seed(1)
    losses: list[float] = []
    bicubic: list[float] = []
    for step in range(1, args.steps + 1):
        patches, scale = draw(volumes, generator)
        image = paper_degradation(patches, scale)
        result = network(image, scale)
        truth = patches[..., : result.size(-2), : result.size(-1)]
        loss = (result - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
        bicubic.append((bicubic_upscale(image, scale) - truth).abs().mean().item())
        if step == 1 or step % SHOWN == 0:
            means = [statistics.mean(values[-SHOWN:]) for values in (losses, bicubic)]
            print(f"{args.trunk}, {args.form}, step {step}: L1 {means[0]:.4f}, bicubic {means[1]:.4f}", flush=True)


if __name__ == "__main__":
    main()
