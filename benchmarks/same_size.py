"""Restoration at the same size by a trunk at full resolution, and by one behind ``SpaceToDepth``.

    python benchmarks/same_size.py --dataset_dir series --steps 300

Each network learns to restore CT from a quarter of the projections on the slices of the section ``training``: for the
same number of steps, and for the processor time that these take the first network. Steps of all are timed in turn
before, and so is one slice of 512 x 512 pixels. PSNR is the mean over the slices of the section ``validation``. All
times are the processor's, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence

import torch
from monai.transforms import Compose
from timing import interleave, write_json
from torch.nn import functional

from miassr_monai.data import LoadVolumed, load_datalist
from miassr_monai.networks import EDSR, Generator, MetaSRGenerator, SpaceToDepth, Trunk
from miassr_monai.transforms import DegradeWholed, ScaleToUnitRanged

DEGRADATION = "sparse_view_ct:undersampling=4"
PATCH, BATCH, SIZE = 64, 4, 512
TRUNKS: dict[str, Callable[[], Trunk]] = {
    "EDSR, 32 x 6": lambda: EDSR(width=32, depth=6),
    "space to depth, 32 x 6": lambda: SpaceToDepth(EDSR(2, 4, width=32, depth=6)),
    "EDSR, 16 x 6": lambda: EDSR(width=16, depth=6),
}
Pair = tuple[torch.Tensor, torch.Tensor]


def load(dataset_dir: str, section: str) -> list[Pair]:
    """Each slice degraded and as it is, ``(1, 1, h, w)``."""
    read = Compose(
        [
            LoadVolumed("image", spatial_dims=3),
            ScaleToUnitRanged("image", lower=-1000.0, upper=1000.0, window=True),
            DegradeWholed("image", degradation=DEGRADATION),
        ]
    )
    pairs = []
    for entry in load_datalist(dataset_dir, section):
        volume = read(entry)
        images = (volume[key].as_tensor().movedim(-1, 0).unsqueeze(1) for key in ("image", "label"))
        pairs += list(zip(*images, strict=True))
    return pairs


def make(name: str) -> Generator:
    """The network of a name."""
    torch.manual_seed(0)
    return MetaSRGenerator(TRUNKS[name](), projection="center", skip="bicubic")


def stepping(network: Generator, pairs: Sequence[Pair], steps: int, rate: float) -> Callable[[], None]:
    """One training step as a function: L1 on random patches, the same for all networks."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.03, cycle_momentum=False)
    generator = torch.Generator().manual_seed(1)

    def draw(end: int) -> int:
        return int(torch.randint(end, (1,), generator=generator))

    def step() -> None:
        patches = []
        for _ in range(BATCH):
            pair = torch.stack(pairs[draw(len(pairs))])
            row, column = (draw(n - PATCH + 1) for n in pair.shape[-2:])
            patches.append(pair[..., row : row + PATCH, column : column + PATCH])
        images, targets = torch.cat(patches, 1)
        optimizer.zero_grad(set_to_none=True)
        functional.l1_loss(network(images, 1.0), targets).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.02)
        optimizer.step()
        schedule.step()

    return step


@torch.inference_mode()
def psnr(network: Callable[[torch.Tensor], torch.Tensor], pairs: Sequence[Pair]) -> float:
    """Mean over slices."""
    return sum(-10 * math.log10((network(x) - y).square().mean()) for x, y in pairs) / len(pairs)


@torch.inference_mode()
def restore(network: Generator, image: torch.Tensor) -> torch.Tensor:
    """One slice restored."""
    return network(image, 1.0)


def train(name: str, pairs: Sequence[Pair], steps: int, rate: float) -> tuple[Generator, float]:
    """A network after its training, and the processor time of it."""
    network = make(name)
    step, start = stepping(network, pairs, steps, rate), time.process_time()
    for _ in range(steps):
        step()
    return network.eval(), time.process_time() - start


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--json", default="same_size.json")
    args = parser.parse_args()
    training, validation = (load(args.dataset_dir, section) for section in ("training", "validation"))
    print(f"{len(validation)} slices, filtered back-projection: {psnr(lambda x: x, validation):.2f} dB", flush=True)
    networks, image = {name: make(name) for name in TRUNKS}, torch.rand(1, 1, SIZE, SIZE)
    work: dict[str, Callable[[], object]] = {}
    for name, network in networks.items():
        work[f"{name}/step"] = stepping(network, training, 1000, args.rate)
        work[f"{name}/slice"] = lambda network=network: restore(network, image)
    times = {name: value["min"] for name, value in interleave(work, args.rounds, time.process_time).items()}
    first = times[f"{next(iter(TRUNKS))}/step"]
    print(f"{'network':<26}{'parameters':>11}{'slice, ms':>11}{'step, ms':>10}{'steps':>7}{'cpu s':>7}{'PSNR':>7}")
    rows = []
    for name, network in networks.items():
        for steps in sorted({args.steps, round(args.steps * first / times[f"{name}/step"])}):
            trained, seconds = train(name, training, steps, args.rate)
            row = {
                "network": name,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "slice_ms": 1e3 * times[f"{name}/slice"],
                "step_ms": 1e3 * times[f"{name}/step"],
                "steps": steps,
                "cpu_s": seconds,
                "psnr": psnr(lambda x, trained=trained: restore(trained, x), validation),
            }
            rows.append(row)
            print(
                f"{name:<26}{row['parameters']:>11,}{row['slice_ms']:>11.0f}{row['step_ms']:>10.0f}{steps:>7}"
                f"{seconds:>7.0f}{row['psnr']:>7.2f}",
                flush=True,
            )
    write_json(args.json, rows)


if __name__ == "__main__":
    main()
