from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from miassr_monai.metrics import haarpsi

MEDICAL, NATURAL = (5.0, 4.9), (30.0, 4.2)
CONSTANTS = pytest.mark.parametrize(("c", "alpha"), [MEDICAL, NATURAL], ids=["medical", "natural"])
SIZES = pytest.mark.parametrize(("h", "w"), [(48, 64), (33, 47), (48, 33), (17, 16), (16, 16)])


def chirps(h, w):
    """Two images of rings and stripes that differ in contrast and phase."""
    y, x = torch.meshgrid(torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64), indexing="ij")
    rings, stripes = 0.02 * (x**2 + y**2), torch.cos(0.9 * x - 0.4 * y)
    truth = 0.5 + 0.3 * torch.sin(rings) + 0.2 * stripes
    prediction = 0.5 + 0.25 * torch.sin(rings + 0.3) + 0.1 * stripes
    return prediction[None, None], truth[None, None]


def smooth_image(seed, h=40, w=52):
    """Smooth structure on a dark background."""
    values = gaussian_filter(np.random.default_rng(seed).standard_normal((h, w)), 2.0)
    return torch.from_numpy((0.5 + 1.5 * values).clip(0.0, 1.0))[None, None]


def same(image, kernel):
    """Convolution of the image's size that begins at sample ``n // 2`` of the full one, as that of MATLAB does."""
    full = convolve2d(image, kernel)
    begin = [n // 2 for n in kernel.shape]
    return full[begin[0] : begin[0] + image.shape[0], begin[1] : begin[1] + image.shape[1]]


def by_convolution(prediction, truth, c, alpha, mask=None):
    """HaarPSI by its definition: a convolution for each filter."""
    images = [same(255 * image.numpy(), np.full((2, 2), 0.25))[::2, ::2] for image in (prediction, truth)]
    total = weights = 0.0
    for transpose in (False, True):
        coefficients = []
        for j in (1, 2, 3):
            kernel = np.full((2**j, 2**j), 2.0**-j)
            kernel[: 2 ** (j - 1)] *= -1
            coefficients.append([np.abs(same(image, kernel.T if transpose else kernel)) for image in images])
        similarity = sum((2 * a * b + c) / (a**2 + b**2 + c) for a, b in coefficients[:2]) / 2
        weight = np.maximum(*coefficients[2])
        if mask is not None:
            weight = weight * mask
        total += (weight / (1 + np.exp(-alpha * similarity))).sum()
        weights += weight.sum()
    mean = total / weights
    return (np.log(mean / (1 - mean)) / alpha) ** 2


# By the steps of the authors' NumPy program (github.com/rgcda/haarpsi) with either constants; on the even sizes also by
# piqa 1.3.2, which on odd ones averages the last row and column without zeros.
@pytest.mark.parametrize(
    ("h", "w", "constants", "expected"),
    [
        (48, 64, MEDICAL, 0.6863698197331),
        (48, 64, NATURAL, 0.7404552308262),
        (16, 16, MEDICAL, 0.6392992253269),
        (16, 16, NATURAL, 0.6914037385586),
        (33, 47, MEDICAL, 0.6575355216001),
        (33, 47, NATURAL, 0.7137427358077),
    ],
)
def test_values_are_those_of_published_programs(h, w, constants, expected):
    c, alpha = constants
    assert haarpsi(*chirps(h, w), c=c, alpha=alpha).item() == pytest.approx(expected, abs=1e-12)


def test_the_constants_are_those_for_medical_images():
    torch.testing.assert_close(haarpsi(*chirps(48, 64)), haarpsi(*chirps(48, 64), c=5.0, alpha=4.9), rtol=0, atol=0)


@CONSTANTS
@SIZES
def test_values_are_those_of_convolutions(h, w, c, alpha):
    prediction, truth = chirps(h, w)
    expected = by_convolution(prediction[0, 0], truth[0, 0], c, alpha)
    assert haarpsi(prediction, truth, c=c, alpha=alpha).item() == pytest.approx(expected, abs=1e-12)


@CONSTANTS
@SIZES
def test_an_image_is_wholly_similar_to_itself(h, w, c, alpha):
    image = chirps(h, w)[0]
    assert haarpsi(image, image, c=c, alpha=alpha).item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_values_lie_between_0_and_1_whichever_image_comes_first(seed):
    a, b = smooth_image(seed), smooth_image(seed + 100)
    value = haarpsi(a, b)
    assert 0.0 < value.item() < 0.6
    torch.testing.assert_close(haarpsi(b, a), value, rtol=0, atol=1e-14)


def test_every_image_of_a_batch_has_its_own_value():
    a, b = (torch.cat([smooth_image(seed) for seed in seeds]) for seeds in ((0, 1, 2), (3, 1, 5)))
    values = haarpsi(a, b)
    assert values.shape == (3,) and values.dtype == torch.float64
    for i in range(3):
        torch.testing.assert_close(values[i : i + 1], haarpsi(a[i : i + 1], b[i : i + 1]), rtol=0, atol=1e-14)


@CONSTANTS
def test_more_noise_and_more_blur_are_less_similar(c, alpha):
    truth = smooth_image(0)
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(truth.shape))
    noisy = [truth + sigma * noise for sigma in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)]
    blurred = [torch.from_numpy(gaussian_filter(truth[0, 0].numpy(), sigma)) for sigma in (0.0, 0.5, 1.0, 2.0, 4.0)]
    for images in (noisy, [image[None, None] for image in blurred]):
        values = [haarpsi(image, truth, c=c, alpha=alpha).item() for image in images]
        assert all(before > after + 0.001 for before, after in pairwise(values))


@pytest.mark.parametrize(("h", "w"), [(40, 52), (41, 51)])
def test_a_mask_weighs_the_pixels_of_the_halved_image_that_hold_some_of_it(h, w):
    prediction, truth = smooth_image(0, h, w), smooth_image(1, h, w)
    mask = torch.from_numpy(np.random.default_rng(2).random((h, w)) < 0.1)
    mask[-1, -1] = True
    padded = np.pad(mask.numpy(), ((0, h % 2), (0, w % 2)))
    halved = padded.reshape(padded.shape[0] // 2, 2, -1, 2).any((1, 3))
    expected = by_convolution(prediction[0, 0], truth[0, 0], *MEDICAL, halved)
    value = haarpsi(prediction, truth, mask=mask[None, None]).item()
    assert value == pytest.approx(expected, abs=1e-12)
    assert abs(value - haarpsi(prediction, truth).item()) > 1e-3


def test_errors_beyond_the_reach_of_a_masked_pixel_do_not_count():
    truth = smooth_image(0)
    prediction, mask = truth.clone(), torch.zeros(truth.shape, dtype=torch.bool)
    prediction[..., 28:] = 0.5
    # The second filter, the largest that compares, sees 2 pixels of the halved image beyond its own.
    mask[..., :24] = True
    assert haarpsi(prediction, truth, mask=mask).item() == pytest.approx(1.0, abs=1e-12)
    mask[..., :26] = True
    assert haarpsi(prediction, truth, mask=mask).item() < 0.999


def test_a_mask_of_everything_changes_nothing():
    pair = smooth_image(0), smooth_image(1)
    mask = torch.ones(pair[0].shape, dtype=torch.bool)
    torch.testing.assert_close(haarpsi(*pair, mask=mask), haarpsi(*pair), rtol=0, atol=0)


def test_where_no_pixel_counts_there_is_no_value():
    images = torch.cat([smooth_image(0), smooth_image(1), torch.zeros(1, 1, 40, 52, dtype=torch.float64)])
    mask = torch.ones(images.shape, dtype=torch.bool)
    mask[1] = False
    assert haarpsi(images, images, mask=mask).isnan().tolist() == [False, True, True]


def test_float32_images_are_compared_in_float64_under_autocast_too():
    prediction, truth = (image.float() for image in chirps(48, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = haarpsi(prediction, truth)
    torch.testing.assert_close(value, haarpsi(prediction.double(), truth.double()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((1, 1, 15, 20), (1, 1, 15, 20)),
        ((1, 1, 20, 15), (1, 1, 20, 15)),
        ((2, 1, 20, 20), (1, 1, 20, 20)),
        ((1, 1, 20, 20), (1, 1, 20, 21)),
        ((1, 3, 20, 20), (1, 3, 20, 20)),
        ((20, 20), (20, 20)),
    ],
)
def test_images_that_are_too_small_or_do_not_fit_are_refused(shape, other):
    with pytest.raises(ValueError, match="give two of the same shape") as caught:
        haarpsi(torch.zeros(shape), torch.zeros(other))
    assert str(shape) in str(caught.value) and str(other) in str(caught.value)
