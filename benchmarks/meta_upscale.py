"""What meta-upscaling costs: direct evaluation, this package's module, a sub-pixel head, the trunk and bicubic.

    python benchmarks/meta_upscale.py --json meta_upscale.json

Inference at two slice sizes with batch 1, and training (forward and backward) at 96 x 96 with batch 16; the work of a
row is done in turn, round after round. Peak memory is that of a fresh process beyond what it had before.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from timing import interleave, own_peak_mib, peak_mib_in_a_process, write_json

from miassr_monai.geometry import nearest_fraction
from miassr_monai.networks import EDSR, Bicubic, MetaUpscale
from miassr_monai.networks.upscalers.meta_upscale import project

SCALES = (1.1, 1.5, 2.0, 2.37, 2.5, math.pi, 4.0)
CASES = {"144x180": (1, 144, 180, False), "412x332": (1, 412, 332, False), "96x96 training": (16, 96, 96, True)}
WIDTH = 64


def direct(module: MetaUpscale, features: torch.Tensor, scale: float) -> torch.Tensor:
    """Equation 9 as it stands: a kernel predicted, and a neighbourhood gathered, for each output pixel."""
    p, q = nearest_fraction(scale)
    n, c, h, w = features.shape
    (rows, row_phase), (columns, column_phase) = (
        project(size, 0, p, q, module.doubled_offset, features.device) for size in (h, w)
    )
    grid = torch.stack(torch.meshgrid(row_phase, column_phase, indexing="ij"), -1).float()
    query = torch.cat([torch.full_like(grid[..., :1], q / p), grid], -1)
    kernels = module.kernel(F.relu(module.hidden(query))).flatten(0, 1).view(-1, module.out_channels, c * 9)
    pixels = (rows.unsqueeze(1) * w + columns).flatten()
    patches = F.unfold(features, 3, padding=1)[:, :, pixels]
    return torch.einsum("nkp,pok->nop", patches, kernels).view(n, -1, len(rows), len(columns))


def workload(name: str, case: str, scale: float) -> Callable[[], object] | None:
    """The work of one method, or None where there is no such thing."""
    torch.manual_seed(0)
    n, height, width, training = CASES[case]
    size = [int(length / scale) for length in (height, width)]
    features = torch.randn(n, WIDTH, *size, requires_grad=training)
    image = torch.rand(n, 1, *size)
    if name == "trunk":
        trunk = EDSR()
        run = lambda: trunk(image)  # noqa: E731
    elif name == "sub-pixel":
        if scale != int(scale):
            return None
        head = torch.nn.Sequential(
            torch.nn.Conv2d(WIDTH, int(scale) ** 2, 3, padding=1), torch.nn.PixelShuffle(int(scale))
        )
        run = lambda: head(features)  # noqa: E731
    elif name == "bicubic":
        run = lambda: Bicubic()(image, scale)  # noqa: E731
    else:
        module = MetaUpscale(WIDTH)
        upscale = partial(direct, module) if name == "direct" else module
        run = lambda: upscale(features, scale)  # noqa: E731

    def work() -> None:
        if training:
            output = run()
            if output.requires_grad:
                output.sum().backward()
        else:
            with torch.inference_mode():
                run()

    return work


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", default="meta_upscale.json")
    parser.add_argument("--scale", type=float, action="append", help="default: seven of them")
    parser.add_argument("--case", choices=CASES, action="append", help="default: all of them")
    parser.add_argument(
        "--peak", nargs=3, metavar=("METHOD", "CASE", "SCALE"), help="print one method's memory and stop"
    )
    args = parser.parse_args()
    if args.peak:
        name, case, scale = args.peak
        work = workload(name, case, float(scale))
        print(own_peak_mib(work))
        return
    figures = []
    header = f"{'case':<15}{'scale':>7}{'direct':>10}{'module':>10}{'subpixel':>10}{'trunk':>10}{'bicubic':>10}"
    print(f"{header}{'speed-up':>10}{'of trunk':>10}{'MiB':>8}{'direct':>8}")
    for case in args.case or CASES:
        for scale in args.scale or SCALES:
            names = ("direct", "module", "sub-pixel", "trunk", "bicubic")
            work = {name: run for name in names if (run := workload(name, case, scale)) is not None}
            times = interleave(work, args.rounds)
            peak = {n: peak_mib_in_a_process(__file__, "--peak", n, case, str(scale)) for n in ("module", "direct")}
            median = {name: time["median"] for name, time in times.items()}
            cells = "".join(f"{median[n] * 1e3:>10.2f}" if n in median else f"{'':>10}" for n in names)
            print(
                f"{case:<15}{scale:>7.4g}{cells}{median['direct'] / median['module']:>9.0f}x"
                f"{median['module'] / median['trunk']:>10.1%}{peak['module']:>8.0f}{peak['direct']:>8.0f}",
                flush=True,
            )
            figures.append({"case": case, "scale": scale, "seconds": times, "peak_mib": peak})
    write_json(args.json, figures)


if __name__ == "__main__":
    main()
