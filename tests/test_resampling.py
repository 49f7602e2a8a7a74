import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from miassr_monai.resampling import (
    apply_matrices,
    bicubic_downsample,
    bicubic_rescale,
    bicubic_upscale,
    downsample,
    linear_upscale,
    tricubic_upscale,
)

FRACTIONAL = [1.1, 1.5, 2.3, 2.5, 2.7, math.pi, 3.7]
SCALES = pytest.mark.parametrize("scale", [1, 2, 3, 4, *FRACTIONAL])
UPSCALES = pytest.mark.parametrize("upscale", [bicubic_upscale, linear_upscale])
MODES = pytest.mark.parametrize(("upscale", "mode"), [(bicubic_upscale, "bicubic"), (linear_upscale, "bilinear")])
RESAMPLES = pytest.mark.parametrize("resample", [bicubic_upscale, bicubic_downsample, linear_upscale])
AXES = pytest.mark.parametrize("axis", [-2, -1], ids=["rows", "columns"])


def exact(scale):
    return Fraction(scale).limit_denominator(10_000)


def positions(size, step):
    """Input coordinates of output samples that have ``step`` input samples each."""
    return torch.tensor([float((i + Fraction(1, 2)) * step - Fraction(1, 2)) for i in range(size)], dtype=torch.float64)


def ramp_image(size, axis):
    shape = [1, 1, 5, 5]
    shape[axis] = size
    ramp = torch.arange(size, dtype=torch.float64)
    return (ramp.unsqueeze(-1) if axis == -2 else ramp).expand(shape)


def keys_ramp(position):
    """The ramp as cubic convolution with a = -0.75 draws it: up to 0.048 off between samples (a = -0.5 keeps it)."""
    t = position - position.floor()
    return position - t * (1 - t) * (2 * t - 1) / 2


def inner(values, expected, size, margin):
    """Values and expected values of the samples that are at least ``margin`` input samples away from the border."""
    keep = (expected >= margin) & (expected <= size - 1 - margin)
    assert keep.sum() > 5
    return values[keep], expected[keep]


def random_image(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@AXES
@SCALES
@pytest.mark.parametrize("direction", ["up", "down"])
def test_bicubic_draws_a_ramp_at_the_exact_positions(direction, scale, axis):
    size = 16 if direction == "up" else 60
    resample, step = (bicubic_upscale, 1 / exact(scale)) if direction == "up" else (bicubic_downsample, exact(scale))
    image = resample(ramp_image(size, axis), scale)
    line = image.movedim(axis, -1)[0, 0, 0]
    values, expected = inner(line, positions(len(line), step), size, margin=2)
    torch.testing.assert_close(values, keys_ramp(expected), rtol=0, atol=1e-11)
    assert (values - expected).abs().max() < 0.0482


@AXES
@SCALES
def test_linear_upscale_keeps_a_ramp_that_ends_at_the_outermost_centres(scale, axis):
    line = linear_upscale(ramp_image(16, axis), scale).movedim(axis, -1)[0, 0, 0]
    expected = positions(len(line), 1 / exact(scale)).clamp(0, 15)
    torch.testing.assert_close(line, expected, rtol=0, atol=1e-13)


@RESAMPLES
@SCALES
def test_a_constant_stays_constant_up_to_the_borders(resample, scale):
    image = resample(torch.full([2, 3, 13, 9], 0.7, dtype=torch.float64), scale)
    torch.testing.assert_close(image, torch.full_like(image, 0.7), rtol=0, atol=1e-13)


@RESAMPLES
@settings(deadline=None, max_examples=60)
@given(st.integers(8, 24), st.integers(8, 24), st.fractions(1, 8, max_denominator=40))
def test_sizes_are_exact_floors(resample, h, w, scale):
    factor = scale if resample in (bicubic_upscale, linear_upscale) else 1 / scale
    image = resample(torch.zeros(1, h, w), float(scale))
    assert image.shape == (1, math.floor(h * factor), math.floor(w * factor))


@pytest.mark.parametrize(("size", "scale", "lr"), [(22, 2.3, 9), (23, 2.3, 10), (37, 3.7, 10), (33, 1.1, 30)])
def test_lr_size_counts_the_pixels_that_are_full(size, scale, lr):
    assert bicubic_downsample(torch.zeros(1, size, 40), scale).size(1) == lr
    assert bicubic_downsample(torch.zeros(1, 40, size), scale).size(2) == lr


@pytest.mark.parametrize(("h", "w", "scale"), [(3, 9, 4), (9, 3, 4), (2, 9, 2.3), (1, 1, 1.01)])
def test_an_image_smaller_than_an_lr_pixel_is_refused(h, w, scale):
    with pytest.raises(ValueError, match=f"{h} x {w} pixels is too small"):
        bicubic_downsample(torch.zeros(1, 1, h, w), scale)


@RESAMPLES
@pytest.mark.parametrize("scale", [0.5, math.nan, math.inf])
def test_impossible_scales_are_refused(resample, scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        resample(torch.zeros(1, 1, 8, 8), scale)


@MODES
@pytest.mark.parametrize(
    ("h", "w", "scale"),
    [(7, 5, 1), (7, 5, 2), (1, 6, 3), (5, 4, 4), (8, 6, 1.5), (4, 10, 2.5), (10, 20, 2.3), (10, 10, 3.7), (8, 4, 1.25)],
)
def test_upscaling_is_that_of_pytorch_where_the_image_fits_the_scale(upscale, mode, h, w, scale):
    image = random_image(2, 3, h, w)
    size = [round(h * scale), round(w * scale)]
    expected = F.interpolate(image, size, mode=mode, align_corners=False)
    torch.testing.assert_close(upscale(image, scale), expected, rtol=0, atol=1e-12)


# Sizes that change: PyTorch's linear interpolation copies an axis that keeps its size, whatever the scale.
@MODES
@pytest.mark.parametrize(("h", "w", "scale"), [(7, 5, 2.7), (12, 11, 1.1), (6, 7, math.pi), (3, 5, 2.5)])
def test_upscaling_is_that_of_pytorch_at_a_scale_that_does_not_fit(upscale, mode, h, w, scale):
    image = random_image(1, 2, h, w)
    expected = F.interpolate(
        image, scale_factor=float(exact(scale)), mode=mode, align_corners=False, recompute_scale_factor=False
    )
    torch.testing.assert_close(upscale(image, scale), expected, rtol=0, atol=1e-11)


@UPSCALES
@pytest.mark.parametrize("scale", [(1.0, 2.0), (2.3, 1.5), (math.pi, 1.0)])
def test_each_axis_is_upscaled_by_its_own_scale(upscale, scale):
    image = random_image(2, 7, 9)
    by_rows = upscale(image, (scale[0], 1.0))
    torch.testing.assert_close(upscale(image, scale), upscale(by_rows, (1.0, scale[1])), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("h", "w", "scale"), [(7, 5, 1), (8, 12, 2), (9, 15, 3), (16, 12, 4), (15, 9, 1.5), (23, 46, 2.3)]
)
def test_bicubic_downsample_is_that_of_pytorch_without_antialiasing(h, w, scale):
    image = random_image(2, 3, h, w)
    size = [round(h / scale), round(w / scale)]
    expected = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=False)
    torch.testing.assert_close(bicubic_downsample(image, scale), expected, rtol=0, atol=1e-12)


def test_pixels_that_fill_no_lr_pixel_move_nothing():
    image = random_image(1, 40, 40)
    cut, whole = bicubic_downsample(image[:, :39, :39], 3), bicubic_downsample(image, 3)
    torch.testing.assert_close(whole[:, :7, :7], cut[:, :7, :7], rtol=0, atol=1e-7)


@pytest.mark.parametrize("shapes", [[(4, 7)], [(4, 7), (9, 5)], [(3, 4), (4, 7), (9, 5)], [(3, 4), None, (9, 5)]])
def test_each_of_the_last_axes_is_multiplied_by_its_matrix(shapes):
    """By one Kronecker product of all the matrices."""
    matrices = [None if shape is None else random_image(*shape) for shape in shapes]
    image = random_image(2, 3, *(6 if shape is None else shape[1] for shape in shapes))
    result = apply_matrices(image, matrices, chunk_elements=50)
    product = torch.ones(1, 1, dtype=torch.float64)
    for matrix in matrices:
        product = torch.kron(product, torch.eye(6, dtype=torch.float64) if matrix is None else matrix)
    expected = (image.reshape(6, -1) @ product.T).view(result.shape)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_three_axes_are_downsampled_each_by_its_scale():
    volume = random_image(2, 9, 12, 10)
    plane = bicubic_downsample(volume, (1.5, 2.0))
    expected = bicubic_downsample(plane.movedim(1, -1), (1.0, 3.0)).movedim(-1, 1)
    torch.testing.assert_close(bicubic_downsample(volume, (3.0, 1.5, 2.0)), expected, rtol=0, atol=1e-14)


def test_a_parameter_may_differ_from_axis_to_axis():
    def constant(in_size, out_size, step_numerator, step_denominator, *, value):
        return torch.full((out_size, in_size), value, dtype=torch.float64)

    image = torch.ones(4, 6, dtype=torch.float64)
    assert downsample(image, 2, constant, value=[2.0, 3.0]).unique().tolist() == [2.0 * 4 * 3.0 * 6]
    assert downsample(image, (1, 2), constant, value=[2.0, 3.0]).unique().tolist() == [3.0 * 6]
    with pytest.raises(ValueError, match="value needs one value, or one for each of the 2 axes of the scale"):
        downsample(image, 2, constant, value=[1])


@UPSCALES
def test_scripted_upscaling_gives_the_same_values(upscale):
    image = random_image(2, 11, 9)
    scripted = torch.jit.script(upscale)
    for scale in (1.0, 2.0, 2.3, math.pi):
        torch.testing.assert_close(scripted(image, scale), upscale(image, scale), rtol=0, atol=0)


@RESAMPLES
def test_float32_images_stay_float32_and_gradients_pass(resample):
    image = torch.rand(1, 1, 9, 9, requires_grad=True)
    out = resample(image, 2.3)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), resample(image.double(), 2.3), rtol=0, atol=1e-6)
    out.sum().backward()
    torch.testing.assert_close(image.grad.sum(), torch.tensor(float(out.numel())))


@RESAMPLES
def test_autocast_leaves_the_weights_their_digits(resample):
    image = torch.rand(1, 12, 13)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(resample(image, 2.3), resample(image.double(), 2.3).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("done", "scale"), [(2, 1.5), (2, 1.0), (3, 2.5), (4, 3.5), (4, 2.0)])
def test_rescaling_is_that_of_pytorch_where_the_image_fits_the_scale(done, scale):
    image = random_image(1, 2, 6 * done, 4 * done)
    expected = F.interpolate(image, size=(int(6 * scale), int(4 * scale)), mode="bicubic", align_corners=False)
    torch.testing.assert_close(bicubic_rescale(image, done, scale), expected, rtol=0, atol=1e-12)


@AXES
@pytest.mark.parametrize(("done", "scale"), [(2, 1.1), (3, 2.3), (4, math.pi)])
def test_rescaling_puts_a_ramp_at_the_positions_of_the_scale(done, scale, axis):
    # In samples of the finer image, which is one LR sample wide.
    image = ramp_image(20 * done, axis).narrow(-1 if axis == -2 else -2, 0, done)
    fine = bicubic_rescale(image, done, (scale, float(done)) if axis == -2 else (float(done), scale))
    expected = positions(math.floor(20 * exact(scale)), done / exact(scale))
    values, expected = inner(fine.movedim(axis, -1)[0, 0, 0], expected, 20 * done, 2)
    torch.testing.assert_close(values, keys_ramp(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1.1, 2.0, 2.3, math.pi / 2])
def test_a_part_is_rescaled_as_in_the_whole(scale):
    done, image = 3, random_image(1, 1, 60, 60)
    part = bicubic_rescale(image[..., 12:, 15:], done, scale, origin=(4, 5))
    whole = bicubic_rescale(image, done, scale)
    # What begins two LR samples off the cut.
    top, left = (math.ceil(n * exact(scale)) for n in (4, 5))
    row, column = (math.ceil(n * exact(scale)) for n in (6, 7))
    torch.testing.assert_close(part[..., row - top :, column - left :], whole[..., row:, column:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 2.5, (1.0, 1.0, 2.5), (2.0, 1.5, 1.0)], ids=str)
def test_tricubic_is_pytorchs_bicubic_along_each_axis(scale):
    """Sizes fit the scale, so the convention of PyTorch is that of the package."""
    volume = random_image(2, 1, 4, 6, 8)
    expected = volume
    for axis, factor in enumerate(scale if isinstance(scale, tuple) else (scale,) * 3, start=2):
        rows = expected.movedim(axis, -1)
        size = [rows.size(-2), int(rows.size(-1) * factor)]
        fine = F.interpolate(rows.flatten(0, 2).unsqueeze(1), size=size, mode="bicubic", align_corners=False)
        expected = fine.view(*rows.shape[:-1], -1).movedim(-1, axis)
    torch.testing.assert_close(tricubic_upscale(volume, scale), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2.0, 2.37, (1.0, 3.3, 1.7)], ids=str)
def test_tricubic_of_a_part_is_that_of_the_whole_three_voxels_off_the_cut(scale):
    volume, origin = random_image(1, 1, 12, 5, 4), (4, 0, 0)
    p, q = exact(scale[0] if isinstance(scale, tuple) else scale).as_integer_ratio()
    whole = tricubic_upscale(volume, scale)[:, :, -(-7 * p // q) :]
    part = tricubic_upscale(volume[:, :, 4:], scale, origin)
    torch.testing.assert_close(part[:, :, part.size(2) - whole.size(2) :], whole, rtol=0, atol=1e-12)
