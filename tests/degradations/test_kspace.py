import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct
from scipy.signal.windows import hann, tukey

from miassr_monai.degradations import kspace_degradation
from miassr_monai.degradations.kspace import window_weight

OPTIONS = [{}, {"window": "hann"}, {"window": "tukey"}, {"window": "tukey", "alpha": 0.3}, {"fraction": 0.7}]


@settings(deadline=None, max_examples=80)
@given(
    size=st.integers(8, 100),
    scale=st.sampled_from([1.1, 1.5, 2.0, 2.37, 4.0]),
    options=st.sampled_from(OPTIONS),
    data=st.data(),
)
def test_a_frequency_is_weighted_by_the_window_and_cut_off(centres, size, scale, options, data):
    """``k`` half waves along an axis; LR samples ``scale`` apart hold frequencies below one cycle in two of them."""
    k = data.draw(st.integers(0, size - 1))
    wave = torch.cos(math.pi * k * (torch.arange(size, dtype=torch.float64) + 0.5) / size).expand(5, size)
    relative = k * scale / size / options.get("fraction", 1.0)
    weight = float(relative < 1 - 1e-9)
    taper = {"hann": 1.0, "tukey": options.get("alpha", 0.5)}.get(options.get("window"), 0.0)
    if taper and relative > 1 - taper:
        weight *= math.cos(math.pi / 2 * (relative - 1 + taper) / taper) ** 2
    expected = weight * torch.cos(math.pi * k * (centres(size, scale) + 0.5) / size)
    row = kspace_degradation(wave, (1.0, scale), **options)[0]
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("window", "expected"), [("hann", hann(65, sym=True)), ("tukey", tukey(65, 0.5, sym=True)), ("none", np.ones(65))]
)
def test_the_windows_are_those_of_scipy(window, expected):
    weight = window_weight(torch.arange(32, dtype=torch.float64) / 32, window, 0.5)
    torch.testing.assert_close(weight, torch.from_numpy(expected[32:64]), rtol=0, atol=1e-12)


def test_at_whole_scales_it_is_the_cosine_transform_cut_off():
    image = torch.rand(1, 24, 24, dtype=torch.float64)
    spectrum = dct(image[0].numpy(), axis=0, norm="ortho")[:12]
    position = (np.arange(12) + 0.5) / 12
    weight = np.where(np.arange(12) == 0, 1, math.sqrt(2)) / math.sqrt(24)
    expected = torch.tensor((np.cos(np.pi * np.outer(position, np.arange(12))) * weight) @ spectrum)
    torch.testing.assert_close(kspace_degradation(image, (2.0, 1.0))[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "hamming"}, "window must be one of none, hann, tukey, got 'hamming'"),
        ({"window": "tukey", "alpha": 1.2}, r"alpha must be a number in \[0, 1\]"),
        ({"fraction": 0}, r"fraction must be a number in \[0.1, 1\]"),
    ],
)
def test_impossible_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        kspace_degradation(torch.zeros(8, 8), 2, **options)
