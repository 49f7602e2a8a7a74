import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import RRDB, SubPixelGenerator


@pytest.mark.parametrize(("scale", "parameters"), [(2, 9_949_633), (3, 10_134_273), (4, 10_097_345)])
def test_published_network_has_the_published_number_of_parameters(scale, parameters):
    with torch.device("meta"):
        network = SubPixelGenerator(RRDB(), scales=[scale])
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_with_its_own_fusion_the_body_has_the_parameters_of_esrgan():
    # Of ESRGAN's 16,697,987 parameters on RGB, the head has 1,792 and what follows the body 147,712 * 3 / 4 + 1,731.
    with torch.device("meta"):
        trunk = RRDB(in_channels=3, fusion_kernel_size=3)
    assert sum(p.numel() for p in trunk.parameters()) == 16_697_987 - 3 * 36_928 - 1_731


@torch.no_grad()
@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size, kernel_size):
    torch.manual_seed(0)
    trunk = small_trunk("RRDB", spatial_dims, 2, fusion_kernel_size=kernel_size, output_scale=0.5).double()
    weights, x = trunk.state_dict(), torch.randn(2, 2, *size, dtype=torch.float64)
    first = features = convolve(x, weights, "head")
    for outer in range(2):
        inner = features
        for block in range(2):
            name, dense = f"body.{outer}.body.{block}.body", inner
            for layer in range(2):
                new = convolve(dense, weights, f"{name}.0.layers{layer}.0")
                dense = torch.cat([dense, torch.where(new > 0, new, 0.2 * new)], 1)
            inner = inner + 0.2 * convolve(dense, weights, f"{name}.1")
        features = features + 0.2 * inner
    expected = 0.5 * (first + convolve(features, weights, "body.2"))
    torch.testing.assert_close(trunk(x), expected, rtol=0, atol=1e-12)
