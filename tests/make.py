"""Small networks for tests."""

import torch
import torch.nn.functional as F

from miassr_monai import networks
from miassr_monai.networks import EDSR, MetaSRGenerator

# Every trunk of the package, as small as it can be with each of its parts twice.
SMALL_TRUNKS = {
    "EDSR": {"width": 4, "depth": 2},
    "MDSR": {"width": 4, "depth": 2, "scales": ()},
    "RDN": {"width": 4, "depth": 2, "layers": 2, "growth": 3},
    "RRDB": {"width": 4, "depth": 2, "blocks": 2, "layers": 2, "growth": 3},
    "ResCNN": {"width": 4, "depth": 2, "layers": 2},
    "SPAN": {"width": 4, "depth": 2},
    "SRDenseNet": {"width": 4, "depth": 2, "layers": 2, "growth": 3},
    "SRResNet": {"width": 4, "depth": 2},
    "SpaceToDepth": {"width": 8, "depth": 1},
}


def small_trunk(name="EDSR", spatial_dims=2, in_channels=1, **options):
    """A trunk in evaluation mode whose batch norm, if it has one, has seen images."""
    arguments = {**SMALL_TRUNKS[name], **options}
    if name == "SpaceToDepth":
        trunk = networks.SpaceToDepth(EDSR(spatial_dims, 2**spatial_dims * in_channels, **arguments))
    else:
        trunk = getattr(networks, name)(spatial_dims, in_channels, **arguments)
    for module in trunk.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
    return trunk.eval()


def small_generator(in_channels=1, *, width=4, depth=2, hidden_channels=8, **options):
    """A MIASSR generator with an EDSR trunk."""
    return MetaSRGenerator(EDSR(2, in_channels, width=width, depth=depth), hidden_channels=hidden_channels, **options)


def convolve(x, weights, name):
    """The convolution of that name in a state dictionary, zero past the border."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return (F.conv2d if x.dim() == 4 else F.conv3d)(x, kernel, bias, padding=kernel.shape[-1] // 2)
