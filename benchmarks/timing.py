"""Timing and memory of alternatives, fairly: in turn within one process, and each alone in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from miassr_monai.memory import PeakMemory


def interleave(
    work: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, dict[str, float]]:
    """Seconds (median, mean, minimum, maximum) of each piece of work, one after the other in each round.

    The first round is not counted. On a machine that does other work, too, ``time.process_time`` as ``clock`` counts
    what is done here alone.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                times[name].append(clock() - start)
    return {
        name: {
            "median": statistics.median(values),
            "mean": statistics.fmean(values),
            "min": min(values),
            "max": max(values),
        }
        for name, values in times.items()
    }


def own_peak_mib(run: Callable[[], object]) -> float:
    """Peak resident memory (MiB) of this process during one piece of work, beyond what it has before; Linux only."""
    with PeakMemory() as peak:
        run()
    if peak.size is None:
        raise OSError("this system does not tell how much memory a process held at most: run it on Linux.")
    return peak.size / 2**20


def peak_mib_in_a_process(script: str, *arguments: str) -> float:
    """What ``script arguments`` prints, run in a fresh process."""
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def write_json(path: str, content: object) -> None:
    """Write the figures, with the machine beside them."""
    Path(path).write_text(json.dumps({"machine": machine(), "figures": content}, indent=2))
    print(f"written to {path}")
