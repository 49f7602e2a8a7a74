"""Give a network the function of a smaller one."""

from __future__ import annotations

import torch

from miassr_monai.networks.generator import MetaSRGenerator
from miassr_monai.networks.trunks import EDSR

__all__ = ["grow"]


@torch.no_grad()
def grow(network: MetaSRGenerator, smaller: MetaSRGenerator) -> MetaSRGenerator:
    """Let ``network`` begin as the function that ``smaller`` is, with more channels and blocks to learn more.

    As in Net2Net (Chen et al., ICLR 2016), but without copies: the new channels of a layer start at random and are
    weighted with 0 by whatever made the smaller network's result; new residual blocks start by adding 0. All of these
    weights have gradients.

    Args:
        network: where the weights go; its initialisation is what new channels start from.
        smaller: a generator with as many channels or fewer, as many blocks or fewer, and otherwise of the same form.

    Returns:
        ``network``.

    Raises:
        ValueError: when ``smaller`` is not smaller, or of another form.
    """
    if not all(isinstance(net, MetaSRGenerator) and isinstance(net.trunk, EDSR) for net in (network, smaller)):
        raise ValueError("only a MetaSRGenerator with an EDSR trunk can grow: give weights of the network itself.")
    width, smaller_width = network.meta_upscale.in_channels, smaller.meta_upscale.in_channels
    depth, smaller_depth = len(network.trunk.body) - 1, len(smaller.trunk.body) - 1
    form, smaller_form = (
        (net.in_channels, net.skip, net.meta_upscale.projection, net.meta_upscale.hidden.weight.shape)
        for net in (network, smaller)
    )
    if form != smaller_form or smaller_width > width or smaller_depth > depth:
        raise ValueError(
            "a network can only grow from one with as many channels and blocks or fewer, and the same in_channels, "
            "hidden_channels, projection, skip and anisotropic: give such weights."
        )
    pairs = [
        (network.trunk.head, smaller.trunk.head),
        (network.trunk.body[-1], smaller.trunk.body[-1]),
        (network.meta_upscale.hidden, smaller.meta_upscale.hidden),
    ]
    for block, smaller_block in zip(network.trunk.body[:smaller_depth], smaller.trunk.body[:-1], strict=True):
        pairs += [(block.body[0], smaller_block.body[0]), (block.body[2], smaller_block.body[2])]
    for layer, smaller_layer in pairs:
        rows, columns = smaller_layer.weight.shape[:2]
        layer.weight[:rows] = 0
        layer.weight[:rows, :columns] = smaller_layer.weight
        layer.bias[:rows] = smaller_layer.bias
    for block in network.trunk.body[smaller_depth:-1]:
        block.body[2].weight.zero_()
        block.body[2].bias.zero_()
    # The kernel layer has one row for each output channel, feature and tap.
    kernel, smaller_kernel = network.meta_upscale.kernel, smaller.meta_upscale.kernel
    for values, smaller_values in ((kernel.weight, smaller_kernel.weight), (kernel.bias, smaller_kernel.bias)):
        by_feature = values.view(network.in_channels, -1, 9, *values.shape[1:])
        by_feature.zero_()
        by_feature[:, :smaller_width] = smaller_values.view(network.in_channels, smaller_width, 9, *values.shape[1:])
    return network
