"""What back-projection does to the agreement with the input and to the quality.

    python benchmarks/consistency.py --dataset_dir /path/to/data

The middle slices of each volume are degraded, super-resolved with and without ``consistency="project"``, and compared
with the truth: means over volumes of the PSNR (dB, data range 1) and of the consistency (dB).
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings

import torch

from miassr_monai.data import load_datalist, load_volume
from miassr_monai.degradations import named_degradations
from miassr_monai.prediction import Predictor
from miassr_monai.transforms import Degrade, ScaleToUnitRange

SCALES = (2.0, 3.0, 4.0)
SLICES = 4


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--section", default="validation")
    parser.add_argument("--degradation", nargs="+", default=["kspace", "paper", "psf"], help="such as psf:fwhm=0.8")
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    volumes = [ScaleToUnitRange()(load_volume(item["image"])) for item in load_datalist(args.dataset_dir, args.section)]
    predictors = {mode: Predictor(args.model, consistency=mode, slice_axis=2) for mode in ("report", "project")}
    print(f"{'degradation':<12}{'scale':>6}{'PSNR':>9}{'projected':>11}{'consistency':>13}{'projected':>11}")
    for name, degradation in named_degradations(args.degradation).items():
        for scale in SCALES:
            quality, agreement = ({mode: [] for mode in predictors} for _ in range(2))
            for volume in volumes:
                middle = (volume.shape[-1] - SLICES) // 2
                truth = volume[..., middle : middle + SLICES]
                coarse = Degrade(degradation, scale)(truth)
                for mode, predictor in predictors.items():
                    predictor.degradation = degradation.noiseless
                    fine = predictor(coarse, scale=scale).as_tensor()
                    wanted = truth.as_tensor()[:, : fine.size(1), : fine.size(2)]
                    quality[mode].append(-10 * math.log10(torch.mean((fine - wanted) ** 2).item()))
                    agreement[mode].append(predictor.report["consistency"]["psnr_db"])
            means = [statistics.fmean(values[mode]) for values in (quality, agreement) for mode in predictors]
            print(
                f"{name:<12}{scale:>6g}{means[0]:>9.2f}{means[1]:>11.2f}{means[2]:>13.1f}{means[3]:>11.1f}", flush=True
            )


if __name__ == "__main__":
    main()
