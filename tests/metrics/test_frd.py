import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.utils import OptionalImportError, optional_import
from PIL import Image
from scipy.ndimage import gaussian_filter

from miassr_monai.metrics import frd, radiomics_features

INSTALLED = all(optional_import(name)[1] for name in ("frd_score", "radiomics"))
needs_library = pytest.mark.skipif(not INSTALLED, reason="frd-score or pyradiomics is not installed")


def textures(count, sigma, seed, size=(36, 40)):
    """Images ``(N, 1, H, W)`` of blurred noise, with 8-bit values."""
    generator = np.random.default_rng(seed)
    noise = np.stack([gaussian_filter(generator.standard_normal(size), sigma) for _ in range(count)])
    low, high = noise.min((1, 2), keepdims=True), noise.max((1, 2), keepdims=True)
    return torch.from_numpy(((noise - low) / (high - low) * 255).round() / 255).float()[:, None]


def write(folder, images):
    """Write images as a folder of PNGs, and return the folder's path."""
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(folder / f"{index:03d}.png")
    return str(folder)


@pytest.fixture(scope="module")
def truth():
    return textures(6, 1.0, seed=0)


@pytest.fixture(scope="module")
def truth_features(truth):
    return radiomics_features(truth)


@needs_library
@pytest.mark.parametrize(("count", "sigma"), [(5, 1.6), (9, 1.0)])
def test_the_distance_is_the_library_s_of_folders_of_images(tmp_path, truth, truth_features, count, sigma):
    import frd_score

    images = textures(count, sigma, seed=1)
    paths = [write(tmp_path / "truth", truth), write(tmp_path / "images", images)]
    expected = frd_score.compute_frd(paths, num_workers=1)
    assert frd(truth_features, radiomics_features(images), rounding=0) == pytest.approx(expected, rel=1e-6)
    # The library normalises by the first set, so that the distance depends on which is true.
    expected = frd_score.compute_frd(paths[::-1], num_workers=1)
    assert frd(radiomics_features(images), truth_features, rounding=0) == pytest.approx(expected, rel=1e-6)


@needs_library
def test_features_are_the_library_s_of_a_png(tmp_path, truth, truth_features):
    from frd_score import frd as library

    folder = tmp_path / "truth"
    write(folder, truth)
    extractor = library.get_feature_extractor(image_dim=2)
    expected, names, _ = library.compute_features(sorted(folder.iterdir()), extractor, num_workers=1)
    assert truth_features.shape == expected.shape == (6, len(names[0]))
    assert truth_features.dtype == np.float64
    np.testing.assert_array_equal(truth_features, expected)


@needs_library
def test_features_do_not_depend_on_the_workers_or_on_the_other_images(truth, truth_features):
    np.testing.assert_array_equal(radiomics_features(truth[2:4], workers=2), truth_features[2:4])


@needs_library
def test_values_outside_of_0_to_1_are_clipped(truth):
    image = 2 * truth[:1] - 0.5
    np.testing.assert_array_equal(radiomics_features(image), radiomics_features(image.clip(0, 1)))


@needs_library
def test_a_background_of_almost_0_counts_as_0(truth):
    image = truth[:1].clone()
    image[..., :12] = 0
    almost = torch.where(image == 0, 1e-3, image)
    np.testing.assert_array_equal(radiomics_features(almost), radiomics_features(image))


@needs_library
def test_a_set_has_no_distance_to_itself_and_less_to_its_like_than_to_others(truth_features):
    like, other = (frd(truth_features, radiomics_features(textures(6, s, seed=2))) for s in (1.0, 2.5))
    assert frd(truth_features, truth_features) < 0 < like < other


@needs_library
def test_samples_with_nans_are_left_out(truth_features):
    features = radiomics_features(textures(4, 1.6, seed=3))
    broken = np.full_like(features[:1], np.nan)
    assert frd(truth_features, np.concatenate([features, broken])) == frd(truth_features, features)


@needs_library
def test_features_that_are_constant_in_the_truth_up_to_rounding_are_left_out():
    generator = np.random.default_rng(0)
    truth, features = generator.standard_normal((9, 4)), generator.standard_normal((7, 4))
    for spread in (0, 1e-11):
        constant = spread * generator.standard_normal((9, 1)), 1e-6 * generator.standard_normal((7, 1))
        widened = [np.concatenate(pair, axis=1) for pair in zip((truth, features), constant, strict=True)]
        assert frd(*widened) == frd(truth, features)


@needs_library
def test_features_that_are_small_but_vary_count():
    generator = np.random.default_rng(0)
    truth, features = generator.standard_normal((9, 4)), generator.standard_normal((7, 4))
    assert frd(truth * 1e-6, features * 1e-6) == pytest.approx(frd(truth, features), rel=1e-5)


@needs_library
def test_the_distance_is_that_of_the_means_where_only_these_differ():
    truth = np.random.default_rng(0).standard_normal((40, 3))
    moved = truth + truth.std(0) * [3, 4, 12]
    assert frd(truth, moved) == pytest.approx(2 * math.log(13), rel=1e-5)


@needs_library
def test_a_truth_of_equal_samples_is_refused():
    with pytest.raises(ValueError, match="true samples that are all the same: give different images"):
        frd(np.ones((3, 2)), np.random.default_rng(0).standard_normal((4, 2)))


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4,), (4,)), ((4, 3), (3,))])
def test_features_of_another_shape_are_refused(shapes):
    with pytest.raises(ValueError, match=r"got features of shapes .*: give \(N, F\) and \(M, F\)"):
        frd(*map(np.zeros, shapes))


def test_fewer_than_two_samples_without_nans_are_refused():
    features = np.zeros((3, 2))
    features[:2, 1] = math.nan
    with pytest.raises(ValueError, match="got 5 true and 1 other samples without NaNs: give at least 2"):
        frd(np.zeros((5, 2)), features)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (8, 8), (0, 1, 8, 8)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"asked of images of shape .*: give \(N, 1, H, W\)"):
        radiomics_features(torch.rand(shape))


@pytest.mark.parametrize("value", [0.3, math.nan])
def test_images_without_a_texture_are_refused(value):
    images = torch.rand(3, 1, 8, 8)
    images[1] = value
    with pytest.raises(ValueError, match=r"constant or have NaNs, at index \[1\]: leave them out"):
        radiomics_features(images)


@pytest.mark.parametrize("missing", ["frd_score", "radiomics"])
def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch, missing):
    for name in list(sys.modules):
        if name.partition(".")[0] == missing:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OptionalImportError, match=r'pip install "miassr-monai\[eval\]"'):
        radiomics_features(torch.rand(1, 1, 8, 8))


def test_the_distance_names_its_missing_package_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "frd_score", None)
    with pytest.raises(OptionalImportError, match=r'pip install "miassr-monai\[eval\]"'):
        frd(np.zeros((2, 2)), np.ones((2, 2)))


@needs_library
def test_importing_the_metrics_does_not_import_the_library():
    # It would set the backend of Matplotlib.
    code = "import sys, miassr_monai.metrics; sys.exit('frd_score' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
