import pytest
import torch


@pytest.fixture
def random_images():
    """Function that draws images in float64."""
    return lambda *shape, seed=0: torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def direction():
    """Function that draws the direction of a linear critic, with the slope ``length``."""

    def draw(shape, length, requires_grad=False):
        c = torch.randn(shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        return (length * c / c.norm()).requires_grad_(requires_grad)

    return draw


@pytest.fixture
def linear_critic():
    """Function that makes a critic with the slope ``c`` everywhere."""
    return lambda c: lambda x: (x * c).flatten(1).sum(1, keepdim=True)


@pytest.fixture
def quadratic_critic():
    """Function that makes a critic with the slope ``a x`` at ``x``."""
    return lambda a: lambda x: a / 2 * x.square().flatten(1).sum(1, keepdim=True)
