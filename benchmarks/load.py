"""Memory and open files of ``miassr upscale`` while it works on many volumes, or on one large one.

    python benchmarks/load.py --volumes 1000 --size 32 32 8 --model small
    python benchmarks/load.py --volumes 1 --size 512 512 400 --model bicubic

The volumes are noise, 16 bit. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from miassr_monai.data import find_volumes


def status(process: int, field: str) -> float:
    """A field of a process's status, such as ``VmRSS``, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def watch(command: Sequence[str], results: Path) -> list[tuple[int, float, int, float]]:
    """Run a command; each second how many results there are, memory (MiB), open files, and peak memory so far (MiB)."""
    seen = []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        try:
            memory, peak = [status(process.pid, field) for field in ("VmRSS", "VmHWM")]
            opened = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            seen.append((len(list(results.glob("*.nii.gz"))), memory, opened, peak))
        # It ended while it was looked at.
        except (OSError, StopIteration):
            pass
        time.sleep(1)
    if process.returncode:
        sys.exit(process.stderr.read() if process.stderr else "failed")
    return seen


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the volumes, super-resolve them, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=3, default=(32, 32, 8))
    parser.add_argument("--scale", default="2")
    parser.add_argument("--model", default="small")
    args = parser.parse_args(arguments)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        inputs, results = Path(folder) / "inputs", Path(folder) / "results"
        inputs.mkdir()
        for number in range(args.volumes):
            voxels = generator.integers(0, 4000, args.size, dtype=np.int16)
            nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), inputs / f"{number:04d}.nii.gz")
        command = [sys.executable, "-m", "miassr_monai.cli", "upscale", str(inputs), str(results)]
        start = time.monotonic()
        seen = watch([*command, "--scale", args.scale, "--model", args.model], results)
        made = len(find_volumes(results))
        print(
            f"{made} of {args.volumes} volumes of {' x '.join(map(str, args.size))} in {time.monotonic() - start:.0f} s"
        )
        print("results  memory, MiB  open files")
        for share in (0.05, 0.25, 0.5, 0.75, 1.0):
            at = next((row for row in seen if row[0] >= share * args.volumes), seen[-1])
            print(f"{at[0]:>7}  {at[1]:>11.0f}  {at[2]:>10}")
        print(f"peak memory {max(row[3] for row in seen):.0f} MiB, at most {max(row[2] for row in seen)} files open")


if __name__ == "__main__":
    main()
