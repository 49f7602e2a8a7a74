import math
from fractions import Fraction

import pytest
import torch


@pytest.fixture(scope="session")
def centres():
    """Function that gives the HR sample coordinates of the LR samples of an axis."""

    def coordinates(size, scale):
        exact, half = Fraction(scale).limit_denominator(10_000), Fraction(1, 2)
        count = math.floor(size / exact)
        return torch.tensor([float((i + half) * exact - half) for i in range(count)], dtype=torch.float64)

    return coordinates


@pytest.fixture(scope="session")
def random_image():
    """Function that makes a random image, always the same."""

    def draw(*shape):
        return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    return draw
