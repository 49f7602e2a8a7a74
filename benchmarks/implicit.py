"""What implicit upscaling of volumes costs, against direct evaluation in the original's manner.

    python benchmarks/implicit.py --json implicit.json

Direct evaluation, written from the formulae of ArSSR (Wu et al. 2021), makes one HR slice after the other: the encoder
sees the whole volume for each, the features are interpolated at the slice's voxels, and all layers work at high
resolution. The package's network runs the encoder once and makes the whole volume. Both have the published sizes, the
same weights and global coordinates; their results are compared.

Times are processor time, so that a machine that does other things, too, gives the same, and are told for the whole cube
by its number of voxels: the package's decoder makes a slab of it, ``--slab`` LR voxels thick; direct evaluation makes a
few slices of the same slab, half of them before and half after that; the encoder sees a cube of at most
``--encoder-size`` LR voxels along each axis. A slice costs what the next one does, and an encoder of convolutions the
same for each voxel. Features are random: the decoder's time does not depend on them. Peak memory is that of a fresh
process beyond what it had before, on a whole cube of ``--memory-size`` HR voxels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from timing import own_peak_mib, peak_mib_in_a_process, write_json

from miassr_monai.geometry import upscaled_size
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, RDN, ResCNN, Trunk, VolumeGenerator

ENCODERS: dict[str, Callable[[], Trunk]] = {
    "RDN": lambda: RDN(3, depth=8, layers=3, growth=64),
    "ResCNN": lambda: ResCNN(3),
    "SRResNet": lambda: EDSR(3, depth=18, negative_slope=0.0),
}
WAYS = ("direct", "package")


def sample_slice(network: VolumeGenerator, features: torch.Tensor, scale: float, index: int) -> torch.Tensor:
    """An HR slice of a volume, across the first axis, all layers at high resolution."""
    first, *others = (
        (2 * torch.arange(n) + 1) / n - 1 for n in (upscaled_size(size, scale) for size in features.shape[2:])
    )
    grid = torch.stack(torch.meshgrid(first[index : index + 1], *others, indexing="ij"), -1)
    sampled = F.grid_sample(features, grid.flip(-1).unsqueeze(0), align_corners=False)
    v = torch.cat([sampled.flatten(2)[0].t(), grid.flatten(0, 2)], 1)
    h = v
    for layer in network.upscale.first:
        h = torch.relu(layer(h))
    h = v + h
    for layer in network.upscale.second[:-1]:
        h = torch.relu(layer(h))
    return torch.relu(network.upscale.second[-1](h)).view(grid.shape[1:3])


def encode(network: VolumeGenerator, image: torch.Tensor) -> torch.Tensor:
    """Features of a volume."""
    return network.features(network.trunk(image))


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def make(encoder: str) -> VolumeGenerator:
    """A network of the published size."""
    torch.manual_seed(0)
    network = VolumeGenerator(ENCODERS[encoder](), coordinates="global").eval()
    torch.nn.init.constant_(network.upscale.second[-1].bias, 0.5)
    return network


@cache
def time_encoder(encoder: str, size: int) -> float:
    """Microseconds of an encoder for each voxel of an LR cube, the less of two runs."""
    network, image = make(encoder), torch.rand(1, 1, size, size, size)
    encode(network, image[..., :12, :12, :12])
    return 1e6 * min(seconds(lambda: encode(network, image)) for _ in range(2)) / size**3


def time_decoders(size: int, scale: float, slices: int, slab: int) -> dict[str, float]:
    """Microseconds of both decoders for each HR voxel of a slab, and how much their results differ."""
    network = make("ResCNN")
    features = torch.randn(1, 128, min(slab, size), size, size)
    fine = upscaled_size(features.size(2), scale)
    network.upscale(features[..., :8, :8, :8], scale)
    chosen = [(2 * number + 1) * fine // (2 * slices) for number in range(slices)]
    direct: list[torch.Tensor] = []
    ours: list[torch.Tensor] = []
    halves = chosen[: slices // 2], chosen[slices // 2 :]
    sample_slice(network, features, scale, 0)
    first = seconds(lambda: direct.extend(sample_slice(network, features, scale, i) for i in halves[0]))
    whole = seconds(lambda: ours.append(network.upscale(features, scale)))
    second = seconds(lambda: direct.extend(sample_slice(network, features, scale, i) for i in halves[1]))
    differences = [(ours[0][0, 0, i] - one).abs().max().item() for i, one in zip(chosen, direct, strict=True)]
    return {
        "direct": 1e6 * (first + second) / slices / direct[0].numel(),
        "package": 1e6 * whole / ours[0].numel(),
        "difference": max(differences),
    }


def peak(encoder: str, size: int, scale: float, way: str) -> float:
    """Peak memory, in MiB, of one way beyond its network and input; without an ``encoder`` that of the decoder alone,
    beyond the features."""
    network = make(encoder if encoder in ENCODERS else "ResCNN")
    image = torch.rand(1, 1, size, size, size)
    network(image[..., :12, :12, :12], scale)
    if encoder in ENCODERS:
        whole = SuperResolutionInferer()
        direct = lambda: sample_slice(network, encode(network, image), scale, 0)  # noqa: E731
        return own_peak_mib(direct if way == "direct" else lambda: whole(image, network, scale=scale))
    features = torch.randn(1, 128, size, size, size)
    one = lambda: sample_slice(network, features, scale, 0)  # noqa: E731
    return own_peak_mib(one if way == "direct" else lambda: network.upscale(features, scale))


def compare(args: argparse.Namespace) -> list[dict]:
    """Seconds of every encoder with both decoders on HR cubes, and of the decoders alone."""
    rows = []
    for fine in args.sizes:
        size = round(fine / args.scale)
        decoders = time_decoders(size, args.scale, args.slices, args.slab)
        direct, package = (1e-6 * decoders[way] * fine**3 for way in WAYS)
        times = {"direct": direct, "package": package, "times": direct / package}
        rows.append({"encoder": "none", "size": fine, "encode": 0.0, **times, "difference": decoders["difference"]})
        print_row(rows[-1])
        for encoder in args.encoders:
            once = 1e-6 * time_encoder(encoder, min(size, args.encoder_size)) * size**3
            times = {"direct": once * fine + direct, "package": once + package}
            row = {"encoder": encoder, "size": fine, "encode": once, **times}
            rows.append({**row, "times": times["direct"] / times["package"], "difference": decoders["difference"]})
            print_row(rows[-1])
    return rows


def print_row(row: Mapping[str, Any]) -> None:
    """Print a row of the table."""
    values = "".join(f"{row[name]:>12.4g}" for name in ("encode", "direct", "package", "times", "difference"))
    print(f"{row['encoder']:<10}{row['size']:>5}{values}", flush=True)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 240], help="HR voxels along each axis")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--slices", type=int, default=4, help="that direct evaluation is timed on, an even number")
    parser.add_argument("--slab", type=int, default=24, help="LR voxels that decoders see, at most")
    parser.add_argument("--encoder-size", type=int, default=36, help="LR voxels along each axis, at most")
    parser.add_argument("--memory-size", type=int, default=96, help="HR voxels along each axis")
    parser.add_argument("--json", default="implicit.json")
    parser.add_argument("--peak", nargs=3, metavar=("ENCODER", "SIZE", "WAY"), help="print one peak of memory and stop")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    if args.peak:
        print(peak(args.peak[0], int(args.peak[1]), args.scale, args.peak[2]))
        return
    print("seconds   HR      encode      direct     package       times  difference")
    rows = compare(args)
    print("MiB       HR      direct     package")
    memory = []
    for encoder in ("none", *args.encoders):
        options = ("--scale", str(args.scale), "--peak", encoder, str(round(args.memory_size / args.scale)))
        peaks = {way: peak_mib_in_a_process(__file__, *options, way) for way in WAYS}
        memory.append({"encoder": encoder, "size": args.memory_size, **peaks})
        print(f"{encoder:<10}{args.memory_size:>5}" + "".join(f"{peaks[way]:>12.0f}" for way in WAYS), flush=True)
    write_json(args.json, {"scale": args.scale, "seconds": rows, "mib": memory})


if __name__ == "__main__":
    main()
