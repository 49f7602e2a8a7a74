import math

import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import SubPixel
from miassr_monai.networks.upscalers.sub_pixel import prime_factors


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("number", "factors"), [(2, [2]), (3, [3]), (4, [2, 2]), (6, [2, 3]), (7, [7]), (12, [2, 2, 3])]
)
def test_prime_factors(number, factors):
    assert prime_factors(number) == factors
    assert math.prod(factors) == number


def shuffle(x, factor):
    """Pixel (i, j) of block (y, x) comes from channel ``i * factor + j`` of the block's group."""
    image = x.new_empty(len(x), x.size(1) // factor**2, x.size(2) * factor, x.size(3) * factor)
    for i in range(factor):
        for j in range(factor):
            image[:, :, i::factor, j::factor] = x[:, i * factor + j :: factor**2]
    return image


@torch.no_grad()
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("scale", "factors"), [(2, [2]), (3, [3]), (4, [2, 2])])
def test_image_is_that_of_convolutions_and_shuffles(scale, factors, batch_norm):
    tail = SubPixel(3, 2, scale, batch_norm=batch_norm).double()
    weights = tail.state_dict()
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    image, layer = features, 0
    for factor in factors:
        name = f"layers.{layer}.conv_block"
        image = shuffle(F.conv2d(image, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1), factor)
        layer += 1
        if batch_norm:
            axes = (0, 2, 3)
            variance = image.var(axes, keepdim=True, unbiased=False)
            image = (image - image.mean(axes, keepdim=True)) / (variance + 1e-5).sqrt()
            layer += 1
    image = F.conv2d(image, weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"], padding=1)
    torch.testing.assert_close(tail(features), image, rtol=0, atol=1e-12)
    assert image.shape == (2, 2, 4 * scale, 5 * scale)


@torch.no_grad()
def test_pixels_of_a_block_start_with_the_same_kernel():
    # Otherwise a checkerboard is drawn until training has got rid of it.
    upsample = SubPixel(3, 1, 3).layers[0]
    bias = upsample(torch.zeros(1, 3, 4, 4))
    image = upsample(torch.randn(1, 3, 4, 4)) - bias
    expected = image[:, :, ::3, ::3].repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)
