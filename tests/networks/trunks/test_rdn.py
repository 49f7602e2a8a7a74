import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import RDN, SubPixelGenerator


@pytest.mark.parametrize(("scale", "parameters"), [(2, 5_614_209), (3, 5_798_849), (4, 5_761_921)])
def test_published_network_has_the_published_number_of_parameters(scale, parameters):
    with torch.device("meta"):
        network = SubPixelGenerator(RDN(), scales=[scale])
    assert sum(p.numel() for p in network.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size):
    torch.manual_seed(0)
    trunk = small_trunk("RDN", spatial_dims, 2).double()
    weights, x = trunk.state_dict(), torch.randn(2, 2, *size, dtype=torch.float64)
    first = convolve(x, weights, "head")
    features, outputs = convolve(first, weights, "second"), []
    for block in range(2):
        dense = features
        for layer in range(2):
            new = convolve(dense, weights, f"body.{block}.body.0.layers{layer}.0").clamp(min=0)
            dense = torch.cat([dense, new], 1)
        features = features + convolve(dense, weights, f"body.{block}.body.1")
        outputs.append(features)
    fused = convolve(convolve(torch.cat(outputs, 1), weights, "fusion.0"), weights, "fusion.1")
    torch.testing.assert_close(trunk(x), first + fused, rtol=0, atol=1e-12)
