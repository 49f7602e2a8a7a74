import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.transform
import torch
from scipy import integrate, special
from scipy.ndimage import gaussian_filter
from skimage.data import shepp_logan_phantom

from miassr_monai.degradations.radon import (
    FILTERS,
    back_projection,
    detector_size,
    filtered_back_projection,
    half_turn,
    radon,
)

ANGLES = (0.0, 0.3, math.pi / 2, 2.1, 3.5, -0.7)


def centred(size):
    """Coordinates of samples from their centre."""
    return torch.arange(size, dtype=torch.float64) - (size - 1) / 2


def direct(image, angles):
    """Fourier slice theorem by the sums themselves, in float64."""
    height, width = image.shape
    bins = detector_size((height, width))
    frequency = torch.arange(bins // 2 + 1, dtype=torch.float64) / bins
    angle = torch.tensor(angles, dtype=torch.float64)
    rows = torch.einsum("a,f,h->afh", -torch.sin(angle), frequency, centred(height))
    columns = torch.einsum("a,f,w->afw", torch.cos(angle), frequency, centred(width))
    wave = torch.exp(-2j * math.pi * (rows.unsqueeze(-1) + columns.unsqueeze(-2)))
    lines = torch.einsum("hw,afhw->af", image.to(torch.complex128), wave)
    return torch.fft.irfft(lines * torch.exp(-2j * math.pi * frequency * (bins // 2)), bins)


@pytest.fixture(scope="module")
def phantom():
    """The head of Shepp and Logan, 129 x 129."""
    return skimage.transform.resize(shepp_logan_phantom(), (129, 129), anti_aliasing=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(13, 16), (16, 13), (7, 7), (10, 10), (1, 3), (20, 5)])
def test_projections_are_lines_of_the_spectrum(size, dtype):
    torch.manual_seed(0)
    image = torch.randn(size, dtype=dtype)
    expected = direct(image, ANGLES)
    projections = radon(image, ANGLES)
    assert projections.dtype == dtype
    assert (projections - expected).abs().max() < 2e-5 * expected.abs().max()


def test_along_the_axes_projections_are_the_sums_of_columns_and_rows():
    image = torch.rand(2, 15, 11, dtype=torch.float64)
    down, right, up = radon(image, (0.0, math.pi / 2, math.pi)).unbind(1)
    first = (down.size(1) - 11) // 2
    torch.testing.assert_close(down[:, first : first + 11], image.sum(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(up, down.flip(1), rtol=0, atol=1e-4)
    first = (right.size(1) - 15) // 2
    # y counts upwards, rows downwards.
    torch.testing.assert_close(right[:, first : first + 15], image.sum(2).flip(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(90, 101), (80, 80)])
def test_projections_of_an_elliptic_gaussian_are_gaussians(size):
    """Of widths a and b, centred at (x0, y0): ``t`` has the variance a^2 cos^2 + b^2 sin^2."""
    a, b, x0, y0 = 4.0, 7.0, 5.3, -8.6
    x, y = centred(size[1]), -centred(size[0]).unsqueeze(1)
    image = torch.exp(-0.5 * (((x - x0) / a) ** 2 + ((y - y0) / b) ** 2))
    projections = radon(image, ANGLES)
    t = centred(projections.size(1))
    angle = torch.tensor(ANGLES, dtype=torch.float64).unsqueeze(1)
    variance = (a * torch.cos(angle)) ** 2 + (b * torch.sin(angle)) ** 2
    shift = x0 * torch.cos(angle) + y0 * torch.sin(angle)
    expected = a * b * torch.sqrt(2 * math.pi / variance) * torch.exp(-0.5 * (t - shift) ** 2 / variance)
    torch.testing.assert_close(projections, expected, rtol=0, atol=2e-5 * expected.max().item())


def test_projections_of_an_ellipse_are_its_chords():
    a, b, size, finer = 40.0, 24.0, 121, 8
    fine = (centred(size * finer) / finer).float()
    inside = ((fine / a) ** 2 + (fine.unsqueeze(1) / b) ** 2 < 1).float()
    image = torch.nn.functional.avg_pool2d(inside[None, None], finer)[0, 0]
    angles = half_turn(24)
    projections = radon(image, angles)
    t = centred(projections.size(1))
    angle = torch.tensor(angles, dtype=torch.float64).unsqueeze(1)
    squared = (a * torch.cos(angle)) ** 2 + (b * torch.sin(angle)) ** 2
    expected = 2 * a * b * torch.sqrt((squared - t**2).clamp(min=0)) / squared
    assert (projections - expected).norm() < 0.012 * expected.norm()


def test_every_projection_has_the_mass_of_the_image():
    image = torch.rand(3, 21, 30, dtype=torch.float64)
    mass = radon(image, half_turn(7)).sum(-1)
    torch.testing.assert_close(mass, image.sum((1, 2)).unsqueeze(1).expand_as(mass), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [(12, 17), (9, 9)])
def test_back_projection_is_the_adjoint_and_the_gradient(size):
    torch.manual_seed(0)
    image = torch.randn(2, *size, dtype=torch.float64, requires_grad=True)
    projections = radon(image, ANGLES)
    sinogram = torch.randn_like(projections, requires_grad=True)
    back = back_projection(sinogram, ANGLES, size)
    torch.testing.assert_close((projections * sinogram).sum(), (image * back).sum(), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad((projections * sinogram.detach()).sum(), image)
    torch.testing.assert_close(gradient, back, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad((back * image.detach()).sum(), sinogram)
    torch.testing.assert_close(gradient, projections, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sigma", "tolerance"), [(0, 0.015), (1.5, 0.004)])
def test_radon_is_that_of_scikit_image(phantom, sigma, tolerance):
    """Which interpolates linearly where it rotates the image: that shows at edges, and not at 0."""
    image = gaussian_filter(phantom, sigma)
    degrees = np.arange(0, 180, 4.0)
    padding = (detector_size(image.shape) - len(image)) // 2
    expected = skimage.transform.radon(np.pad(image, padding), degrees, circle=True).T
    projections = radon(torch.from_numpy(image), np.radians(degrees)).numpy()
    assert np.linalg.norm(projections - expected) < tolerance * np.linalg.norm(expected)
    np.testing.assert_allclose(projections[0], expected[0], rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("filter_name", FILTERS)
def test_filtered_back_projection_is_that_of_scikit_image(phantom, filter_name):
    """Which interpolates by cubic splines: 4 % of the sharp phantom under the ramp, nothing of a smooth one."""
    image, angles = torch.from_numpy(gaussian_filter(phantom, 1.5)), half_turn(90)
    sinogram = radon(image, angles)
    made = filtered_back_projection(sinogram, angles, image.shape, filter_name=filter_name).numpy()
    expected = skimage.transform.iradon(sinogram.numpy().T, np.degrees(angles), 129, filter_name, "cubic", circle=False)
    assert np.linalg.norm(made - expected) < 6e-4 * np.linalg.norm(expected)


def test_the_error_of_the_phantom_falls_with_the_number_of_angles(phantom):
    image = torch.from_numpy(phantom)
    errors = []
    for count in (8, 16, 32, 64, 128):
        angles = half_turn(count)
        errors.append((filtered_back_projection(radon(image, angles), angles, image.shape) - image).norm().item())
    assert all(fewer > 1.3 * more for fewer, more in pairwise(errors))
    assert errors[-1] < 0.05 * image.norm()


@pytest.mark.parametrize("filter_name", FILTERS)
def test_the_point_spread_is_the_hankel_transform_of_the_filter(filter_name):
    """The image has the frequencies below half a cycle per pixel, in every direction, under the filter's window."""
    image = torch.zeros(61, 61, dtype=torch.float64)
    image[30, 30] = 1
    angles = half_turn(120)
    spread = filtered_back_projection(radon(image, angles), angles, image.shape, filter_name=filter_name)

    def window(f):
        return FILTERS[filter_name](torch.tensor(f, dtype=torch.float64)).item()

    for radius in range(6):
        expected = integrate.quad(
            lambda f, r=radius: 2 * math.pi * f * window(f) * special.j0(2 * math.pi * f * r), 0, 0.5
        )[0]
        assert spread[30, 30 + radius].item() == pytest.approx(expected, abs=0.004)
        assert spread[30 - radius, 30].item() == pytest.approx(expected, abs=0.004)


def test_stacks_of_images_and_integers():
    images = torch.randint(0, 9, (2, 3, 8, 10))
    projections = radon(images, ANGLES)
    assert projections.dtype == torch.float32
    assert torch.equal(projections[1, 2], radon(images[1, 2].float(), ANGLES))
    back = filtered_back_projection(projections, ANGLES, (8, 10))
    assert torch.equal(back[1, 2], filtered_back_projection(projections[1, 2], ANGLES, (8, 10)))


@pytest.mark.parametrize("size", [(512, 512), (1, 1), (3, 4), (100, 37)])
def test_the_detector_sees_the_diagonal_and_has_a_bin_in_the_middle(size):
    bins = detector_size(size)
    assert math.hypot(*size) <= bins <= 1.2 * math.hypot(*size) + 2
    assert bins % 2 == 1


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"the sinogram is 4 x 9, but 3 projections of an image of 5 x 5 .* 3 x 9\."):
        back_projection(torch.zeros(4, 9), half_turn(3), (5, 5))
    with pytest.raises(ValueError, match="hamn"):
        filtered_back_projection(torch.zeros(3, 9), half_turn(3), (5, 5), filter_name="hamn")
