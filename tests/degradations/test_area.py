import math
from fractions import Fraction

import cv2
import pytest
import torch

from miassr_monai.degradations import area_degradation


def exact_means(row, scale):
    """Means over the LR samples by fractions."""
    s = Fraction(scale).limit_denominator(10_000)
    means = []
    for i in range(math.floor(len(row) / s)):
        overlaps = [max(Fraction(0), min((i + 1) * s, j + 1) - max(i * s, j)) for j in range(len(row))]
        means.append(float(sum(o * Fraction(value) for o, value in zip(overlaps, row, strict=True)) / s))
    return torch.tensor(means, dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.1, 1.5, 2, 2.3, 3.7, 4, math.pi])
def test_it_is_the_exact_mean_over_each_pixel(random_image, scale):
    row = random_image(31)
    small = area_degradation(row.expand(2, 31), (1, scale))[0]
    torch.testing.assert_close(small, exact_means(row.tolist(), scale), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "size"), [(2, (12, 18)), (3, (12, 18)), (1.5, (12, 18)), (2.5, (20, 15))])
def test_it_is_the_area_interpolation_of_opencv(random_image, scale, size):
    image = random_image(*size)
    new = (round(size[1] / scale), round(size[0] / scale))
    expected = torch.from_numpy(cv2.resize(image.numpy(), new, interpolation=cv2.INTER_AREA))
    torch.testing.assert_close(area_degradation(image, scale), expected, rtol=0, atol=1e-6)


def test_the_mean_of_the_image_is_kept_where_whole_pixels_fill_it(random_image):
    image = random_image(2, 23, 30)
    small = area_degradation(image, (2.3, 1.5))
    torch.testing.assert_close(small.mean((1, 2)), image.mean((1, 2)), rtol=0, atol=1e-12)
