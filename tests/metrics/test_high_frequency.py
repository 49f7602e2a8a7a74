import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from miassr_monai.metrics import high_frequency_ratio

SHAPES = pytest.mark.parametrize("shape", [(32, 40), (33, 41), (32, 41), (33, 40)])


def noise(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(index, size=72, axis=-1, other=48):
    """Image ``(1, 1, ., .)`` that is a cosine of ``index`` periods along one axis."""
    wave = torch.cos(2 * math.pi * index * torch.arange(size, dtype=torch.float64) / size + 0.4)
    image = wave.unsqueeze(1).expand(size, other) if axis == -2 else wave.expand(other, size)
    return image[None, None]


def low_passed(image, rows, columns):
    """The image's frequencies up to ``rows`` and ``columns`` periods."""
    spectrum = np.fft.fft2(image.numpy())
    index = [np.abs(np.fft.fftfreq(n, 1 / n)) for n in image.shape[-2:]]
    spectrum *= (index[0] <= rows)[:, None] & (index[1] <= columns)
    return torch.from_numpy(np.fft.ifft2(spectrum).real)


def energy(image, scale):
    """Energy beyond the LR grid's Nyquist frequency by the whole spectrum, frequencies as exact fractions."""
    image = image - image.mean()
    windows = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in image.shape]
    power = np.abs(np.fft.fft2(image * windows[0][:, None] * windows[1])) ** 2
    beyond = []
    for n, s in zip(image.shape, scale, strict=True):
        frequencies = [Fraction(min(k, n - k), n) for k in range(n)]
        beyond.append(np.array([f > 1 / (2 * Fraction(s).limit_denominator(10_000)) for f in frequencies]))
    return power[beyond[0][:, None] | beyond[1]].sum()


@SHAPES
@pytest.mark.parametrize("scale", [2.0, 2.5, (1.0, 3.0), (3.7, 1.0), (1.5, 2.3)])
def test_the_ratio_is_that_of_the_whole_spectra(shape, scale):
    prediction, truth = noise(3, 1, *shape), noise(3, 1, *shape, seed=1)
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    expected = [energy(a[0].numpy(), pair) / energy(b[0].numpy(), pair) for a, b in zip(prediction, truth, strict=True)]
    ratio = high_frequency_ratio(prediction, truth, scale)
    assert ratio.shape == (3,) and ratio.dtype == torch.float64
    np.testing.assert_allclose(ratio.numpy(), expected, rtol=1e-12)


# Of 4 rows at scale 2.5 the lowest frequency is beyond the cutoff, and the window widens the mean up to it.
@pytest.mark.parametrize("shape", [(32, 40), (33, 41), (4, 40)])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 3.0])
def test_contrast_counts_squared_and_brightness_not(shape, factor):
    truth = noise(2, 1, *shape)
    ratio = high_frequency_ratio(factor * truth + 7.0, truth, 2.5)
    torch.testing.assert_close(ratio, torch.full([2], factor**2, dtype=torch.float64), rtol=1e-10, atol=1e-20)


@SHAPES
def test_a_prediction_without_high_frequencies_has_none(shape):
    truth = noise(2, 1, *shape)
    # The window widens a frequency by one on either side; at scale 2 those up to a quarter of the size are kept.
    prediction = low_passed(truth, shape[0] // 4 - 1, shape[1] // 4 - 1)
    assert high_frequency_ratio(prediction, truth, 2.0).tolist() == [0.0, 0.0]
    assert high_frequency_ratio(truth, prediction, 2.0).isnan().all()
    assert (high_frequency_ratio(low_passed(truth, shape[0] // 4 + 1, 0), truth, 2.0) > 0).all()


@pytest.mark.parametrize("axis", [-2, -1], ids=["rows", "columns"])
def test_a_cosine_counts_if_it_is_beyond_the_cutoff(axis):
    # At scale 3 of 72 pixels the cutoff is at 12 periods.
    low, high = cosine(10, axis=axis), cosine(14, axis=axis)
    ratio = high_frequency_ratio(torch.cat([high, low, 0.5 * high + 2 * low]), high.expand(3, -1, -1, -1), 3.0)
    torch.testing.assert_close(ratio, torch.tensor([1.0, 0.0, 0.25], dtype=torch.float64), rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize("axis", [-2, -1], ids=["rows", "columns"])
@pytest.mark.parametrize(("size", "scale", "cutoff"), [(72, 3.0, 12), (72, 1.2, 30), (115, 2.3, 25), (74, 3.7, 10)])
def test_the_cutoff_itself_is_a_frequency_of_the_lr_grid(axis, size, scale, cutoff):
    # The Hann window splits a cosine into amplitudes 1/4, 1/2 and 1/4, whose energies are 1/6, 4/6 and 1/6.
    above = cosine(cutoff + 2, size, axis)
    for index, expected in ((cutoff - 1, 0.0), (cutoff, 1 / 6), (cutoff + 1, 5 / 6)):
        ratio = high_frequency_ratio(cosine(index, size, axis), above, scale).item()
        assert ratio == pytest.approx(expected, rel=1e-9, abs=1e-20)


def test_each_axis_has_its_own_cutoff():
    by_rows, by_columns = cosine(14, 72, -2, 72), cosine(14, 72, -1, 72)
    truth = by_rows + by_columns
    for scale, expected in (((3.0, 1.0), [1.0, 0.0]), ((1.0, 3.0), [0.0, 1.0]), ((3.0, 3.0), [0.5, 0.5])):
        ratio = high_frequency_ratio(torch.cat([by_rows, by_columns]), truth.expand(2, -1, -1, -1), scale)
        torch.testing.assert_close(ratio, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-20)


def test_diagonal_detail_counts_once():
    # Beyond the cutoff along both axes, and along one: the energies of the two are the same.
    both = cosine(14, 72, -2, 72) * cosine(14, 72, -1, 72)
    one = cosine(14, 72, -2, 72) * cosine(8, 72, -1, 72)
    assert high_frequency_ratio(both, one, 3.0).item() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_truth_without_high_frequencies_has_no_ratio(dtype):
    truth = torch.cat([torch.zeros(1, 1, 31, 37), torch.full((1, 1, 31, 37), 0.7), noise(1, 1, 31, 37)]).to(dtype)
    ratio = high_frequency_ratio(noise(3, 1, 31, 37, seed=1).to(dtype), truth, 2.0)
    assert ratio.isnan().tolist() == [True, True, False]
    assert high_frequency_ratio(truth, truth, 1.0).isnan().all()


def test_a_prediction_that_is_no_number_has_no_ratio():
    assert high_frequency_ratio(torch.full((1, 1, 8, 8), torch.nan), torch.rand(1, 1, 8, 8), 2.0).isnan().all()


def test_float32_images_are_measured_in_float64_under_autocast_too():
    prediction, truth = noise(1, 1, 30, 36).float(), noise(1, 1, 30, 36, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ratio = high_frequency_ratio(prediction, truth, 2.0)
    torch.testing.assert_close(ratio, high_frequency_ratio(prediction.double(), truth.double(), 2.0), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "other"),
    [((2, 1, 8, 8), (1, 1, 8, 8)), ((1, 1, 8, 8), (1, 1, 8, 9)), ((1, 3, 8, 8), (1, 3, 8, 8)), ((8, 8), (8, 8))],
)
def test_images_that_do_not_fit_are_refused(shape, other):
    with pytest.raises(ValueError, match="give two of the same shape") as caught:
        high_frequency_ratio(torch.zeros(shape), torch.zeros(other), 2.0)
    assert str(shape) in str(caught.value) and str(other) in str(caught.value)


def test_an_impossible_scale_is_refused():
    with pytest.raises(ValueError, match="scale must be a finite number"):
        high_frequency_ratio(noise(1, 1, 8, 8), noise(1, 1, 8, 8), 0.5)
