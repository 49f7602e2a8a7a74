import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from skimage.measure import label

from miassr_monai.metrics import foreground_mask

Y, X = np.mgrid[:24, :30]
DISC, HOLE = (Y - 11) ** 2 + (X - 14) ** 2 <= 81, (Y - 10) ** 2 + (X - 15) ** 2 <= 9


def slices(*images):
    """Slices ``(N, 1, H, W)`` of grey values."""
    return torch.from_numpy(np.stack(images)[:, None].astype(np.float32))


def enclosed(above):
    """A slice's pixels that no path over steps along rows and columns leads from to the border, or that are above."""
    parts = label(~np.pad(above, 1), connectivity=1)
    return (parts != parts[0, 0])[1:-1, 1:-1]


def by_skimage(volume):
    """The mask by scikit-image's threshold and its labels of what is not above."""
    volume = volume.numpy()
    above = (volume > threshold_otsu(volume)).any(1)
    return np.stack([enclosed(slice_) for slice_ in above])[:, None]


def test_a_hole_is_filled_in_the_slice_that_has_one():
    holed = slices(0.8 * DISC, 0.8 * (DISC & ~HOLE), 0.8 * HOLE)
    truth = np.stack([DISC, DISC, HOLE])[:, None]
    np.testing.assert_array_equal(foreground_mask(holed), truth)


def test_a_hole_that_is_open_to_the_background_is_not_filled():
    # Across the slices the hole is covered on both sides, within its slice it is not.
    open_ = DISC & ~HOLE & ~((Y < 11) & (X == 15))
    truth = np.stack([DISC, open_, DISC])[:, None]
    np.testing.assert_array_equal(foreground_mask(slices(*truth[:, 0])), truth)


def test_the_threshold_is_that_of_the_volume_and_not_of_the_slice():
    # The structure of the second slice is darker than half-way between the first one's two values.
    mask = foreground_mask(slices(0.9 * DISC, 0.1 * DISC, 0.3 + 0.01 * DISC, np.full(DISC.shape, 0.9)))
    np.testing.assert_array_equal(mask[:, 0], np.stack([DISC, 0 * DISC, 0 * DISC, 1 + 0 * DISC]))


def test_a_pixel_at_the_threshold_is_background():
    # The first of 256 bins from 0 to 512 has its middle at 1.
    image = slices(512.0 * DISC + (Y == 0))
    assert threshold_otsu(image.numpy()) == 1
    np.testing.assert_array_equal(foreground_mask(image)[0, 0], DISC)


def test_foreground_is_where_any_channel_is():
    other = np.roll(DISC, 6, axis=1)
    assert (DISC & ~other).any() and (other & ~DISC).any()
    two = torch.cat([slices(0.9 * DISC), slices(0.7 * other)], 1)
    np.testing.assert_array_equal(foreground_mask(two), (DISC | other)[None, None])
    # A ring of two halves, one in each channel, encloses its inside.
    ring = DISC & ~HOLE
    halves = torch.cat([slices(ring & (X < 15)), slices(ring & (X >= 15))], 1)
    np.testing.assert_array_equal(foreground_mask(halves), DISC[None, None])


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_a_volume_of_one_value_has_no_foreground(value):
    mask = foreground_mask(torch.full((3, 2, 5, 6), value))
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask, np.zeros((3, 1, 5, 6), bool))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 20), st.integers(5, 20), st.integers(0, 2**32 - 1))
def test_the_mask_is_that_of_scikit_image(n, channels, height, width, seed):
    generator = np.random.default_rng(seed)
    volume = torch.from_numpy(generator.gamma(0.7, size=(n, channels, height, width)).astype(np.float32))
    mask = foreground_mask(volume)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask, by_skimage(volume))


def test_half_precision_and_a_gradient_are_no_hindrance():
    image = slices(0.75 * DISC)
    for given_ in (image.half(), image.clone().requires_grad_(), image.double()):
        np.testing.assert_array_equal(foreground_mask(given_)[0, 0], DISC)
