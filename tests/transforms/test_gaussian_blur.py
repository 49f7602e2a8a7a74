import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage

from miassr_monai.transforms import GaussianBlur, GaussianBlurd, gaussian_blur


def sampled_kernel(sigma, radius):
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


def reference(image, sigma, radius):
    """Blur of ``(C, *size)`` by scipy."""
    for axis, (s, r) in enumerate(zip(sigma, radius, strict=True), start=1):
        if s > 0:
            image = ndimage.correlate1d(image, sampled_kernel(s, r), axis=axis, mode="nearest")
    return image


def random_image(*shape):
    return np.random.default_rng(1).random(shape)


def assert_blurred(blurred, expected):
    np.testing.assert_allclose(np.asarray(blurred), expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), rank=st.integers(1, 3))
def test_it_is_scipys_correlation_with_a_sampled_gaussian(data, rank):
    size = data.draw(st.tuples(*[st.integers(1, 8)] * rank))
    sigma = data.draw(st.tuples(*[st.just(0.0) | st.floats(0.3, 4.0)] * rank))
    radius = data.draw(st.tuples(*[st.integers(1, 6)] * rank))
    image = random_image(2, *size)
    assert_blurred(GaussianBlur(sigma, radius)(image), reference(image, sigma, radius))


@pytest.mark.parametrize(("sigma", "radius"), [(0.2, 1), (0.5, 2), (0.8, 4), (1.3, 6), (2, 8)])
def test_the_kernel_reaches_four_standard_deviations_unless_told(sigma, radius):
    point = np.zeros((1, 41))
    point[0, 20] = 1.0
    blurred = GaussianBlur(sigma)(point)
    expected = np.pad(sampled_kernel(sigma, radius), 20 - radius)
    assert_blurred(blurred[0], expected)
    assert torch.count_nonzero(blurred) <= 2 * radius + 1


def test_one_sigma_and_one_radius_serve_every_axis():
    image = random_image(1, 7, 8, 9)
    assert_blurred(GaussianBlur(0.8, 1)(image), reference(image, [0.8] * 3, [1] * 3))


@pytest.mark.parametrize("sigma", [0.8, 3.0, [2.0, 0.0]])
def test_a_constant_image_stays_constant_to_the_border(sigma):
    assert_blurred(GaussianBlur(sigma)(np.full((1, 6, 5), 0.7)), np.full((1, 6, 5), 0.7))


def test_sigma_zero_leaves_an_axis_alone():
    image = random_image(1, 5, 30)
    blurred = GaussianBlur([0.0, 1.5])(image)
    for row in range(5):
        assert_blurred(blurred[:, row], reference(image[:, row], [1.5], [6]))
    assert_blurred(GaussianBlur(0)(image), image)


def test_the_function_blurs_each_image_of_a_batch_in_its_own_precision():
    images = random_image(3, 2, 6, 7)
    blurred = gaussian_blur(torch.from_numpy(images), (0.8, 1.6), (1, 5))
    assert blurred.dtype == torch.float64
    for image, out in zip(images, blurred, strict=True):
        assert_blurred(out, reference(image, (0.8, 1.6), (1, 5)))


def test_an_integer_image_becomes_floating_point():
    image = np.arange(40, dtype=np.int16).reshape(1, 8, 5)
    blurred = GaussianBlur(0.8, 1)(image)
    assert blurred.dtype == torch.float32
    np.testing.assert_allclose(blurred, reference(image.astype(float), [0.8] * 2, [1] * 2), rtol=1e-6)


def test_metadata_and_geometry_are_kept(affine):
    image = MetaTensor(random_image(1, 5, 6, 7), affine=affine, meta={"note": "kept"}, applied_operations=[{"a": 1}])
    blurred = GaussianBlur(1.0)(image)
    assert blurred.meta["note"] == "kept"
    assert blurred.applied_operations == [{"a": 1}]
    torch.testing.assert_close(blurred.affine, affine)


@pytest.mark.usefixtures("track_meta_off")
def test_without_metadata_a_plain_tensor_comes_back():
    image = random_image(1, 5, 6)
    blurred = GaussianBlur(1.0)(torch.from_numpy(image))
    assert type(blurred) is torch.Tensor
    assert_blurred(blurred, reference(image, [1.0] * 2, [4] * 2))


def test_dictionary_form_equals_array_form():
    data = {"image": random_image(1, 6, 7), "other": random_image(1, 5, 4), "label": 5}
    out = GaussianBlurd(["image", "other"], [0.8, 1.6], radius=[1, 3])(data)
    for key in ("image", "other"):
        assert_blurred(out[key], reference(data[key], [0.8, 1.6], [1, 3]))
    assert out["label"] == 5


def test_a_missing_key_is_allowed_only_on_request():
    data = {"image": random_image(1, 6, 7)}
    with pytest.raises(KeyError, match="label"):
        GaussianBlurd(["image", "label"], 1.0)(data)
    out = GaussianBlurd(["image", "label"], 1.0, allow_missing_keys=True)(data)
    assert_blurred(out["image"], reference(data["image"], [1.0] * 2, [4] * 2))


@pytest.mark.parametrize("sigma", [-0.1, [1.0, -1.0]])
def test_a_negative_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be a number"):
        GaussianBlur(sigma)


@pytest.mark.parametrize("radius", [0, -1, [1, 0]])
def test_a_radius_below_one_pixel_is_refused(radius):
    with pytest.raises(ValueError, match="radius must be at least 1"):
        GaussianBlurd("image", 1.0, radius)


@pytest.mark.parametrize(("sigma", "radius"), [([1.0, 1.0, 1.0], None), (1.0, [1, 1, 1])])
def test_numbers_for_another_rank_are_refused(sigma, radius):
    with pytest.raises(ValueError, match="length 2, got 3"):
        GaussianBlur(sigma, radius)(random_image(1, 6, 7))
