import math

import pytest
import torch
from scipy import integrate, ndimage

from miassr_monai.degradations import psf_degradation
from miassr_monai.degradations.psf import smoothed_spline

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
WIDTHS = pytest.mark.parametrize("fwhm", [0.05, 0.4, 1.0, 1.8])


def spline(x):
    """Cubic B-spline, at most two samples away."""
    x = abs(x)
    return 2 / 3 - x**2 + x**3 / 2 if x <= 1 else (2 - x) ** 3 / 6


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.7])
@pytest.mark.parametrize("x", [0.0, 0.3, -0.5, 1.0, 1.4, 2.2, -3.0])
def test_the_kernel_is_the_convolution_of_a_spline_and_a_gaussian(x, sigma):
    def density(t):
        return spline(t) * math.exp(-0.5 * ((x - t) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

    expected = sum(integrate.quad(density, k / 4, (k + 1) / 4)[0] for k in range(-8, 8))
    kernel = smoothed_spline(torch.tensor([x], dtype=torch.float64), sigma)
    assert float(kernel) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scale", [1.5, 2, 2.3])
def test_a_narrow_point_spread_is_scipys_spline_through_the_samples(random_image, centres, scale):
    row = random_image(40)
    padded = torch.cat([row[:1].expand(30), row, row[-1:].expand(30)])
    expected = ndimage.map_coordinates(padded.numpy(), [centres(40, scale).numpy() + 30], order=3)
    small = psf_degradation(row.expand(2, 40), (1, scale), fwhm=0.05)[0]
    # The Gaussian's standard deviation is some hundredths of a sample.
    torch.testing.assert_close(small, torch.from_numpy(expected), rtol=0, atol=0.01)


@WIDTHS
@pytest.mark.parametrize("scale", [1.1, 1.5, 2, 2.3, 3.7])
def test_a_gaussian_widens_by_the_point_spread_and_stays_where_it_is(centres, scale, fwhm):
    size, centre, sigma = 141, 70.3, 6.0
    profile = torch.exp(-((torch.arange(size, dtype=torch.float64) - centre) ** 2) / (2 * sigma**2))
    row = psf_degradation(profile.expand(3, size), (1.0, scale), fwhm=fwhm)[0]
    u, mass = centres(size, scale), row / row.sum()
    mean = (mass * u).sum()
    assert float(row.sum() * scale) == pytest.approx(float(profile.sum()), rel=1e-6)
    assert float(mean) == pytest.approx(centre, abs=1e-4)
    expected = sigma**2 + (fwhm * scale / FWHM_PER_SIGMA) ** 2
    assert float((mass * (u - mean) ** 2).sum()) == pytest.approx(expected, abs=1e-3)


@WIDTHS
@pytest.mark.parametrize("scale", [1.1, 2, 2.3, 3.7])
def test_a_ramp_stays_a_ramp(centres, scale, fwhm):
    row = psf_degradation(torch.arange(120, dtype=torch.float64).expand(2, 120), (1.0, scale), fwhm=fwhm)[0]
    inner = slice(math.ceil(25 / scale), -math.ceil(25 / scale))
    torch.testing.assert_close(row[inner], centres(120, scale)[inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("fwhm", [0.7, 1.0, 1.5])
def test_a_wave_fades_by_the_transfer_function_of_the_gaussian(centres, scale, fwhm):
    """Above the LR grid's Nyquist frequency, where mere sampling would alias."""
    frequency = 0.6 / scale
    wave = torch.cos(2 * math.pi * frequency * torch.arange(40 * scale, dtype=torch.float64)).expand(4, -1)
    row = psf_degradation(wave, (1.0, scale), fwhm=fwhm)[0, 8:-8]
    amplitude = math.exp(-2 * (math.pi * fwhm * scale / FWHM_PER_SIGMA * frequency) ** 2)
    expected = amplitude * torch.cos(2 * math.pi * frequency * centres(40 * scale, scale)[8:-8])
    # At scale 2 the wave has 3.3 HR samples in a period, which no spline draws perfectly.
    torch.testing.assert_close(row, expected, rtol=0, atol=(0.05 if scale == 2 else 0.01) * amplitude)


def test_each_axis_has_its_width(random_image):
    image = random_image(20, 24)
    expected = psf_degradation(psf_degradation(image, (2, 1), fwhm=0.6), (1, 2.5), fwhm=1.4)
    torch.testing.assert_close(psf_degradation(image, (2, 2.5), fwhm=(0.6, 1.4)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fwhm", [0, -1, 9, math.nan, "wide", (1, 0)])
def test_impossible_widths_are_refused(fwhm):
    with pytest.raises(ValueError, match=r"fwhm must be a number in \[0.05, 8\]"):
        psf_degradation(torch.zeros(8, 8), 2, fwhm=fwhm)


def test_widths_that_do_not_fit_the_axes_are_refused():
    with pytest.raises(ValueError, match="fwhm needs one value, or one for each of the 2 axes"):
        psf_degradation(torch.zeros(8, 8), 2, fwhm=(1, 1, 1))
