from copy import deepcopy

import pytest
import torch
from make import small_generator, small_trunk
from torch import nn

from miassr_monai.networks import SubPixelGenerator
from miassr_monai.networks.transfer import freeze_trunk, reuse_layers


def test_layers_that_fit_are_reused_whole_and_others_stay_as_they_are():
    source, network = small_generator(1), small_generator(3)
    before = deepcopy(network.state_dict())
    reused, others = reuse_layers(network, source.state_dict())
    # One row of the head for each feature; one column of it, and one kernel, for each channel.
    assert others == ["trunk.head", "meta_upscale.kernel"]
    assert {"trunk.body.0.body.0", "trunk.body.2", "meta_upscale.hidden"} <= set(reused)
    for name, values in network.state_dict().items():
        if name != "_extra_state":
            layer = name.rpartition(".")[0]
            assert torch.equal(values, (before if layer in others else source.state_dict())[name])


def test_a_network_without_any_common_layer_is_refused():
    with pytest.raises(ValueError, match="none of their layers fits the network"):
        reuse_layers(nn.Sequential(nn.Linear(2, 2)), small_generator().state_dict())


def test_only_reused_layers_of_the_trunk_are_frozen():
    network = SubPixelGenerator(small_trunk("SRResNet", in_channels=2), scales=[2])
    reused, others = reuse_layers(network, SubPixelGenerator(small_trunk("SRResNet"), scales=[2]).state_dict())
    assert "trunk.head" in others
    freeze_trunk(network, reused)
    before = deepcopy(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    network.train()(torch.rand(2, 2, 8, 8), 2.0).square().mean().backward()
    optimizer.step()
    for name, values in (*network.named_parameters(), *network.named_buffers()):
        if not name.endswith("num_batches_tracked"):
            kept = name.startswith("trunk.") and name.rpartition(".")[0] in reused
            assert torch.equal(values, before[name]) == kept, name
