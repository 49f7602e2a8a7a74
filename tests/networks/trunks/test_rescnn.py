import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import ResCNN


def test_encoder_of_arssr_has_its_parameters_less_the_last_layer():
    # 18 convolutions of 64 to 64 channels in 3-D, and the first.
    with torch.device("meta"):
        trunk = ResCNN(3)
    assert sum(p.numel() for p in trunk.parameters()) == 18 * (64 * 64 * 27 + 64) + 64 * 27 + 64


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size):
    torch.manual_seed(0)
    trunk = small_trunk("ResCNN", spatial_dims, 2).double()
    weights, x = trunk.state_dict(), torch.randn(2, 2, *size, dtype=torch.float64)
    features = convolve(x, weights, "head").clamp(min=0)
    for block in range(2):
        added = features
        for layer in (0, 2):
            added = convolve(added, weights, f"body.{block}.{layer}").clamp(min=0)
        features = features + added
    torch.testing.assert_close(trunk(x), features, rtol=0, atol=1e-12)
