"""Inception-v3 features for the Fréchet inception distance."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["InceptionFeatures"]

WEIGHTS_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)


class Layer(NamedTuple):
    """Output channels, kernel and stride of a convolution."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


# A list of layers is a fork: they lie side by side, and their outputs are concatenated.
Branches = Mapping[str, Sequence[Layer | list[Layer]]]

THREE, FIVE, ROW, COLUMN = (3, 3), (5, 5), (1, 7), (7, 1)
DOUBLE = (Layer(64), Layer(96, THREE), Layer(96, THREE))
FORK = [Layer(384, (1, 3)), Layer(384, (3, 1))]

BRANCHES_A = {"branch1x1": (Layer(64),), "branch5x5": (Layer(48), Layer(64, FIVE)), "branch3x3dbl": DOUBLE}
BRANCHES_B = {"branch3x3": (Layer(384, THREE, 2),), "branch3x3dbl": (*DOUBLE[:2], Layer(96, THREE, 2))}
BRANCHES_D = {
    "branch3x3": (Layer(192), Layer(320, THREE, 2)),
    "branch7x7x3": (Layer(192), Layer(192, ROW), Layer(192, COLUMN), Layer(192, THREE, 2)),
}
BRANCHES_E = {
    "branch1x1": (Layer(320),),
    "branch3x3": (Layer(384), FORK),
    "branch3x3dbl": (Layer(448), Layer(384, THREE), FORK),
}


def branches_c(channels: int) -> Branches:
    """Branches of a block with 7 x 7 convolutions, each taken apart into a row and a column."""
    row, column = Layer(channels, ROW), Layer(channels, COLUMN)
    return {
        "branch1x1": (Layer(192),),
        "branch7x7": (Layer(channels), row, Layer(192, COLUMN)),
        "branch7x7dbl": (Layer(channels), column, row, column, Layer(192, ROW)),
    }


# TensorFlow, in which FID's network was made, leaves the padding out of an average.
AVERAGE = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
MAXIMUM = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
REDUCE = partial(F.max_pool2d, kernel_size=3, stride=2)

# Name, branches, pool, and channels of the convolution after the pool.
BLOCKS: tuple[tuple[str, Branches, Callable, int | None], ...] = (
    ("Mixed_5b", BRANCHES_A, AVERAGE, 32),
    ("Mixed_5c", BRANCHES_A, AVERAGE, 64),
    ("Mixed_5d", BRANCHES_A, AVERAGE, 64),
    ("Mixed_6a", BRANCHES_B, REDUCE, None),
    ("Mixed_6b", branches_c(128), AVERAGE, 192),
    ("Mixed_6c", branches_c(160), AVERAGE, 192),
    ("Mixed_6d", branches_c(160), AVERAGE, 192),
    ("Mixed_6e", branches_c(192), AVERAGE, 192),
    ("Mixed_7a", BRANCHES_D, REDUCE, None),
    ("Mixed_7b", BRANCHES_E, AVERAGE, 192),
    ("Mixed_7c", BRANCHES_E, MAXIMUM, 192),
)


class ConvolutionUnit(nn.Module):
    """Convolution, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, layer: Layer, padding: str = "valid") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, *layer, padding, bias=False)
        self.bn = nn.BatchNorm2d(layer.channels, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations ``(N, C_out, H', W')`` of ``x`` ``(N, C, H, W)``."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionBlock(nn.Module):
    """Branches of convolutions and one that pools, side by side; the arguments are those of the table ``BLOCKS``."""

    def __init__(self, in_channels: int, branches: Branches, pool: Callable, pool_channels: int | None) -> None:
        super().__init__()
        self.paths: list[list[list[str]]] = []
        self.pool = pool
        self.out_channels = pool_channels or in_channels
        for branch, layers in branches.items():
            channels, path = in_channels, []
            for number, step in enumerate(layers, start=1):
                stem = f"{branch}_{number}" if len(layers) > 1 else branch
                fork = {f"{stem}a": step[0], f"{stem}b": step[1]} if isinstance(step, list) else {stem: step}
                for name, layer in fork.items():
                    self.add_module(name, ConvolutionUnit(channels, layer, "same" if layer.stride == 1 else "valid"))
                channels = sum(layer.channels for layer in fork.values())
                path.append(list(fork))
            self.paths.append(path)
            self.out_channels += channels
        self.branch_pool = ConvolutionUnit(in_channels, Layer(pool_channels)) if pool_channels else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations ``(N, C_out, H', W')`` of ``x`` ``(N, C, H, W)``."""
        outputs = []
        for path in self.paths:
            y = x
            for names in path:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            outputs.append(y)
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)


def load_inception_weights(source: str | os.PathLike) -> dict[str, torch.Tensor]:
    """State dictionary of FID's Inception-v3, from a file or a URL.

    Raises:
        FileNotFoundError: when ``source`` is a path at which there is no file.
        RuntimeError: when ``source`` is a URL and the download fails.
    """
    source = os.fspath(source)
    if source.startswith(("http://", "https://")):
        try:
            return torch.hub.load_state_dict_from_url(source, map_location="cpu", check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:
            raise RuntimeError(
                f"FID needs weights of Inception-v3, and {source} could not be downloaded ({error}): download that "
                "file elsewhere and give its path (weights_path)."
            ) from error
    if not os.path.isfile(source):
        raise FileNotFoundError(f"there are no Inception-v3 weights at {source}: give the path of {WEIGHTS_URL}.")
    return torch.load(source, map_location="cpu", weights_only=True)


class InceptionFeatures(nn.Module):
    """Frozen features of the Inception-v3 that FID is defined with (Heusel et al., NeurIPS 2017).

    It is Szegedy et al.'s network (CVPR 2016) up to its last pool, with TensorFlow's weights of December 2015. Against
    torchvision's, averages leave out the padding and the last block takes the maximum where that takes the average.
    The state dictionary has torchvision's keys; torchvision itself is not needed.

    Args:
        weights_path: path or http(s) URL of ``pt_inception-2015-12-05-6726825d.pth``, which pytorch-fid publishes. A
            URL is downloaded once, through ``torch.hub``. Tensors that the features do not need are left out.

    Raises:
        FileNotFoundError: when ``weights_path`` is a path at which there is no file.
        RuntimeError: when ``weights_path`` is a URL and the download fails.
        ValueError: when the file lacks a tensor of the network.
    """

    def __init__(self, weights_path: str | os.PathLike = WEIGHTS_URL) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvolutionUnit(3, Layer(32, THREE, 2))
        self.Conv2d_2a_3x3 = ConvolutionUnit(32, Layer(32, THREE))
        self.Conv2d_2b_3x3 = ConvolutionUnit(32, Layer(64, THREE), "same")
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvolutionUnit(64, Layer(80))
        self.Conv2d_4a_3x3 = ConvolutionUnit(80, Layer(192, THREE))
        self.maxpool2 = nn.MaxPool2d(3, 2)
        channels = 192
        for name, *options in BLOCKS:
            self.add_module(name, InceptionBlock(channels, *options))
            channels = self.get_submodule(name).out_channels
        weights = load_inception_weights(weights_path)
        # Older files have no num_batches_tracked, which evaluation does not need and load_state_dict fills in.
        missing = [key for key in self.state_dict() if key not in weights and not key.endswith("num_batches_tracked")]
        if missing:
            raise ValueError(
                f"the weights at {weights_path} lack {missing[0]} and {len(missing) - 1} more: give {WEIGHTS_URL}."
            )
        self.load_state_dict({key: weights[key] for key in self.state_dict() if key in weights})
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``(N, 2048)``, float32, of images ``(N, 1 or 3, H, W)`` with values in [0, 1]; others are clipped.

        Raises:
            ValueError: when the images have neither 1 nor 3 channels.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"Inception-v3 got images of shape {tuple(images.shape)}: give it (N, 1 or 3, H, W).")
        x = F.interpolate(images.float().clamp(0, 1), (299, 299), mode="bilinear", align_corners=False)
        x = 2 * x.expand(-1, 3, -1, -1) - 1
        for layer in self.children():
            x = layer(x)
        return x.mean((2, 3))
