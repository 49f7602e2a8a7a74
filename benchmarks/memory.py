"""Peak memory of the whole generator on one slice of 512 x 512, beyond the model and the input.

python benchmarks/memory.py
"""

from __future__ import annotations

import argparse

import torch
from timing import own_peak_mib, peak_mib_in_a_process

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import EDSR, MetaSRGenerator

SIZE = 512
SCALES = (2.0, 3.97, 4.0)
TILES = (None, 256, 128)


def main() -> None:
    """Measure each case in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", nargs=2, metavar=("SCALE", "TILE"), help="print the memory of one case and stop")
    args = parser.parse_args()
    if args.peak:
        network, image = MetaSRGenerator(EDSR(), skip="bicubic").eval(), torch.rand(1, 1, SIZE, SIZE)
        inferer = SuperResolutionInferer(tile_size=int(args.peak[1]) or None)
        with torch.inference_mode():
            network(image[..., :16, :16], 2.0)
            print(own_peak_mib(lambda: inferer(image, network, scale=float(args.peak[0]))))
        return
    print(f"{'scale':>6}{'output':>14}" + "".join(f"{f'tiles of {t}' if t else 'whole':>14}" for t in TILES))
    for scale in SCALES:
        side = int(SIZE * scale)
        peaks = [peak_mib_in_a_process(__file__, "--peak", str(scale), str(tile or 0)) for tile in TILES]
        cells = "".join(f"{f'{p:.0f} MiB':>14}" for p in peaks)
        print(f"{scale:>6}{f'{side} x {side}':>14}{cells}", flush=True)


if __name__ == "__main__":
    main()
