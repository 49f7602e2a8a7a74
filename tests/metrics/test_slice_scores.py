import math

import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from miassr_monai.degradations import paper_degradation, psf_degradation
from miassr_monai.metrics import SLICE_MEASURES, haarpsi, high_frequency_ratio, slice_consistency, slice_scores

FOREGROUND = ("psnr_foreground", "ssim_foreground", "haarpsi_foreground")
# Of Wang, Simoncelli & Bovik, Asilomar 2003.
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def keep_every(image, scale):
    """Degradation that keeps the first pixel of each block, and its inverse."""
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    return image[..., :: int(rows), :: int(columns)]


def repeat_every(image, scale):
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    return image.repeat_interleave(int(rows), 2).repeat_interleave(int(columns), 3)


def images(n, height, width, seed=0):
    """Slices with structure in [0, 1], and predictions of them, the further off the later the slice."""
    generator = np.random.default_rng(seed)
    smooth = [gaussian_filter(generator.standard_normal((height, width)), 2.0) for _ in range(n)]
    truth = (0.4 + 1.8 * np.stack(smooth)).clip(0, 1)
    noise = generator.standard_normal(truth.shape) * np.linspace(0.03, 0.12, n)[:, None, None]
    return [torch.from_numpy(x[:, None].astype(np.float32)) for x in ((truth + noise).clip(0, 1), truth)]


def blobs(n, height, width, seed=1):
    """Foreground with holes and parts at the border."""
    values = np.random.default_rng(seed).standard_normal((n, height, width))
    return torch.from_numpy(gaussian_filter(values, (0, 3, 3)) > 0)[:, None]


def score(prediction, truth, mask=None, scale=2, degradation=keep_every, image=None):
    mask = torch.ones_like(truth, dtype=torch.bool) if mask is None else mask
    image = degradation(truth, scale) if image is None else image
    scores = slice_scores(prediction, truth, mask, scale)
    return scores | {"consistency": slice_consistency(prediction, image, scale, degradation)}


def planes(*tensors):
    """Slices in float64, those of all tensors at a time."""
    return zip(*(tensor[:, 0].numpy().astype(np.float64) for tensor in tensors), strict=True)


def similarity(prediction, truth, **options):
    """SSIM with the constants of Wang et al. 2004."""
    constants = {"gaussian_weights": True, "sigma": 1.5, "win_size": 11, "use_sample_covariance": False}
    return structural_similarity(truth, prediction, data_range=1.0, **constants, **options)


SIZES = pytest.mark.parametrize("size", [(48, 56), (33, 40), (16, 17)])


@SIZES
def test_psnr_and_ssim_of_each_slice_are_scikit_images(size):
    prediction, truth = images(4, *size)
    scores = score(prediction, truth)
    pairs = list(planes(prediction, truth))
    psnr = [peak_signal_noise_ratio(t, p, data_range=1.0) for p, t in pairs]
    np.testing.assert_allclose(scores["psnr"], psnr, rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores["ssim"], [similarity(p, t) for p, t in pairs], rtol=0, atol=2e-5)
    assert np.ptp(psnr) > 5


@SIZES
def test_over_the_foreground_they_are_means_of_its_pixels(size):
    prediction, truth = images(4, *size)
    mask = blobs(4, *size)
    # Of the smallest slices no blob need be where windows fit.
    mask[..., 6:8, 6:9] = True
    scores = score(prediction, truth, mask)
    psnr, ssim = [], []
    for p, t, m in planes(prediction, truth, mask):
        psnr.append(-10 * np.log10(np.mean((p - t)[m == 1] ** 2)))
        # The map is good only where the window of 11 pixels lies in the image.
        whole = similarity(p, t, full=True)[1]
        ssim.append(np.mean(whole[5:-5, 5:-5][m[5:-5, 5:-5] == 1]))
    np.testing.assert_allclose(scores["psnr_foreground"], psnr, rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores["ssim_foreground"], ssim, rtol=0, atol=2e-5)
    assert (scores["psnr"] - scores["psnr_foreground"]).abs().max() > 0.05
    assert (scores["ssim"] - scores["ssim_foreground"]).abs().max() > 1e-3


def test_a_foreground_of_everything_changes_nothing():
    scores = score(*images(3, 40, 32))
    for name in FOREGROUND:
        torch.testing.assert_close(scores[name], scores[name.removesuffix("_foreground")], rtol=0, atol=1e-9)


def test_errors_outside_of_the_foreground_do_not_count_in_it():
    prediction, truth = images(1, 48, 48)
    mask = torch.zeros_like(truth, dtype=torch.bool)
    mask[..., 24:40] = True
    # The window of SSIM reaches 5 pixels out of the foreground.
    prediction[..., :19], prediction[..., 45:] = 1 - prediction[..., :19], 0.0
    before, after = score(*images(1, 48, 48), mask), score(prediction, truth, mask)
    for name in ("psnr_foreground", "ssim_foreground"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
    assert after["psnr"] < before["psnr"] - 3


def by_levels(prediction, truth):
    """MS-SSIM by its definition, in float64."""

    def blur(image):
        return gaussian_filter(image, 1.5, radius=5)[5:-5, 5:-5]

    result = 1.0
    for level, weight in enumerate(MS_WEIGHTS):
        p, t = blur(prediction), blur(truth)
        both = blur(prediction * truth) - p * t
        each = blur(prediction**2) - p**2 + blur(truth**2) - t**2
        values = (2 * both + 0.03**2) / (each + 0.03**2)
        if level == len(MS_WEIGHTS) - 1:
            values = values * (2 * p * t + 0.01**2) / (p**2 + t**2 + 0.01**2)
        result *= max(values.mean(), 0) ** weight
        h, w = (n // 2 for n in prediction.shape)
        prediction, truth = (x[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3)) for x in (prediction, truth))
    return result


@pytest.mark.parametrize("size", [(176, 177), (190, 178)])
def test_ms_ssim_is_that_of_its_definition_and_of_monai(size):
    prediction, truth = images(2, *size)
    # Luminance, which the coarsest level alone looks at, is off as well.
    prediction = 0.7 * prediction
    scores = score(prediction, truth)
    expected = [by_levels(p, t) for p, t in planes(prediction, truth)]
    np.testing.assert_allclose(scores["ms_ssim"], expected, rtol=0, atol=2e-5)
    monai = MultiScaleSSIMMetric(spatial_dims=2, reduction="none")(prediction, truth)
    torch.testing.assert_close(scores["ms_ssim"], monai[:, 0].double(), rtol=0, atol=2e-5)
    assert expected[0] - expected[1] > 0.01


def test_ms_ssim_of_a_negative_is_zero():
    # Contrast and structure of the fine levels are below 0, of which there is no power.
    truth = images(1, 176, 176)[1]
    assert by_levels(*next(planes(1 - truth, truth))) == 0
    assert score(1 - truth, truth)["ms_ssim"].tolist() == [0]


@pytest.mark.parametrize("size", [(175, 176), (180, 170)])
def test_ms_ssim_is_undefined_where_five_levels_do_not_fit(size):
    scores = score(*images(2, *size))
    assert scores["ms_ssim"].isnan().all()
    assert all(scores[name].isfinite().all() for name in SLICE_MEASURES if name != "ms_ssim")


@pytest.mark.parametrize(
    ("size", "undefined"),
    [
        ((16, 16), {"ms_ssim"}),
        ((15, 20), {"ms_ssim", "haarpsi", "haarpsi_foreground"}),
        ((11, 11), {"ms_ssim", "haarpsi", "haarpsi_foreground"}),
        ((20, 10), {"ms_ssim", "haarpsi", "haarpsi_foreground", "ssim", "ssim_foreground"}),
    ],
)
def test_what_cannot_be_had_of_small_slices_is_undefined(size, undefined):
    scores = score(*images(2, *size))
    assert {name for name, values in scores.items() if values.isnan().all()} == undefined
    assert all(values.isfinite().all() for name, values in scores.items() if name not in undefined)


@pytest.mark.parametrize("scale", [(1.5, 3.0), 2.5])
def test_the_other_measures_get_what_they_need(scale):
    prediction, truth = images(3, 60, 60)
    mask = blobs(3, 60, 60)
    scores = score(prediction, truth, mask, scale, psf_degradation)
    for name, expected in (
        ("haarpsi", haarpsi(prediction, truth)),
        ("haarpsi_foreground", haarpsi(prediction, truth, mask=mask)),
        ("high_frequency", high_frequency_ratio(prediction, truth, scale)),
    ):
        torch.testing.assert_close(scores[name], expected, rtol=0, atol=0)
    assert (scores["high_frequency"] > 1.1).all()


@pytest.mark.parametrize("scale", [2, 3, (2, 3), (1, 4)])
def test_the_inverse_of_the_degradation_is_consistent(scale):
    image = images(2, 24, 20)[0]
    prediction = repeat_every(image, scale)
    scores = score(prediction, images(2, *prediction.shape[2:], seed=5)[1], None, scale, image=image)
    assert scores["consistency"].tolist() == [0, 0]


def test_an_offset_is_its_inconsistency_and_each_slice_has_its_own():
    image = images(3, 20, 24)[0]
    offset = torch.tensor([0.0, 0.125, -0.25]).reshape(-1, 1, 1, 1)
    prediction = repeat_every(image, 2) + offset
    scores = score(prediction, prediction, None, 2, image=image)
    np.testing.assert_allclose(scores["consistency"], [0, 0.125, 0.25], rtol=0, atol=1e-7)


def test_the_inconsistency_is_the_root_of_the_mean_squared_difference():
    prediction, truth = images(3, 48, 42)
    image = images(3, 24, 14, seed=9)[0]
    scores = score(prediction, truth, None, (2, 3), image=image)
    expected = [np.sqrt(np.mean((p[::2, ::3] - i) ** 2)) for p, i in planes(prediction, image)]
    np.testing.assert_allclose(scores["consistency"], expected, rtol=1e-6)


@pytest.mark.parametrize("degradation", [paper_degradation, psf_degradation])
@pytest.mark.parametrize(("scale", "again"), [(1.3, (16, 18)), ((1.3, 2.0), (16, 19)), (2.5, (16, 18))])
def test_only_the_lr_pixels_that_the_prediction_fills_count(degradation, scale, again):
    # 17 and 19 samples at scale 1.3 are 22 and 24, which fill 16 and 18.
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    flat = torch.full((1, 1, math.floor(17 * rows), math.floor(19 * columns)), 0.25)
    image = torch.full((1, 1, 17, 19), 100.0)
    image[..., : again[0], : again[1]] = 0.75
    # Whatever the blur does at the border, a degraded constant differs by less than its value.
    low = degradation(flat, scale)
    expected = np.sqrt(np.mean((0.75 - low.numpy().astype(np.float64)) ** 2))
    assert tuple(low.shape[2:]) == again
    scores = score(flat, flat, None, scale, degradation, image)
    assert scores["consistency"].item() == pytest.approx(expected, rel=1e-6)
    if degradation is psf_degradation:
        assert expected == pytest.approx(0.5, rel=1e-6)


def test_a_slice_without_foreground_is_undefined_there_and_only_there():
    prediction, truth = images(3, 32, 32)
    mask = blobs(3, 32, 32)
    with_all = score(prediction, truth, mask)
    mask[1] = False
    scores = score(prediction, truth, mask)
    for name in FOREGROUND:
        assert scores[name].isnan().tolist() == [False, True, False]
    for name in set(SLICE_MEASURES) - {"ms_ssim"}:
        rest = [0, 2] if name in FOREGROUND else [0, 1, 2]
        torch.testing.assert_close(scores[name][rest], with_all[name][rest], rtol=0, atol=0)


def test_foreground_at_the_border_alone_has_no_window_of_ssim():
    prediction, truth = images(1, 32, 32)
    mask = torch.zeros_like(truth, dtype=torch.bool)
    mask[..., :5, :] = True
    scores = score(prediction, truth, mask)
    assert scores["ssim_foreground"].isnan().all() and scores["psnr_foreground"].isfinite().all()


def test_a_perfect_prediction_has_the_best_of_all_scores():
    truth = images(2, 180, 180)[1]
    scores = score(truth, truth, blobs(2, 180, 180))
    best = {"psnr": math.inf, "psnr_foreground": math.inf, "consistency": 0}
    for name in SLICE_MEASURES:
        assert scores[name].tolist() == pytest.approx([best.get(name, 1)] * 2, abs=1e-9)


def test_slices_are_scored_on_their_own():
    prediction, truth = images(3, 40, 44)
    mask = blobs(3, 40, 44)
    together = score(prediction, truth, mask)
    for i in range(3):
        alone = score(prediction[i : i + 1], truth[i : i + 1], mask[i : i + 1])
        for name in SLICE_MEASURES:
            torch.testing.assert_close(alone[name], together[name][i : i + 1], rtol=1e-6, atol=1e-7, equal_nan=True)


def test_the_measures_are_in_the_order_of_tables_and_in_float64():
    prediction, truth = images(2, 24, 24)
    scores = slice_scores(prediction, truth, torch.ones_like(truth, dtype=torch.bool), 2.0)
    assert tuple(scores) == tuple(measure for measure in SLICE_MEASURES if measure != "consistency")
    assert {values.dtype for values in scores.values()} == {torch.float64}
