"""How much memory is left, so that what cannot fit is refused before any work, and how much is taken; imports nothing
heavy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["PeakMemory", "available_memory", "gibibytes"]

MACHINE = Path("/proc/meminfo")
PROCESS = Path("/proc/self")
# Limit and use of the group of processes, as containers and job schedulers set it: of both versions of control groups.
GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes that this process can still take without swapping; ``None`` where that cannot be told.

    It is what the machine has left, or its group of processes, or the limit on its address space, whichever is least.
    """
    return min(limits(), default=None)


def limits() -> Iterator[int]:
    """What each limit leaves, as far as there is one and the system tells."""
    with suppress(OSError, ValueError, StopIteration):
        lines = MACHINE.read_text().splitlines()
        yield int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    for limit, used in GROUPS:
        # A group without a limit says "max".
        with suppress(OSError, ValueError):
            yield max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
    with suppress(ImportError, OSError):
        import resource

        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield max(0, address_space - pages * os.sysconf("SC_PAGE_SIZE"))


def gibibytes(size: float) -> str:
    """A number of bytes, to be shown."""
    return f"{size / 2**30:.3g} GiB"


class PeakMemory:
    """Context in which is seen how much more memory is held at most than when it was entered.

    Args:
        device: whose memory: ``"cpu"`` for what of this process is resident, as Linux tells, or that of PyTorch on a
            GPU.

    Attributes:
        size: in bytes, once the context is left; ``None`` where the system does not tell.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.on_gpu = device.startswith("cuda")
        self.device = device
        self.size: int | None = None
        self.before: int | None = None

    def __enter__(self) -> PeakMemory:
        if self.on_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
            return self
        with suppress(OSError):
            # It sets the peak to what is resident now.
            (PROCESS / "clear_refs").write_text("5")
            self.before = resident("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self.before is None:
            return
        if self.on_gpu:
            import torch

            self.size = torch.cuda.max_memory_allocated(self.device) - self.before
        else:
            # Linux counts in batches, and may tell of less than before by a page or two.
            self.size = max(0, resident("VmHWM") - self.before)


def resident(field: str) -> int:
    """Bytes of this process that are resident: ``VmRSS``, now, or ``VmHWM``, at most."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
