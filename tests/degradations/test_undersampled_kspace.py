import numpy as np
import pytest
import torch

from miassr_monai.degradations import (
    kspace_degradation,
    parse_degradation,
    rician_noise,
    undersampled_kspace_degradation,
)

FULL = {"acceleration": 1}


def image_of(*size, seed=0):
    return torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_k_space_that_is_measured_completely_gives_the_image():
    image = image_of(2, 12, 15)
    torch.testing.assert_close(undersampled_kspace_degradation(image, 1.0, **FULL), image, rtol=0, atol=1e-12)
    small = undersampled_kspace_degradation(image, (1.0, 2.5), **FULL)
    torch.testing.assert_close(small, kspace_degradation(image, (1.0, 2.5)).abs(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("acceleration", [2, 3])
def test_every_nth_line_makes_as_many_copies(axis, acceleration):
    image = image_of(12, 18)
    made = undersampled_kspace_degradation(image, 1.0, acceleration=acceleration, centre=0.0, axis=axis)
    shifts = range(0, image.shape[axis], image.shape[axis] // acceleration)
    copies = sum(image.roll(shift, axis) for shift in shifts) / acceleration
    torch.testing.assert_close(made, copies, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "partial"), [(16, 0.625), (15, 0.75), (16, 0.5)])
def test_partial_fourier_keeps_the_frequencies_from_one_end_on(size, partial):
    image = image_of(9, size)
    lines = np.fft.fftshift(np.fft.fft(image.numpy()), axes=-1)
    lines[:, round(partial * size) :] = 0
    truth = np.abs(np.fft.ifft(np.fft.ifftshift(lines, axes=-1)))
    made = undersampled_kspace_degradation(image, 1.0, partial=partial, **FULL)
    np.testing.assert_allclose(made.numpy(), truth, rtol=0, atol=1e-12)


def test_the_mean_is_kept_where_the_centre_is_measured_and_energy_is_never_gained():
    image = 5 + image_of(32, 40)
    made = undersampled_kspace_degradation(image, 1.0, acceleration=4, centre=0.2)
    assert float(made.mean()) == pytest.approx(float(image.mean()), rel=1e-9)
    assert made.square().sum() < image.square().sum()


@pytest.mark.parametrize("signal", [0.0, 0.1, 1.0])
def test_noise_of_a_complete_k_space_is_rician(signal):
    image = torch.full((200, 200), signal, dtype=torch.float64)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    made = undersampled_kspace_degradation(image, 1.0, complex_noise=0.05, generator=generators[0], **FULL)
    truth = rician_noise(image, 0.05, generator=generators[1])
    quantiles = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    torch.testing.assert_close(made.quantile(quantiles), truth.quantile(quantiles), rtol=0, atol=3e-3)
    # In the mean of its square a magnitude has the noise of both parts.
    assert float(made.square().mean()) == pytest.approx(signal**2 + 2 * 0.05**2, rel=0.02)


def test_lines_that_are_not_measured_bring_no_noise():
    black = torch.zeros(200, 200, dtype=torch.float64)
    options = {"complex_noise": 0.1, "generator": torch.Generator().manual_seed(0)}
    made = undersampled_kspace_degradation(black, 1.0, acceleration=4, centre=0.0, **options)
    assert float(made.square().mean()) == pytest.approx(2 * 0.1**2 / 4, rel=0.03)


def test_by_its_name_it_is_seeded_and_can_be_without_noise():
    image = image_of(16, 16)
    degradation = parse_degradation("undersampled_kspace:acceleration=3,complex_noise=0.05,seed=1")
    assert degradation.same_size and torch.equal(degradation(image, 1.0), degradation(image, 1.0))
    clean = undersampled_kspace_degradation(image, 1.0, acceleration=3)
    assert torch.equal(degradation.noiseless(image, 1.0), clean) and not torch.equal(degradation(image, 1.0), clean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acceleration": 0}, "acceleration"),
        ({"partial": 0.4}, "partial"),
        ({"centre": 2}, "centre"),
        ({"axis": 2}, "axis"),
    ],
)
def test_impossible_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        undersampled_kspace_degradation(torch.zeros(4, 4), 1.0, **options)
