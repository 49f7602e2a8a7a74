import pytest
import torch
import torch.distributed as dist
from make import small_generator

from miassr_monai.engines.parallel import Parallel, bare


@pytest.fixture
def group(tmp_path):
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_parallel_network_is_used_as_the_network_itself(group):
    network = small_generator(anisotropic=True)
    parallel = Parallel(network)
    assert (parallel.spatial_dims, parallel.anisotropic, parallel.halo) == (2, True, network.halo)
    assert bare(parallel) is network and bare(network) is network
    with pytest.raises(AttributeError, match="nothing"):
        parallel.nothing  # noqa: B018
    image = torch.rand(2, 1, 8, 7)
    torch.testing.assert_close(parallel(image, 1.7), network(image, 1.7), rtol=0, atol=0)
