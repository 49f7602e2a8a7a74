import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import SRDenseNet, SubPixelGenerator


@pytest.mark.parametrize(("scale", "parameters"), [(2, 8_372_897), (3, 11_323_297), (4, 10_733_217)])
def test_published_network_has_the_published_number_of_parameters(scale, parameters):
    with torch.device("meta"):
        network = SubPixelGenerator(SRDenseNet(), scales=[scale])
    assert sum(p.numel() for p in network.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_a_bottleneck_on_the_outputs_of_all_blocks(spatial_dims, size):
    torch.manual_seed(0)
    trunk = small_trunk("SRDenseNet", spatial_dims, 2).double()
    weights, x = trunk.state_dict(), torch.randn(2, 2, *size, dtype=torch.float64)
    features = convolve(x, weights, "head")
    outputs = [features]
    for block in range(2):
        for layer in (2 * block, 2 * block + 1):
            new = convolve(features, weights, f"body.layers{layer}.0").clamp(min=0)
            features = torch.cat([features, new], 1)
        outputs.append(features)
    expected = convolve(torch.cat(outputs, 1), weights, "bottleneck")
    torch.testing.assert_close(trunk(x), expected, rtol=0, atol=1e-12)
