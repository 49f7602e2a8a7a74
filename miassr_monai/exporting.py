"""Whether torch.export is at work, to which the sizes of images may have no values."""

from __future__ import annotations

import torch

__all__ = ["exporting"]


@torch.jit.unused
def is_exporting() -> bool:
    """PyTorch's own answer, which TorchScript cannot give."""
    return torch.compiler.is_exporting()


def exporting() -> bool:
    """Whether torch.export traces what calls this: loops whose number of turns depends on sizes are then none.

    TorchScript can run it.
    """
    return False if torch.jit.is_scripting() else is_exporting()
