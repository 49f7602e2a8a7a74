import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miassr_monai.geometry import (
    downscaled_size,
    format_scale,
    nearest_fraction,
    parse_scale,
    scale_per_axis,
    upright,
    upscaled_size,
    zoomed_affine,
)

SCALES = [1.0, 1.1, 1.15, 1.4, 1.5, 2.0, 2.2, 2.3, 2.5, 2.7, 3.3, 3.7, math.pi, 4.0, 7.9999]
FLIPPED = [[-2.0, 0.0, 0.0, 90.0], [0.0, -1.5, 0.0, 126.0], [0.0, 0.0, 3.0, -72.0], [0.0, 0.0, 0.0, 1.0]]
OBLIQUE = [[0.8, -0.5, 0.3, -81.0], [0.4, 0.9, 0.6, 17.5], [-0.2, 0.1, 2.4, 33.0], [0.0, 0.0, 0.0, 1.0]]
PLANAR = [[0.6, -0.8, 12.0], [0.8, 0.6, -7.0], [0.0, 0.0, 1.0]]
AFFINES = pytest.mark.parametrize("affine", [FLIPPED, OBLIQUE, PLANAR], ids=["flipped", "oblique", "planar"])

scales = st.floats(1.0, 8.0)
steps = st.sampled_from([sign * 10.0**-k for k in range(1, 17) for sign in (-1, 1)])
near_integers = st.builds(lambda n, step: n + step, st.integers(2, 8), steps)
multiples = st.builds(lambda k: 1.1 * k, st.integers(1, 7))


def exact(scale):
    return Fraction(scale).limit_denominator(10_000)


@settings(deadline=None, max_examples=500)
@given(scales | near_integers | multiples | st.sampled_from(SCALES))
def test_nearest_fraction_is_that_of_the_standard_library(scale):
    assert nearest_fraction(scale) == exact(scale).as_integer_ratio()


@pytest.mark.parametrize("middle", [n + 1 / 20_000 for n in range(1, 8)] + [n - 1 / 20_000 for n in range(2, 9)])
def test_nearest_fraction_decides_rightly_beside_the_middle_of_two_candidates(middle):
    for scale in (math.nextafter(middle, 0), middle, math.nextafter(middle, 9)):
        assert nearest_fraction(scale) == exact(scale).as_integer_ratio()


@settings(deadline=None, max_examples=200)
@given(scales, st.integers(1, 10_000))
def test_nearest_fraction_keeps_any_limit_of_the_denominator(scale, limit):
    assert nearest_fraction(scale, limit) == Fraction(scale).limit_denominator(limit).as_integer_ratio()


@pytest.mark.parametrize("scale", [*SCALES, 1.0001, 2 - 1e-12, 1023.9999])
def test_nearest_fraction_is_the_same_in_torchscript(scale):
    assert torch.jit.script(nearest_fraction)(scale) == exact(scale).as_integer_ratio()


@pytest.mark.parametrize("scale", [0.5, 1 - 1e-15, -1.0, 0.0, math.nan, math.inf, -math.inf, 1024.0])
@pytest.mark.parametrize("function", [nearest_fraction, lambda s: upscaled_size(8, s), lambda s: downscaled_size(8, s)])
def test_impossible_scales_are_refused(function, scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        function(scale)


TEXTS = [("2", 2.0), ("2.5", 2.5), ("1x2", (1.0, 2.0)), ("1x1x4", (1.0, 1.0, 4.0)), ("2.37x1.1", (2.37, 1.1))]


@pytest.mark.parametrize(("text", "scale"), TEXTS)
def test_a_scale_is_written_as_a_number_or_one_for_each_axis(text, scale):
    assert parse_scale(text) == scale
    assert format_scale(scale) == text
    # As JSON has it.
    assert format_scale(scale if isinstance(scale, float) else list(scale)) == text


@settings(deadline=None)
@given(
    st.lists(
        st.builds(lambda p, q: p / q, st.integers(10_000, 80_000), st.integers(9_000, 10_000)), min_size=1, max_size=3
    )
)
def test_what_is_written_is_read_as_the_same_fractions(values):
    found = parse_scale(format_scale(values))
    found = list(found) if isinstance(found, tuple) else [found]
    assert [exact(value) for value in found] == [exact(value) for value in values]


@pytest.mark.parametrize("text", ["", "two", "1x", "x2", "2,5", "1x1x1x1", "1 2", "2x two"])
def test_what_is_no_scale_is_refused(text):
    with pytest.raises(ValueError, match=f"^{text!r} is not a scale: give a number"):
        parse_scale(text)


@pytest.mark.parametrize("text", ["0.5", "1x0.5", "nan", "inf", "2000"])
def test_a_scale_that_cannot_be_is_refused_as_it_is_read(text):
    with pytest.raises(ValueError, match="scale must be a finite number in"):
        parse_scale(text)


def test_one_scale_is_that_of_all_axes():
    assert scale_per_axis(2.5, 3) == (2.5, 2.5, 2.5)
    assert scale_per_axis([1.0, 2.0], 2) == (1.0, 2.0)
    with pytest.raises(ValueError, match="the scale 1x2 has 2 axes, but 3 are needed"):
        scale_per_axis((1.0, 2.0), 3)


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_are_exact_floors(scale):
    for size in range(1, 301):
        assert upscaled_size(size, scale) == math.floor(size * exact(scale))
        assert downscaled_size(size, scale) == math.floor(size / exact(scale))


@pytest.mark.parametrize(("size", "scale", "up"), [(100, 1.15, 115), (45, 1.4, 63), (50, 2.3, 115), (10, 3.7, 37)])
def test_sizes_are_right_where_floating_point_rounds_down(size, scale, up):
    assert upscaled_size(size, scale) == up
    assert downscaled_size(up, scale) == size


@settings(deadline=None)
@given(st.integers(1, 2000), scales)
def test_down_then_up_fits_in_the_original_and_wastes_less_than_one_lr_pixel(size, scale):
    again = upscaled_size(downscaled_size(size, scale), scale)
    assert size - exact(scale) - 1 < again <= size


@AFFINES
@settings(deadline=None)
@given(data=st.data())
def test_zoomed_affine_leaves_every_point_in_its_place(affine, data):
    affine = torch.tensor(affine, dtype=torch.float64)
    rank = len(affine) - 1
    factors = data.draw(st.lists(st.floats(0.1, 8.0), min_size=rank, max_size=rank))
    before = data.draw(st.lists(st.floats(-0.5, 100.0), min_size=rank, max_size=rank))
    after = [(x + 0.5) * factor - 0.5 for x, factor in zip(before, factors, strict=True)]
    before, after = (torch.tensor([*point, 1.0], dtype=torch.float64) for point in (before, after))
    torch.testing.assert_close(zoomed_affine(affine, factors) @ after, affine @ before, rtol=0, atol=1e-9)


@AFFINES
def test_zoomed_affine_keeps_the_outer_corner_of_the_first_voxel(affine):
    affine = torch.tensor(affine, dtype=torch.float64)
    corner = torch.full([len(affine)], -0.5, dtype=torch.float64)
    corner[-1] = 1.0
    zoomed = zoomed_affine(affine, [2.3, 4.0, 1.0][: len(affine) - 1])
    torch.testing.assert_close(zoomed @ corner, affine @ corner, rtol=0, atol=1e-9)


@AFFINES
def test_zoomed_affine_divides_the_spacing_and_keeps_the_directions(affine):
    affine = torch.tensor(affine, dtype=torch.float64)
    factors = torch.tensor([2.3, 3.7, 0.5][: len(affine) - 1], dtype=torch.float64)
    columns = zoomed_affine(affine, factors.tolist())[:-1, :-1]
    torch.testing.assert_close(columns * factors, affine[:-1, :-1], rtol=0, atol=1e-12)


@AFFINES
@pytest.mark.parametrize("scale", SCALES)
def test_zooming_there_and_back_is_the_identity(affine, scale):
    affine = torch.tensor(affine, dtype=torch.float64)
    rank = len(affine) - 1
    there = zoomed_affine(affine, [scale] * rank)
    torch.testing.assert_close(zoomed_affine(there, [1 / scale] * rank), affine, rtol=0, atol=1e-9)


def test_zoomed_affine_of_a_batch_is_that_of_each_affine_in_float64():
    batch = torch.tensor([FLIPPED, OBLIQUE], dtype=torch.float32)
    zoomed = zoomed_affine(batch, [2.0, 3.0, 1.0])
    assert zoomed.dtype == torch.float64
    for one, affine in zip(zoomed, batch, strict=True):
        torch.testing.assert_close(one, zoomed_affine(affine.double(), [2.0, 3.0, 1.0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factors", [[], [2.0], [2.0, 2.0], [2.0] * 4])
def test_zoomed_affine_needs_one_factor_for_each_axis(factors):
    with pytest.raises(ValueError, match="3 spatial axes"):
        zoomed_affine(torch.eye(4), factors)


@pytest.mark.parametrize(
    ("axcodes", "place"),
    [
        # Where the first sample of both axes lies when the first axis is drawn to the right and the second one upwards.
        ("RAS", (0, 0)),
        ("LAS", (-1, 0)),
        ("LPS", (-1, -1)),
        # Rows downwards and columns to the right, as in a picture.
        ("PRS", (0, -1)),
        ("SRA", (0, 0)),
        ("ARS", (0, 0)),
        ("AS", (0, 0)),
        ("PIL", (-1, -1)),
    ],
)
def test_a_slice_is_turned_upright(axcodes, place):
    image = torch.zeros(3, 5)
    image[0, 0] = 1
    turned = upright(image, axcodes)
    assert turned[place] == 1 and sorted(turned.shape) == [3, 5]
    # The patient's front, or head, is up, and so the axis towards it comes second.
    assert (turned.shape == (5, 3)) == (axcodes in ("PRS", "SRA", "ARS"))
