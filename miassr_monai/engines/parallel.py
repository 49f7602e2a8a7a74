"""Networks that are trained in several processes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Parallel", "bare"]


class Parallel(DistributedDataParallel):
    """``DistributedDataParallel`` that has the attributes of its network, such as ``spatial_dims``, too.

    Buffers, such as those of batch normalisation, stay those of each process, and the first one's are saved.

    Args:
        network: the network, which is on its device.
    """

    def __init__(self, network: nn.Module) -> None:
        device = next(network.parameters()).device
        super().__init__(network, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def bare(network: nn.Module) -> nn.Module:
    """The network without what shares it among processes, for passes whose gradients its parameters do not get."""
    return network.module if isinstance(network, DistributedDataParallel) else network
