"""What it gains that a border of one value, such as the air around a head, is upscaled only once.

    OMP_NUM_THREADS=1 python benchmarks/constant_border.py skull_stripped.nii.gz --model small
    OMP_NUM_THREADS=1 python benchmarks/constant_border.py skull_stripped.nii.gz --model small --size 288 288 181

Seconds of processor time that the network takes for the volume, with and without, and the largest difference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from monai.transforms import SpatialPad

from miassr_monai.data import load_volume
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.prediction import load_model
from miassr_monai.transforms import ScaleToUnitRange


def timed(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """A result and the processor time that it took."""
    start = time.process_time()
    return run(), time.process_time() - start


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--model", help="bundle folder, weights, or 'small'; default: the built-in bundle")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--size", type=int, nargs=3, help="pad the volume to this field of view, with air")
    args = parser.parse_args()
    network, inferer = load_model(args.model, "cpu").network, SuperResolutionInferer(1)
    volume = ScaleToUnitRange()(load_volume(args.volume))
    if args.size:
        volume = SpatialPad(args.size)(volume)
    volume = volume.as_tensor().unsqueeze(0)
    network(volume[..., :16, :16, 0], args.scale)
    # A function has no halo, and so every slice goes through it whole.
    whole, without = timed(lambda: inferer(volume, lambda x, scale: network(x, scale), scale=args.scale))
    fine, seconds = timed(lambda: inferer(volume, network, scale=args.scale))
    size = " x ".join(map(str, volume.shape[2:]))
    print(f"{size}: {without:.1f} s whole, {seconds:.1f} s, {without / seconds:.2f} times as fast, ", end="")
    print(f"largest difference {(fine - whole).abs().max().item():.1g}")


if __name__ == "__main__":
    main()
