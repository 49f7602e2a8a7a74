"""What implicit upscaling of volumes costs, against direct evaluation in the original's manner.

    python benchmarks/implicit.py --sizes 96 144 --json implicit.json

Direct evaluation, written from the formulae of ArSSR (Wu et al. 2021), makes one HR slice after the other: the encoder
sees the whole volume for each, the features are interpolated at the slice's voxels, and all layers work at high
resolution. It is timed on a few slices, spread over the volume, and told for all of them. The package's network makes
the whole volume. Both have the published sizes, the same weights and global coordinates; their results are compared.
``decoder`` is both without the encoder. Peak memory is that of a fresh process beyond what it had before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import own_peak_mib, peak_mib_in_a_process, write_json

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, RDN, ResCNN, Trunk, VolumeGenerator

ENCODERS: dict[str, Callable[[], Trunk]] = {
    "RDN": lambda: RDN(3, depth=8, layers=3, growth=64),
    "ResCNN": lambda: ResCNN(3),
    "SRResNet": lambda: EDSR(3, depth=18, negative_slope=0.0),
}
COLUMNS = ("direct whole", "whole", "times faster", "direct decoder", "decoder", "decoder's times", "difference")
# Direct evaluation, the package's without tiles, and in tiles of 64 LR voxels along each axis.
WAYS = ("direct", "whole", "512")


def sample_slice(network: VolumeGenerator, features: torch.Tensor, fine: int, index: int) -> torch.Tensor:
    """An HR slice ``(fine, fine)`` of a cube, across the first axis, all layers at high resolution."""
    axis = (2 * torch.arange(fine) + 1) / fine - 1
    grid = torch.stack(torch.meshgrid(axis[index : index + 1], axis, axis, indexing="ij"), -1)
    sampled = F.grid_sample(features, grid.flip(-1).unsqueeze(0), align_corners=False)
    v = torch.cat([sampled.flatten(2)[0].t(), grid.flatten(0, 2)], 1)
    h = v
    for layer in network.upscale.first:
        h = torch.relu(layer(h))
    h = v + h
    for layer in network.upscale.second[:-1]:
        h = torch.relu(layer(h))
    return torch.relu(network.upscale.second[-1](h)).view(fine, fine)


def encode(network: VolumeGenerator, image: torch.Tensor) -> torch.Tensor:
    """Features of a volume."""
    return network.features(network.trunk(image))


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def make(encoder: str, size: int) -> tuple[VolumeGenerator, torch.Tensor]:
    """A network of the published size, and a cube."""
    torch.manual_seed(0)
    network = VolumeGenerator(ENCODERS[encoder](), coordinates="global").eval()
    torch.nn.init.constant_(network.upscale.second[-1].bias, 0.5)
    return network, torch.rand(1, 1, size, size, size)


def measure(encoder: str, size: int, scale: float, slices: int) -> dict[str, float]:
    """Seconds of the encoder, of direct evaluation and of the package's network, and how much the results differ."""
    network, image = make(encoder, size)
    fine = int(size * scale)
    inferer = SuperResolutionInferer()
    with torch.inference_mode():
        network(image[..., :12, :12, :12], scale, whole_size=(12, 12, 12))
        found: dict[str, float] = {"encoder": seconds(lambda: encode(network, image))}
        features = encode(network, image)
        chosen = [(2 * number + 1) * fine // (2 * slices) for number in range(slices)]
        direct: list[torch.Tensor] = []
        found["direct decoder"] = (
            seconds(lambda: direct.extend(sample_slice(network, features, fine, i) for i in chosen)) * fine / slices
        )
        ours: list[torch.Tensor] = []
        found["decoder"] = seconds(lambda: ours.append(network.upscale(features, scale)))
        found["whole"] = seconds(lambda: inferer(image, network, scale=scale))
        found["direct whole"] = found["encoder"] * fine + found["direct decoder"]
        found["difference"] = max(
            (ours[0][0, 0, i] - one).abs().max().item() for i, one in zip(chosen, direct, strict=True)
        )
    return found


def peak(encoder: str, size: int, scale: float, way: str) -> float:
    """Peak memory, in MiB, of one way beyond its network and input."""
    network, image = make(encoder, size)
    fine = int(size * scale)
    with torch.inference_mode():
        network(image[..., :12, :12, :12], scale, whole_size=(12, 12, 12))
        if way == "direct":
            return own_peak_mib(lambda: sample_slice(network, encode(network, image), fine, 0))
        inferer = SuperResolutionInferer(tile_size=None if way == "whole" else int(way))
        return own_peak_mib(lambda: inferer(image, network, scale=scale))


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 144, 240], help="HR voxels along each axis")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--slices", type=int, default=4, help="that direct evaluation is timed on")
    parser.add_argument("--json", default="implicit.json")
    parser.add_argument("--peak", nargs=3, metavar=("ENCODER", "SIZE", "WAY"), help="print one peak of memory and stop")
    args = parser.parse_args()
    if args.peak:
        print(peak(args.peak[0], int(args.peak[1]), args.scale, args.peak[2]))
        return
    figures = []
    columns = (*COLUMNS, *(f"MiB {way}" for way in WAYS))
    print(f"{'encoder':<10}{'HR':>5}" + "".join(f"{column:>16}" for column in columns))
    for encoder in args.encoders:
        for fine in args.sizes:
            size = round(fine / args.scale)
            found = measure(encoder, size, args.scale, args.slices)
            found["times faster"] = found["direct whole"] / found["whole"]
            found["decoder's times"] = found["direct decoder"] / found["decoder"]
            for way in WAYS:
                options = ("--peak", encoder, str(size), way, "--scale", str(args.scale))
                found[f"MiB {way}"] = peak_mib_in_a_process(__file__, *options)
            figures.append({"encoder": encoder, "size": fine, **found})
            print(f"{encoder:<10}{fine:>5}" + "".join(f"{found[column]:>16.4g}" for column in columns), flush=True)
    write_json(args.json, {"scale": args.scale, "rows": figures})


if __name__ == "__main__":
    main()
