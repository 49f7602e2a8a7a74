"""What each trunk costs, with meta-upscale and as a fixed-scale network.

    python benchmarks/trunks.py --json trunks.json

A step is L1, backward and Adam on patches of 96 x 96 pixels at scale 2; a slice is upscaled by 2. All networks take
their turns, round after round; the first round is not counted. Peak memory is that of a step in a fresh process beyond
what it had before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import interleave, own_peak_mib, peak_mib_in_a_process, write_json

from miassr_monai.networks import (
    EDSR,
    MDSR,
    RDN,
    RRDB,
    SPAN,
    Generator,
    MetaSRGenerator,
    ResCNN,
    SRDenseNet,
    SRResNet,
    SubPixelGenerator,
    Trunk,
)

PATCH, SCALE = 96, 2
TRUNKS: dict[str, Callable[[tuple[int, ...]], Trunk]] = {
    "EDSR": lambda scales: EDSR(),
    "EDSR, 48 x 12": lambda scales: EDSR(width=48, depth=12),
    "SPAN": lambda scales: SPAN(),
    "ResCNN": lambda scales: ResCNN(),
    "SRResNet": lambda scales: SRResNet(),
    "RDN": lambda scales: RDN(),
    "SRDenseNet": lambda scales: SRDenseNet(),
    "MDSR": lambda scales: MDSR(scales=scales),
    "RRDB": lambda scales: RRDB(),
    "EDSR, published": lambda scales: EDSR(width=256, depth=32, negative_slope=0.0, residual_scale=0.1),
}
UPSCALERS: dict[str, Callable[[Callable[[tuple[int, ...]], Trunk]], Generator]] = {
    "meta-upscale": lambda trunk: MetaSRGenerator(trunk(())),
    "sub-pixel": lambda trunk: SubPixelGenerator(trunk((SCALE,)), scales=(SCALE,)),
}


def training(network: Generator, batch: int) -> Callable[[], None]:
    """One training step as a function."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    image, target = torch.rand(batch, 1, PATCH // SCALE, PATCH // SCALE), torch.rand(batch, 1, PATCH, PATCH)

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        F.l1_loss(network(image, float(SCALE)), target).backward()
        optimizer.step()

    return step


def upscaling(network: Generator, size: int) -> Callable[[], torch.Tensor]:
    """The upscaling of one slice as a function."""
    image = torch.rand(1, 1, size, size)

    def upscale() -> torch.Tensor:
        network.eval()
        with torch.inference_mode():
            return network(image, float(SCALE))

    return upscale


def make(name: str) -> Generator:
    """The network of a name such as ``RDN/sub-pixel``."""
    trunk, upscaler = name.split("/")
    torch.manual_seed(0)
    return UPSCALERS[upscaler](TRUNKS[trunk])


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="patches of a step")
    parser.add_argument("--size", type=int, default=256, help="pixels along each side of the slice that is upscaled")
    parser.add_argument("--trunks", nargs="+", default=list(TRUNKS), choices=TRUNKS, metavar="TRUNK")
    parser.add_argument("--json", default="trunks.json")
    parser.add_argument("--peak", metavar="NETWORK", help="print the memory of one network's step and stop")
    args = parser.parse_args()
    if args.peak:
        print(own_peak_mib(training(make(args.peak), args.batch)))
        return
    names = [f"{trunk}/{upscaler}" for trunk in args.trunks for upscaler in UPSCALERS]
    networks = {name: make(name) for name in names}
    work: dict[str, Callable[[], object]] = {}
    for name, network in networks.items():
        work[f"{name}/step"] = training(network, args.batch)
        work[f"{name}/slice"] = upscaling(network, args.size)
    times = interleave(work, args.rounds)
    figures = {}
    print(f"{'network':<32}{'parameters':>12}{'step, ms':>10}{'peak MiB':>10}{'slice, ms':>11}")
    for name, network in networks.items():
        figures[name] = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "step": times[f"{name}/step"],
            "slice": times[f"{name}/slice"],
            "peak_mib": peak_mib_in_a_process(__file__, "--peak", name, "--batch", str(args.batch)),
        }
        step, upscaled = (1e3 * times[f"{name}/{part}"]["median"] for part in ("step", "slice"))
        row = figures[name]
        print(f"{name:<32}{row['parameters']:>12,}{step:>10.0f}{row['peak_mib']:>10.0f}{upscaled:>11.0f}", flush=True)
    write_json(args.json, {"batch": args.batch, "size": args.size, "networks": figures})


if __name__ == "__main__":
    main()
