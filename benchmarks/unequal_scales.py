"""How good the model is where the two axes of a slice have different scales, which the evaluation does not cover.

    python benchmarks/unequal_scales.py --dataset_dir /path/to/data

The middle slices of each volume are degraded and super-resolved: means over volumes of the PSNR (dB, data range 1).
"""

from __future__ import annotations

import argparse
import statistics

import torch
from monai.metrics import PSNRMetric

from miassr_monai.data import load_datalist, load_volume
from miassr_monai.degradations import named_degradations
from miassr_monai.networks import Bicubic
from miassr_monai.prediction import load_model
from miassr_monai.transforms import ScaleToUnitRange

SCALES = ((1.0, 2.0), (2.0, 1.0), (1.5, 3.0), (3.0, 1.5), (2.0, 4.0), (4.0, 2.0))
SLICES = 4


@torch.no_grad()
def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--section", default="validation")
    parser.add_argument("--degradation", nargs="+", default=["kspace", "paper", "psf"], help="such as psf:fwhm=0.8")
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    args = parser.parse_args()
    degradations = named_degradations(args.degradation)
    networks = {"bicubic": Bicubic(), "model": load_model(args.model, "cpu").network}
    psnr = PSNRMetric(max_val=1.0)
    truths = []
    for item in load_datalist(args.dataset_dir, args.section):
        volume = ScaleToUnitRange()(load_volume(item["image"])).as_tensor()
        middle = (volume.shape[-1] - SLICES) // 2
        truths.append(volume[..., middle : middle + SLICES].movedim(-1, 0))
    print(f"{'scales':<12}" + "".join(f"{f'{name}: {n}':>18}" for name in degradations for n in networks))
    for scale in SCALES:
        cells = []
        for degradation in degradations.values():
            coarse = [degradation(truth, scale) for truth in truths]
            for network in networks.values():
                fine = [network(image, scale=scale).clamp(0, 1) for image in coarse]
                wanted = [truth[..., : f.size(2), : f.size(3)] for truth, f in zip(truths, fine, strict=True)]
                cells.append(statistics.fmean(psnr(f, w).mean().item() for f, w in zip(fine, wanted, strict=True)))
        print(f"{f'{scale[0]:g} x {scale[1]:g}':<12}" + "".join(f"{cell:>18.2f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
