import pytest
import torch
from make import convolve
from torch import nn

from miassr_monai.networks.trunks.blocks import ResidualBlock, ResidualDenseBlock, dense_block, require_positive


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def standardise(x):
    """Batch norm with new weights, in training."""
    axes = (0, 2, 3)
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, keepdim=True, unbiased=False) + 1e-5).sqrt()


@torch.no_grad()
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_residual_block_adds_its_convolutions_to_the_input(batch_norm):
    block = ResidualBlock(2, 3, nn.ReLU(inplace=True), batch_norm=batch_norm, residual_scale=0.3).double()
    weights, normalise = block.state_dict(), standardise if batch_norm else lambda x: x
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    first = normalise(convolve(x, weights, "body.0")).clamp(min=0)
    second = normalise(convolve(first, weights, "body.3" if batch_norm else "body.2"))
    torch.testing.assert_close(block(x), x + 0.3 * second, rtol=0, atol=1e-12)


def dense(x, weights, layers, prefix=""):
    for layer in range(layers):
        new = convolve(x, weights, f"{prefix}layers{layer}.0").clamp(min=0)
        x = torch.cat([x, new], 1)
    return x


@torch.no_grad()
def test_a_dense_block_keeps_what_came_before_and_adds_to_it():
    block = dense_block(2, 3, 2, 3, nn.ReLU()).double()
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    image = block(x)
    assert image.shape == (1, 9, 4, 5)
    torch.testing.assert_close(image, dense(x, block.state_dict(), 3), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_a_residual_dense_block_fuses_and_adds(kernel_size):
    block = ResidualDenseBlock(2, 3, 2, 2, nn.ReLU(), fusion_kernel_size=kernel_size, residual_scale=0.2).double()
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    weights = block.state_dict()
    fused = convolve(dense(x, weights, 2, "body.0."), weights, "body.1")
    torch.testing.assert_close(block(x), x + 0.2 * fused, rtol=0, atol=1e-12)


def test_sizes_below_one_are_refused_by_name():
    require_positive(depth=1, layers=3)
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        require_positive(depth=1, layers=0)
