import math
from itertools import pairwise

import pytest
import torch

from miassr_monai.degradations import parse_degradation, psf_degradation, sparse_view_ct_degradation
from miassr_monai.degradations.sparse_view_ct import WATER, counted

SIZE = 65


def blob(size=SIZE, sigma=4.0):
    """A smooth blob off the centre, zero at the border."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.exp(-0.5 * (((x - 6) / sigma) ** 2 + ((x.unsqueeze(1) + 3) / (1.5 * sigma)) ** 2))


def cylinder(radius, size=SIZE):
    """Water in air, in the window of the default: water is 1/2, air 0."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return 0.5 * torch.sigmoid((radius - torch.hypot(x, x.unsqueeze(1))) * 2)


def test_with_all_projections_a_smooth_image_comes_back():
    image = blob()
    torch.testing.assert_close(
        sparse_view_ct_degradation(image, 1.0, undersampling=1), image, rtol=0, atol=2e-4 * image.max().item()
    )


def test_streaks_grow_with_the_undersampling_and_the_mean_stays():
    image = cylinder(20)
    errors = []
    for undersampling in (1, 2, 4, 8):
        made = sparse_view_ct_degradation(image, 1.0, undersampling=undersampling)
        errors.append((made - image).square().mean().sqrt().item())
        inside = image > 0.499
        assert made[inside].mean().item() == pytest.approx(0.5, abs=0.003)
        assert made.sum().item() == pytest.approx(image.sum().item(), rel=0.02)
    assert all(more > 1.5 * fewer for fewer, more in pairwise(errors[1:]))


def test_undersampling_is_counted_from_what_the_image_needs():
    image = blob()[:50]
    views = math.ceil(math.pi / 2 * 65 / 5)
    assert torch.equal(
        sparse_view_ct_degradation(image, 1.0, undersampling=5), sparse_view_ct_degradation(image, 1.0, views=views)
    )


@pytest.mark.parametrize("window", [(-1000, 1000), (-160, 240), (-1024, 3071)])
def test_hounsfield_units_do_not_depend_on_the_window(window):
    hounsfield = 1060 * blob() - 1000
    low, high = window

    def through(low, high):
        made = sparse_view_ct_degradation((hounsfield - low) / (high - low), 1.0, views=16, window=(low, high))
        return made * (high - low) + low

    torch.testing.assert_close(through(low, high), through(-1000, 0), rtol=0, atol=1e-8)


def test_air_stays_air():
    air = torch.full((9, 12), -1000.0)
    made = sparse_view_ct_degradation((air + 160) / 400, 1.0, views=5, window=(-160, 240))
    torch.testing.assert_close(made, (air + 160) / 400, rtol=0, atol=1e-6)


def test_beyond_scale_1_the_image_is_blurred_and_sampled(random_image):
    image = random_image(2, 3, 20, 24)
    made = sparse_view_ct_degradation(image, 1, views=9)
    for scale in (2.0, (1.0, 2.5), (1.5, 1.0, 2.0)):
        torch.testing.assert_close(
            sparse_view_ct_degradation(image, scale, views=9, fwhm=0.8), psf_degradation(made, scale, fwhm=0.8)
        )


def test_photons_are_counted():
    """Of n photons the logarithm has the standard deviation 1 / sqrt(n)."""
    integral = torch.full((200_000,), 3.0, dtype=torch.float64)
    measured = counted(integral, 1e5, torch.Generator().manual_seed(0))
    expected = math.exp(1.5) / math.sqrt(1e5)
    assert measured.mean().item() == pytest.approx(3.0, abs=5 * expected / math.sqrt(len(integral)) + expected**2)
    assert measured.std().item() == pytest.approx(expected, rel=0.02)
    # Where nothing comes through there is still a number.
    assert counted(torch.tensor([50.0]), 1e4, None).item() == pytest.approx(math.log(1e4))


@pytest.mark.parametrize("spacing", [0.5, 1.0])
def test_noise_in_the_image_is_what_the_dose_and_the_path_through_water_make(spacing):
    """At the centre of a cylinder every projection has the same path through water, of two radii.

    The variance of the filtered back-projection is that of a projection times (pi / n)^2 n times the filter's energy,
    1/12 for the ramp; a little of it is lost where the bins lie beside the pixel.
    """
    image, photons, views = cylinder(20), 1e6, 60
    made = [
        parse_degradation(f"sparse_view_ct:views={views},photons=1e6,spacing={spacing},seed={seed}")(image, 1.0)
        for seed in range(40)
    ]
    noise = (torch.stack(made) - sparse_view_ct_degradation(image, 1.0, views=views))[:, 30:35, 30:35]
    # Twice the value in the image is the attenuation in that of water.
    projected = math.exp(40 * WATER * spacing / 2) / math.sqrt(photons) / (WATER * spacing)
    expected = projected * math.pi / math.sqrt(views) * math.sqrt(1 / 12) / 2
    assert noise.std().item() == pytest.approx(expected, rel=0.1)


def test_the_noise_is_drawn_from_a_seed_or_from_torch():
    image = cylinder(20)
    seeded = parse_degradation("sparse_view_ct:views=9,photons=10000,seed=3")
    assert torch.equal(seeded(image, 1), seeded(image, 1))
    free = parse_degradation("sparse_view_ct:views=9,photons=1e4")
    torch.manual_seed(0)
    first, second = free(image, 1), free(image, 1)
    torch.manual_seed(0)
    assert torch.equal(free(image, 1), first) and not torch.equal(first, second)
    assert seeded.noiseless.name == "sparse_view_ct:views=9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparse_view_ct:filter_name=hat", "filter_name must be one of ramp, shepp-logan, cosine, hamming, hann"),
        ("sparse_view_ct:views=0", r"views must be a number in \[1, 10000\], got 0"),
        ("sparse_view_ct:undersampling=0.5", r"undersampling must be a number in \[1, 64\], got 0.5"),
        ("sparse_view_ct:photons=-1", r"photons must be a number in \[0, 1e\+12\], got -1"),
        ("sparse_view_ct:spacing=0", r"spacing must be a number in \[0.01, 10\], got 0"),
        ("sparse_view_ct:window=240x-160", "window must be two Hounsfield units, the lower one first"),
        ("sparse_view_ct:window=5", "window must be 2 numbers, got 5"),
        ("sparse_view_ct:generator=5", "sparse_view_ct has no parameter 'generator', it takes views, "),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_degradation(text)
