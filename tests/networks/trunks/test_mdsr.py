import pytest
import torch
from make import convolve, small_trunk

from miassr_monai.networks import MDSR, MetaSRGenerator, SubPixelGenerator, load_network


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_published_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = SubPixelGenerator(MDSR())
    assert sum(p.numel() for p in network.parameters()) == 6_725_187


@torch.no_grad()
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (6, 5)), (3, (4, 3, 5))])
@pytest.mark.parametrize(("scale", "part"), [(0, None), (2, 1), (4, 2), (3, None)])
def test_values_are_those_of_the_explicit_evaluation(spatial_dims, size, scale, part):
    trunk = small_trunk("MDSR", spatial_dims, 2, scales=(2, 4), residual_scale=0.5).double()
    weights, x = trunk.state_dict(), torch.randn(2, 2, *size, dtype=torch.float64)
    heads = convolve(x, weights, "head").split(4, 1)
    first = features = heads[0] if part is None else heads[0] + heads[part]
    for block in range(2):
        residual = convolve(features, weights, f"body.{block}.body.0").clamp(min=0)
        features = features + 0.5 * convolve(residual, weights, f"body.{block}.body.2")
    torch.testing.assert_close(trunk(x, scale), first + convolve(features, weights, "body.2"), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_generator_tells_the_scale_that_it_goes_up_by():
    network = SubPixelGenerator(small_trunk("MDSR", scales=(2, 3)), scales=[2, 3]).double()
    scripted, x = torch.jit.script(network), torch.rand(1, 1, 6, 5, dtype=torch.float64)
    for scale in (2, 3):
        expected = network.tails[scale - 2](network.trunk(x, scale))
        assert torch.equal(network(x, float(scale)), expected)
        assert torch.equal(scripted(x, float(scale)), expected)
    assert not torch.equal(network.trunk(x, 2), network.trunk(x, 3))
    torch.testing.assert_close(scripted(x, 2.5), network(x, 2.5), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_file_is_enough_to_make_it_again(tmp_path):
    network, x = SubPixelGenerator(small_trunk("MDSR", scales=(2, 3)), scales=[2, 3]), torch.rand(1, 1, 4, 5)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt")
    assert loaded.trunk.scales == (2, 3)
    assert torch.equal(loaded(x, 2.5), network(x, 2.5))


def test_generators_for_other_scales_refuse_it():
    trunk = small_trunk("MDSR", scales=(2, 3))
    with pytest.raises(
        ValueError, match=r"the trunk is made for the scales \(2, 3\), not \(2, 3, 4\): give it the same"
    ):
        SubPixelGenerator(trunk)
    with pytest.raises(ValueError, match=r"meta-upscale does all scales alike: give a trunk with scales=\(\)"):
        MetaSRGenerator(trunk)
