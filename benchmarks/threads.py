"""One training step alone and with a second process on the same cores, by how OpenMP's threads wait.

python benchmarks/threads.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "PyTorch's default": {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def measure(seconds: float) -> float:
    """Median milliseconds of a step within some seconds, the first two steps left out."""
    import torch

    from miassr_monai.networks import EDSR, MetaSRGenerator

    network, images = MetaSRGenerator(EDSR(width=32, depth=6)), torch.rand(16, 1, 40, 40)
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        network(images, 2.37).sum().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]) * 1e3


def run(count: int, setting: dict[str, str], seconds: float) -> float:
    """Mean over ``count`` processes at once of what each measures."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, __file__, "--measure", "--seconds", str(seconds)]
    processes = [
        subprocess.Popen(command, env={**inherited, **setting}, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    return statistics.fmean(float(process.communicate()[0]) for process in processes)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--measure", action="store_true", help="print one process's figure and stop")
    args = parser.parse_args()
    if args.measure:
        print(measure(args.seconds))
        return
    print(f"{'setting':<26}{'alone':>10}{'two at once':>14}")
    for name, setting in SETTINGS.items():
        alone, together = (run(count, setting, args.seconds) for count in (1, 2))
        print(f"{name:<26}{alone:>7.0f} ms{together:>11.0f} ms", flush=True)


if __name__ == "__main__":
    main()
