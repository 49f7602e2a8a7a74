"""What trunks and generators have in common: they can say how they were made."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Generator", "Network", "Trunk"]


class Network(nn.Module):
    """A network of this package that knows its definition: the name of its class and the arguments that it got.

    Arguments have to be what JSON holds, or other networks of this kind.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the constructor note its arguments."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            # Setting it by name would be a method that is redefined, to who checks types.
            setattr(cls, "__init__", noting_arguments(cls.__init__))  # noqa: B010

    def definition(self) -> dict[str, Any]:
        """Name of the class under ``network``, and its arguments by name; an argument that is a network likewise."""
        return self.__dict__["_definition"]


def noting_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor of a :class:`Network` that first notes its arguments.

    Those left to their defaults are noted too: a default may become another one day.
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def noting(self: Network, *args: Any, **kwargs: Any) -> None:
        # A base class's constructor, called by this one, has nothing to add.
        if "_definition" not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            arguments = list(bound.arguments.items())[1:]
            described = {k: v.definition() if isinstance(v, Network) else v for k, v in arguments}
            # Not declared in the class: TorchScript wants a type that it knows for what is.
            self.__dict__["_definition"] = {"network": type(self).__name__, **described}
        init(self, *args, **kwargs)

    return noting


class Trunk(Network):
    """Features of an image at the resolution of the image: ``(N, in_channels, *size)`` to ``(N, out_channels, *size)``.

    Subclasses, but for those that leave it to another trunk, have a convolution ``head`` that looks at the image first.

    Attributes:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: channels of the image.
        out_channels: channels of the features.
        halo: how many pixels around its own a feature depends on.
        batch_norm: whether it normalises over the batch, and a sub-pixel tail is to do so, too.
        scales: whole scales that it has layers of its own for; its ``forward`` then takes one of them after the image.
        cell_size: pixels along each axis that it takes together; above 1, its ``forward`` takes the ``origin`` of a
            part of an image after it.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        halo: int,
        batch_norm: bool = False,
        scales: Sequence[int] = (),
        cell_size: int = 1,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (slices) or 3 (volumes), got {spatial_dims}.")
        if min(in_channels, out_channels) < 1:
            raise ValueError(f"a trunk needs at least one channel, got {in_channels} and {out_channels}.")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.halo = halo
        self.batch_norm = batch_norm
        self.scales = tuple(scales)
        self.cell_size = cell_size

    def channels_last(self) -> None:
        """Lay the channels of all weights together: convolutions are faster so, in training and inference."""
        self.to(memory_format=torch.channels_last if self.spatial_dims == 2 else torch.channels_last_3d)

    def see(self, x: torch.Tensor) -> torch.Tensor:
        """First features, in float32 under autocast, too.

        In bfloat16 an image near 1 has steps of 1/256, which is more than what a blur leaves of the finest details.
        """
        if torch.jit.is_scripting():
            return self.head(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.to(next(self.head.parameters()).dtype))


class Generator(Network):
    """A trunk and what makes an image of its features, with the definition saved beside the weights.

    Attributes:
        trunk: the trunk.
        spatial_dims: 2 for a network on slices ``(N, C, h, w)``, 3 for one on volumes ``(N, C, h, w, d)``.
        in_channels: channels of the input and of the output.
        anisotropic: whether axes may have different scales.
        max_scale: largest scale that it can do.
        halo: how many LR pixels around its own an output depends on.
        needs_whole_size: whether an output depends on its place in the whole, too; called with a part, the network is
            then told the ``whole_size``.
        makes_wanted: whether it can be told which part of its output is ``wanted``, and spares itself the rest.
    """

    def __init__(self, trunk: Trunk, *, halo: int, anisotropic: bool = False, max_scale: float = float("inf")) -> None:
        super().__init__()
        self.trunk = trunk
        self.spatial_dims = trunk.spatial_dims
        self.in_channels = trunk.in_channels
        self.anisotropic = anisotropic
        self.max_scale = max_scale
        self.halo = halo
        self.needs_whole_size = False
        self.makes_wanted = False

    def get_extra_state(self) -> torch.Tensor:
        """The definition as JSON in bytes, which ``torch.load(weights_only=True)`` reads."""
        return torch.frombuffer(bytearray(json.dumps(self.definition()).encode()), dtype=torch.uint8).clone()

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Refuse the weights of another network, whose shapes may fit all the same.

        Raises:
            ValueError: when the definitions differ.
        """
        # Whoever averages weights, as in federated learning, makes floating-point numbers of these bytes.
        saved = flatten(read_definition(state.round().to(torch.uint8) if state.is_floating_point() else state))
        own = flatten(json.loads(json.dumps(self.definition())))
        different = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
        if different:
            name = different[0]
            raise ValueError(
                f"these weights were trained with {name}={saved.get(name)!r}, but the network was built with "
                f"{name}={own.get(name)!r}: set it in the network's definition."
            )


def flatten(definition: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a definition, those of networks in it by names such as ``trunk.width``."""
    flat: dict[str, Any] = {}
    for name, value in definition.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def read_definition(state: torch.Tensor) -> dict[str, Any]:
    """The definition that :meth:`Generator.get_extra_state` made.

    Raises:
        ValueError: when it is none.
    """
    if not (isinstance(state, torch.Tensor) and state.dtype == torch.uint8 and state.ndim == 1):
        raise ValueError("these weights do not say which network they belong to.")
    definition = json.loads(bytes(state.cpu().tolist()))
    if not isinstance(definition, dict):
        raise ValueError("these weights do not say which network they belong to.")
    return definition
