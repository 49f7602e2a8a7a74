import pytest
import torch
from make import small_generator


@pytest.fixture(scope="session")
def make_network():
    """Function that makes a small generator whose output differs from bicubic interpolation."""

    def make(anisotropic=False, channels=1, **kwargs):
        torch.manual_seed(0)
        network = small_generator(
            channels, width=4, depth=1, hidden_channels=8, skip="bicubic", anisotropic=anisotropic, **kwargs
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        return network.eval()

    return make
