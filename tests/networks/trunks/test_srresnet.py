import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import SRResNet, SubPixelGenerator


@pytest.mark.parametrize(("scale", "parameters"), [(2, 1_371_778), (3, 1_556_418), (4, 1_519_618)])
def test_published_network_has_the_published_number_of_parameters(scale, parameters):
    with torch.device("meta"):
        network = SubPixelGenerator(SRResNet(), scales=[scale])
    assert sum(p.numel() for p in network.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size):
    torch.manual_seed(0)
    trunk = small_trunk("SRResNet", spatial_dims, 2).double()
    weights = trunk.state_dict()
    slope = weights["body.0.body.2.weight"]

    def norm(name, value):
        mean, variance, factor, shift = (
            weights[f"{name}.{part}"].view(-1, *[1] * spatial_dims)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (value - mean) / (variance + 1e-5).sqrt() * factor + shift

    x = torch.randn(2, 2, *size, dtype=torch.float64)
    first = features = convolve(x, weights, "head")
    for block in range(2):
        residual = norm(f"body.{block}.body.1", convolve(features, weights, f"body.{block}.body.0"))
        residual = torch.where(residual > 0, residual, slope * residual)
        features = features + norm(f"body.{block}.body.4", convolve(residual, weights, f"body.{block}.body.3"))
    torch.testing.assert_close(trunk(x), first + convolve(features, weights, "body.2"), rtol=0, atol=1e-12)


@torch.no_grad()
def test_without_batch_norm_images_of_a_batch_do_not_know_of_each_other():
    images = torch.rand(2, 1, 6, 5)
    for batch_norm in (False, True):
        torch.manual_seed(0)
        trunk = SRResNet(width=4, depth=1, batch_norm=batch_norm).train()
        assert torch.allclose(trunk(images)[:1], trunk(images[:1]), atol=1e-6) is not batch_norm
        assert trunk.batch_norm is batch_norm
