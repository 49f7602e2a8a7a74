import pytest
import torch

from miassr_monai.degradations import (
    DEGRADATIONS,
    gaussian_noise,
    kspace_degradation,
    named_degradations,
    parse_degradation,
    psf_degradation,
    rician_noise,
    sharpen,
)

# These change an image at scale 1, too, and look at all of it.
MEASURED = ("sparse_view_ct", "ultrasound_sector", "undersampled_kspace")
NAMES = pytest.mark.parametrize("name", [name for name in DEGRADATIONS if name not in MEASURED])


@NAMES
@pytest.mark.parametrize("scale", [1.1, 2.5, (1, 3), (1.5, 1, 2)])
def test_a_constant_stays_constant_up_to_the_borders(name, scale):
    small = DEGRADATIONS[name](torch.full((2, 9, 10, 11), 0.7, dtype=torch.float64), scale)
    torch.testing.assert_close(small, torch.full_like(small, 0.7), rtol=0, atol=1e-12)


@NAMES
def test_at_scale_1_the_image_is_left_alone(name, random_image):
    image = random_image(2, 7, 8, 9)
    for scale in (1, (1.0, 1.0), (1, 1, 1)):
        assert torch.equal(parse_degradation(name)(image, scale), image)


@NAMES
@pytest.mark.parametrize("scale", [2.0, 2.3, 3.7])
def test_the_image_is_not_moved(name, centres, scale):
    """A broad Gaussian keeps its centre of mass."""
    profile = torch.exp(-((torch.arange(120, dtype=torch.float64) - 60.3) ** 2) / (2 * 10**2))
    row = DEGRADATIONS[name](profile.expand(2, 120), (1, scale))[0]
    assert float((row * centres(120, scale)).sum() / row.sum()) == pytest.approx(60.3, abs=0.02)


@NAMES
def test_one_number_is_the_scale_of_the_last_two_axes_and_a_sequence_of_the_last_ones(name, random_image):
    image, degrade = random_image(2, 8, 12, 10), DEGRADATIONS[name]
    torch.testing.assert_close(degrade(image, 2.5), degrade(image, (2.5, 2.5)), rtol=0, atol=0)
    torch.testing.assert_close(degrade(image, (1, 2, 1.5)), degrade(image, (2, 1.5)), rtol=0, atol=1e-12)
    along_first = degrade(image.movedim(1, -1), (1, 2)).movedim(-1, 1)
    torch.testing.assert_close(degrade(image, [2, 1, 1]), along_first, rtol=0, atol=1e-12)
    both = degrade(degrade(image, (1, 2, 1.5)), (4, 1, 1))
    torch.testing.assert_close(degrade(image, (4, 2, 1.5)), both, rtol=0, atol=1e-12)


@NAMES
def test_an_image_smaller_than_an_lr_pixel_is_refused(name):
    with pytest.raises(ValueError, match="an image of 3 x 9 pixels is too small to be degraded by 4"):
        DEGRADATIONS[name](torch.zeros(1, 3, 9), 4)
    with pytest.raises(ValueError, match=r"an image of 9 x 9 x 2 pixels is too small to be degraded by 1x1x2.5"):
        DEGRADATIONS[name](torch.zeros(9, 9, 2), (1, 1, 2.5))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("psf", psf_degradation),
        ("psf:fwhm=0.8", lambda x, s: psf_degradation(x, s, fwhm=0.8)),
        ("psf:fwhm=0.8x1.25", lambda x, s: psf_degradation(x, s, fwhm=(0.8, 1.25))),
        ("kspace:window=tukey,alpha=0.3", lambda x, s: kspace_degradation(x, s, window="tukey", alpha=0.3)),
        ("psf:sharpen=0.5", lambda x, s: sharpen(psf_degradation(x, s), 0.5)),
        (
            "psf:fwhm=2,sharpen=0.5,noise=0.1,seed=4",
            lambda x, s: rician_noise(sharpen(psf_degradation(x, s, fwhm=2), 0.5), 0.1, generator=seeded(4)),
        ),
        (
            "kspace:noise=0.1,noise_model=gaussian,seed=0",
            lambda x, s: gaussian_noise(kspace_degradation(x, s), 0.1, generator=seeded(0)),
        ),
    ],
)
def test_a_text_names_a_degradation_and_is_remembered(random_image, text, expected):
    image = random_image(2, 20, 24)
    degradation = parse_degradation(text)
    assert degradation.name == text and parse_degradation(degradation.name) == degradation
    torch.testing.assert_close(degradation(image, 2.5), expected(image, 2.5), rtol=0, atol=0)


def test_parameters_may_be_given_beside_the_name():
    assert parse_degradation("psf", fwhm=(0.8, 1.2), noise=0.01).name == "psf:fwhm=0.8x1.2,noise=0.01"
    assert parse_degradation("psf: fwhm = 0.80", seed=0, noise=0.01).name == "psf:fwhm=0.8,noise=0.01,seed=0"


def test_without_a_seed_noise_follows_torchs_generator(random_image):
    image, degradation = random_image(12, 12), parse_degradation("psf:noise=0.05")
    torch.manual_seed(0)
    first, second = degradation(image, 2), degradation(image, 2)
    torch.manual_seed(0)
    assert torch.equal(degradation(image, 2), first) and not torch.equal(first, second)


def test_several_are_told_by_their_names_and_have_the_same_noise_at_each_call(random_image):
    image, texts = random_image(12, 12), ["psf:fwhm=0.80,noise=0.05", "area", "psf:noise=0.05,seed=3"]
    degradations = named_degradations(texts)
    assert list(degradations) == ["psf:fwhm=0.8,noise=0.05", "area", "psf:noise=0.05,seed=3"]
    for name, seed in (("psf:fwhm=0.8,noise=0.05", 0), ("psf:noise=0.05,seed=3", 3)):
        once, again = (degradations[name](image, 2) for _ in range(2))
        assert torch.equal(once, again) and torch.equal(once, parse_degradation(name, seed=seed)(image, 2))


def test_noise_can_be_left_out():
    noisy = parse_degradation("psf:fwhm=0.8,sharpen=1,noise=0.05,noise_model=gaussian,seed=2")
    assert noisy.noiseless.name == "psf:fwhm=0.8,sharpen=1"


def test_a_window_of_intensities_is_for_those_that_know_hounsfield_units():
    assert (
        parse_degradation("sparse_view_ct:views=9").in_window((-160, 240)).name
        == "sparse_view_ct:views=9,window=-160x240"
    )
    for text in ("kspace:window=hann", "psf"):
        assert parse_degradation(text).in_window((-160, 240)).name == text
    assert parse_degradation("sparse_view_ct").in_window(None).name == "sparse_view_ct"


def test_some_show_in_an_image_of_the_same_size():
    image = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    texts = ["psf", "kspace:window=hann", "area:noise=0.1", "psf:sharpen=1", "sparse_view_ct"]
    shown = [not torch.equal(parse_degradation(text)(image, 1.0), image) for text in texts]
    assert shown == [parse_degradation(text).same_size for text in texts] == [False, False, True, True, True]
    assert parse_degradation("ultrasound_sector").same_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur", "there is no 'blur', take one of antialiased_bicubic, area, "),
        ("psf:window=hann", "psf has no parameter 'window', it takes fwhm, sharpen, noise, noise_model, seed"),
        ("psf:fwhm", "write NAME or NAME:KEY=VALUE,KEY=VALUE"),
        ("psf:fwhm=0.8,", "write NAME or NAME:KEY=VALUE,KEY=VALUE"),
        ("psf:fwhm=wide", r"fwhm must be a number in \[0.05, 8\], got 'wide'"),
        ("psf:fwhm=0", r"fwhm must be a number in \[0.05, 8\], got 0"),
        ("kspace:window=box", "window must be one of none, hann, tukey"),
        ("psf:noise=-0.1", r"noise must be a number in \[0, 1\]"),
        ("psf:noise_model=poisson", "noise_model must be one of rician, gaussian, speckle"),
        ("psf:sharpen=9", r"sharpen must be a number in \[0, 4\]"),
        ("psf:noise=0.1,seed=0.5", "seed must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(text, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse_degradation(text)
    assert str(refused.value).startswith(f"the degradation {text!r} cannot be made: ")
    assert "\n" not in str(refused.value)
