import math
from copy import deepcopy
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from miassr_monai.networks import MetaUpscale
from miassr_monai.networks.upscalers import meta_upscale
from miassr_monai.networks.upscalers.meta_upscale import project

OFFSETS = {"center": Fraction(1, 2), "corner": Fraction(0)}
PROJECTIONS = pytest.mark.parametrize("projection", OFFSETS)
WAYS = BY_PHASE, BY_REASSOCIATION = "upscale_by_phase", "upscale_by_reassociation"
SCALES = [1, 1.1, 1.5, 2, 2.3, 2.5, 2.7, math.pi, 3.7, 4]
# The kernels of more phases than this along an axis are too many for a test.
MAX_PHASES = 40


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def exact(scale):
    return Fraction(scale).limit_denominator(10_000)


@torch.no_grad()
def evaluate(m, features, scale):
    """Equation 9 in float64: one output pixel after the other, each with the kernel predicted for it."""
    m, o = deepcopy(m).double(), OFFSETS[m.projection]
    row_scale, column_scale = (exact(s) for s in (scale if isinstance(scale, tuple) else (scale, scale)))
    inverse_scales = [float(1 / row_scale), float(1 / column_scale)] if m.anisotropic else [float(1 / row_scale)]
    n, _, h, w = features.shape
    padded = torch.nn.functional.pad(features.double(), [1, 1, 1, 1])
    image = torch.zeros(n, m.out_channels, math.floor(h * row_scale), math.floor(w * column_scale), dtype=torch.float64)
    for i in range(image.size(2)):
        for j in range(image.size(3)):
            y, x = (i + o) / row_scale, (j + o) / column_scale
            top, left = math.floor(y), math.floor(x)
            query = torch.tensor([*inverse_scales, float(y - top), float(x - left)], dtype=torch.float64)
            kernel = m.kernel(m.hidden(query).relu()).view(m.out_channels, m.in_channels, 3, 3)
            image[:, :, i, j] = torch.einsum("ncij,ocij->no", padded[:, :, top : top + 3, left : left + 3], kernel)
    return image


@torch.no_grad()
def outputs(m, features, scale):
    """The image by ``forward`` and by each way that can be afforded."""
    p, q = exact(scale).as_integer_ratio()
    images = {
        "forward": m(features, float(scale)),
        "reassociation": m.upscale_by_reassociation(features, (p, q), (p, q)),
    }
    if p <= MAX_PHASES:
        images["phase"] = m.upscale_by_phase(features, (p, q), (p, q))
    return images


def assert_all_close(images, expected, tolerance):
    for name, image in images.items():
        message = f"{name}: {{}}".format
        torch.testing.assert_close(image.to(expected.dtype), expected, rtol=0, atol=tolerance, msg=message)


@PROJECTIONS
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("n_in", "n_out", "shape"), [(1, 1, (1, 3, 5)), (4, 3, (2, 5, 4)), (5, 2, (1, 1, 7)), (2, 1, (1, 11, 1))]
)
def test_every_way_is_the_direct_evaluation(projection, scale, n_in, n_out, shape):
    n, h, w = shape
    m = MetaUpscale(n_in, n_out, 12, projection=projection).double()
    features = torch.randn(n, n_in, h, w, dtype=torch.float64)
    assert_all_close(outputs(m, features, scale), evaluate(m, features, scale), 1e-12)


@PROJECTIONS
@pytest.mark.parametrize("scale", [1, 1.5, 2, 2.3, math.pi, 4])
def test_default_width_is_exact_to_single_precision(projection, scale):
    m = MetaUpscale(projection=projection)
    features = torch.randn(1, 64, 4, 3)
    assert_all_close(outputs(m, features, scale), evaluate(m, features, scale), 1e-5)


@pytest.mark.parametrize("scale", [1.1, 2.3, 2.7, 3.7])
@PROJECTIONS
def test_no_pixel_of_a_long_row_reads_the_wrong_neighbour(projection, scale):
    """With a kernel that is its middle element, each output is the LR pixel that it is projected to."""
    m = MetaUpscale(1, 1, 2, projection=projection)
    with torch.no_grad():
        m.kernel.weight.zero_()
        m.kernel.bias.copy_(torch.eye(9)[4])
    row = torch.arange(1.0, 101.0).view(1, 1, 1, 100)
    size = math.floor(100 * exact(scale))
    expected = torch.tensor([1.0 + math.floor((j + OFFSETS[projection]) / exact(scale)) for j in range(size)])
    assert_all_close(outputs(m, row, scale), expected.expand(1, 1, math.floor(exact(scale)), size), 0)


@PROJECTIONS
@settings(deadline=None, max_examples=60)
@given(scale=st.fractions(1, 8, max_denominator=6), h=st.integers(1, 12), w=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_two_ways_agree_at_every_size(projection, scale, h, w, seed):
    torch.manual_seed(seed)
    m = MetaUpscale(2, 2, 4, projection=projection).double()
    features = torch.randn(1, 2, h, w, dtype=torch.float64)
    p, q = scale.as_integer_ratio()
    with torch.no_grad():
        by_phase, by_reassociation = (getattr(m, way)(features, (p, q), (p, q)) for way in WAYS)
    assert by_phase.shape == (1, 2, math.floor(h * scale), math.floor(w * scale))
    torch.testing.assert_close(by_phase, by_reassociation, rtol=0, atol=1e-12)


ANY_SCALE = st.one_of(
    st.floats(1.0, 8.0),
    st.integers(10, 80).map(lambda tenths: tenths / 10),
    st.integers(1, 7).map(lambda k: 1.1 * k),
    st.tuples(st.integers(1, 8), st.sampled_from([-1e-4, -1e-9, 1e-9, 1e-4])).map(lambda x: max(1.0, sum(x))),
)
ANY_SIZE = st.one_of(st.integers(1, 300), st.sampled_from([6, 203]))


@PROJECTIONS
@settings(deadline=None, max_examples=200)
@given(scale=ANY_SCALE, size=ANY_SIZE)
def test_size_index_and_phase_are_those_of_rational_arithmetic(projection, scale, size):
    p, q = exact(scale).as_integer_ratio()
    k, r = project(size, 0, p, q, int(2 * OFFSETS[projection]), torch.device("cpu"))
    u = [(i + OFFSETS[projection]) / exact(scale) for i in range(math.floor(size * exact(scale)))]
    assert k.tolist() == [math.floor(x) for x in u]
    assert r.tolist() == [float(x - math.floor(x)) for x in u]


@PROJECTIONS
@settings(deadline=None, max_examples=60)
@given(scale=ANY_SCALE, size=ANY_SIZE, pixels=st.randoms(use_true_random=False))
def test_a_long_row_matches_the_kernels_of_float64(projection, scale, size, pixels):
    """A few output pixels of a long row, each with the kernel predicted for it in float64."""
    m = MetaUpscale(3, 1, 8, projection=projection)
    wide = deepcopy(m).double()
    row = torch.randn(1, 3, 1, size)
    image = m(row, scale).detach()
    s, o = exact(scale), OFFSETS[projection]
    assert image.shape == (1, 1, math.floor(s), math.floor(size * s))
    padded = torch.nn.functional.pad(row.double(), [1, 1, 1, 1])
    for _ in range(8):
        i, j = pixels.randrange(image.size(2)), pixels.randrange(image.size(3))
        y, x = (i + o) / s, (j + o) / s
        query = torch.tensor([float(1 / s), float(y - math.floor(y)), float(x - math.floor(x))], dtype=torch.float64)
        kernel = wide.kernel(wide.hidden(query).relu()).view(3, 3, 3)
        patch = padded[0, :, math.floor(y) : math.floor(y) + 3, math.floor(x) : math.floor(x) + 3]
        assert image[0, 0, i, j].item() == pytest.approx((patch * kernel).sum().item(), rel=1e-5, abs=1e-5)


@PROJECTIONS
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [1.5, 2.0, 2.3])
@pytest.mark.parametrize("origin", [(0, 0), (3, 5), (4, 10)])
def test_a_part_of_an_image_has_the_phases_of_its_place_in_the_whole(projection, way, scale, origin):
    m = MetaUpscale(2, 1, 6, projection=projection)
    features, fraction = torch.randn(1, 2, 16, 20), exact(scale).as_integer_ratio()
    top, left = origin
    part = getattr(m, way)(features[:, :, top:12, left:18], fraction, fraction, origin)
    first_row, first_column = (math.ceil(n * exact(scale)) for n in origin)
    whole = getattr(m, way)(features, fraction, fraction)
    whole = whole[..., first_row : math.floor(12 * exact(scale)), first_column : math.floor(18 * exact(scale))]
    assert part.shape == whole.shape
    # Kernels reach one LR pixel past the part, which is zero there: leave out what it makes.
    edge = math.ceil(scale)
    torch.testing.assert_close(part[..., edge:-edge, edge:-edge], whole[..., edge:-edge, edge:-edge], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2.0, 2.3])
def test_a_module_that_inferred_first_can_be_trained(scale):
    m, features = MetaUpscale(2, 1, 4).double(), torch.randn(1, 2, 7, 9, dtype=torch.float64)
    with torch.inference_mode():
        image = m(features, scale)
    m(features, scale).sum().backward()
    assert all(parameter.grad is not None for parameter in m.parameters())
    torch.testing.assert_close(m(features, scale), image.clone(), rtol=0, atol=1e-12)


def test_units_of_one_sign_fold_into_three():
    """Of units that are always positive only the linear part is left, of units that are always negative nothing."""
    m = MetaUpscale(2, 1, 5)
    with torch.no_grad():
        m.hidden.weight.copy_(torch.tensor([[1.0, 0.5, 0.5], [1, -1, 1], [0, 1, 1], [0, -1, 1], [-1, 0.5, 0.5]]))
        m.hidden.bias.copy_(torch.tensor([0.1, 1.0, -3.0, -0.5, 0.0]))
    units, layer = m.fold((2, 1), (2, 1))
    # Units 0 and 1 are always on, 2 is always off, 3 and 4 change sign between phases.
    assert units.shape == (3, 2 + 3) and layer.shape == (5, 18)
    on = m.kernel.weight[:, :2]
    constant, slopes = torch.tensor([0.6, 1.5]), torch.tensor([[0.5, 0.5], [-1.0, 1.0]])
    expected = torch.stack([m.kernel.bias + on @ constant, on @ slopes[:, 0], on @ slopes[:, 1]])
    torch.testing.assert_close(layer[2:], expected)
    torch.testing.assert_close(units[:, :2], torch.tensor([[-0.5, -0.5], [-1.0, 0.5], [1.0, 0.5]]))


def test_layout_of_the_features_does_not_change_the_image():
    m, features = MetaUpscale(8, 2, 16), torch.randn(2, 8, 6, 7)
    for scale in (2.0, 2.3):
        laid_out = m(features.contiguous(memory_format=torch.channels_last), scale)
        torch.testing.assert_close(laid_out, m(features, scale), rtol=0, atol=1e-5)


@PROJECTIONS
def test_bands_of_rows_do_not_change_the_image(projection):
    m = MetaUpscale(2, 1, 4, projection=projection)
    features = torch.randn(2, 2, 7, 5)
    whole = m.upscale_by_reassociation(features, (23, 10), (23, 10))
    for rows in (1, 2, 3):
        m.chunk_elements = rows * 5 * 3 * 3 * 4
        torch.testing.assert_close(m.upscale_by_reassociation(features, (23, 10), (23, 10)), whole, rtol=0, atol=1e-6)


@PROJECTIONS
@pytest.mark.parametrize("scale", [(1, 2), (2.5, 1), (1.5, 4), (2.3, math.pi), (2, 2)])
def test_anisotropic_scales_match_equation_9(projection, scale):
    m = MetaUpscale(3, 2, 6, projection=projection, anisotropic=True)
    features = torch.randn(2, 3, 5, 6)
    rows, columns = (exact(s).as_integer_ratio() for s in scale)
    with torch.no_grad():
        images = {
            "forward": m(features, tuple(map(float, scale))),
            "reassociation": m.upscale_by_reassociation(features, rows, columns),
        }
        if max(rows[0], columns[0]) <= MAX_PHASES:
            images["phase"] = m.upscale_by_phase(features, rows, columns)
    assert_all_close(images, evaluate(m, features, scale), 1e-5)
    scripted = torch.jit.script(m)(features, tuple(map(float, scale)))
    torch.testing.assert_close(scripted, images["forward"], rtol=0, atol=1e-6)


def test_unequal_scales_need_an_anisotropic_module():
    with pytest.raises(ValueError, match="anisotropic=True"):
        MetaUpscale(2, 1, 4)(torch.zeros(1, 2, 3, 3), (1.0, 2.0))


@pytest.mark.parametrize(
    ("size", "scale", "way"),
    [(32, 2, BY_PHASE), (32, 1.5, BY_PHASE), (8, 3.9999, BY_REASSOCIATION), (2, 3.7, BY_REASSOCIATION)],
)
def test_the_cheaper_way_is_taken(monkeypatch, size, scale, way):
    taken = []
    for name in WAYS:
        monkeypatch.setattr(MetaUpscale, name, lambda *args, name=name: taken.append(name))
    MetaUpscale()(torch.zeros(1, 64, size, size), scale)
    assert taken == [way]


@PROJECTIONS
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("p", "q"), [(2, 1), (3, 2)])
def test_gradients_of_features_and_weights(projection, way, p, q):
    m = MetaUpscale(2, 1, 3, projection=projection).double()
    features = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    # gradcheck moves the entries of its inputs in place, the weights of m among them.
    assert gradcheck(lambda features, *weights: getattr(m, way)(features, (p, q), (p, q)), (features, *m.parameters()))


@pytest.mark.parametrize(("p", "q"), [(2, 1), (23, 10)])
@pytest.mark.parametrize("way", WAYS)
def test_features_of_half_precision_give_an_image_of_half_precision(way, p, q):
    m = MetaUpscale(4, 1, 8)
    features = torch.randn(1, 4, 5, 5)
    image, expected = getattr(m, way)(features.bfloat16(), (p, q), (p, q)), getattr(m, way)(features, (p, q), (p, q))
    assert image.dtype == torch.bfloat16
    torch.testing.assert_close(image.float(), expected, rtol=0, atol=0.03 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("sizes", "count"), [((), 149_056), ((64, 3, 256), 149_056 + 2 * 257 * 576), ((5, 2, 7), 28 + 8 * 90)]
)
def test_parameter_count(sizes, count):
    assert sum(p.numel() for p in MetaUpscale(*sizes).parameters()) == count


def test_unknown_projection_is_refused():
    with pytest.raises(ValueError, match="centre"):
        MetaUpscale(projection="centre")


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (4, 4, 4), (4, 4), (1, 4, 4, 4, 4)])
def test_features_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs features of shape \(N, 4, h, w\)"):
        MetaUpscale(4)(torch.zeros(shape), 2.0)


@pytest.mark.parametrize("scale", [0.5, -2.0, math.nan, math.inf])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        MetaUpscale(4)(torch.zeros(1, 4, 3, 3), scale)


@PROJECTIONS
def test_scripted_module_gives_the_same_values(projection):
    m = MetaUpscale(3, 2, 8, projection=projection)
    scripted = torch.jit.script(m)
    features = torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        for scale in map(float, SCALES):
            torch.testing.assert_close(scripted(features, scale), m(features, scale), rtol=0, atol=1e-6)


def test_scripted_module_takes_the_cheaper_way_at_a_scale_with_many_phases():
    m, features = MetaUpscale(), torch.randn(1, 64, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(m)(features, 3.9999), m(features, 3.9999), rtol=0, atol=1e-6)


def test_what_is_traced_is_not_kept_for_later_calls(monkeypatch):
    """torch.export traces tensors without values."""
    meta_upscale.cached_tabulate.cache_clear()
    place = 5, 0, 5, 2, 1, torch.device("cpu")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    traced = meta_upscale.kept_tabulate(*place)
    assert meta_upscale.cached_tabulate.cache_info().currsize == 0
    monkeypatch.undo()
    torch.testing.assert_close(meta_upscale.kept_tabulate(*place), traced, rtol=0, atol=0)
    assert meta_upscale.cached_tabulate.cache_info().currsize == 1
