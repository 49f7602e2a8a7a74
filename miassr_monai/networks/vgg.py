"""VGG19 features for the perceptual loss."""

from __future__ import annotations

import os
from urllib.error import URLError

import torch
from monai.utils import look_up_option
from torch import nn

__all__ = ["VGG19Features"]

WEIGHTS_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512))
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def vgg19_layers() -> tuple[list[nn.Module], dict[str, int]]:
    """Layers of VGG19's convolutional part in torchvision's order, and the index of each convolution by name."""
    layers: list[nn.Module] = []
    index: dict[str, int] = {}
    channels = 3
    for block, widths in enumerate(BLOCKS, start=1):
        for number, width in enumerate(widths, start=1):
            index[f"conv{block}_{number}"] = len(layers)
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return layers, index


def load_vgg19_weights(weights_path: str | os.PathLike | None) -> dict[str, torch.Tensor]:
    """State dictionary of torchvision's ImageNet VGG19, from a file or from PyTorch's download site.

    Raises:
        FileNotFoundError: when ``weights_path`` is given and is not there.
        RuntimeError: when there is no path and the download fails.
    """
    if weights_path is not None:
        if not os.path.isfile(weights_path):
            raise FileNotFoundError(f"there are no VGG19 weights at {weights_path}: give the path of {WEIGHTS_URL}.")
        return torch.load(weights_path, map_location="cpu", weights_only=True)
    try:
        return torch.hub.load_state_dict_from_url(WEIGHTS_URL, map_location="cpu", check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise RuntimeError(
            f"the perceptual loss needs VGG19 weights, and {WEIGHTS_URL} could not be downloaded ({error}): "
            "download that file elsewhere and give its path (weights_path, in the bundle --vgg_path), or train without "
            "the perceptual loss (eta 0, in the bundle --perceptual_weight 0)."
        ) from error


class VGG19Features(nn.Module):
    """Frozen features of ImageNet's VGG19 at one convolution, before its activation (Simonyan & Zisserman, ICLR 2015).

    The state dictionary has torchvision's keys, so that torchvision's weights fit; torchvision itself is not needed.
    VGG16 has the same layers up to ``"conv3_3"``, with the same keys, so that its weights fit for these, too.

    Args:
        layer: name of the convolution, ``"conv1_1"`` to ``"conv5_4"``; MIASSR uses ``"conv2_2"``.
        weights_path: file with torchvision's VGG19 weights; ``None`` downloads them through ``torch.hub``.

    Raises:
        FileNotFoundError: when ``weights_path`` is given and is not there.
        ValueError: when there is no such layer, or the file holds something else.
        RuntimeError: when there is no path and the download fails.
    """

    def __init__(self, layer: str = "conv2_2", weights_path: str | os.PathLike | None = None) -> None:
        super().__init__()
        layers, index = vgg19_layers()
        last = index[look_up_option(layer, index.keys())]
        self.features = nn.Sequential(*layers[: last + 1])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        weights = load_vgg19_weights(weights_path)
        try:
            self.load_state_dict({key: weights[key] for key in self.state_dict()})
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"{weights_path} does not hold the weights of VGG19 up to {layer} by torchvision's names: give the "
                f"path of {WEIGHTS_URL}."
            ) from error
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of images ``(N, 3, H, W)`` with values in [0, 1]."""
        return self.features((x - self.mean) / self.std)
