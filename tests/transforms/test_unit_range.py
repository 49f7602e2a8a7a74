import math

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd

from miassr_monai.transforms import ScaleToUnitRange, ScaleToUnitRanged


def brain(*shape, seed=0):
    """Intensities of an MR image: many dark voxels, a long bright tail."""
    return (np.random.default_rng(seed).gamma(2.0, 150.0, shape) + 20).astype(np.float32)


@pytest.mark.parametrize(("lower", "upper"), [(0, 99.95), (0, 100), (1, 99), (2.5, 60)])
def test_the_percentiles_of_each_channel_become_zero_and_one(lower, upper):
    image = brain(2, 12, 11, 10) * np.array([1, 30], np.float32).reshape(2, 1, 1, 1)
    low, high = np.percentile(image.astype(np.float64), [lower, upper], axis=(1, 2, 3), keepdims=True)
    scaled = ScaleToUnitRange(lower, upper)(image)
    assert scaled.dtype == torch.float32
    np.testing.assert_allclose(scaled, (image - low) / (high - low), rtol=1e-5, atol=1e-6)


def test_the_defaults_are_the_minimum_and_the_percentile_99_95():
    image = brain(1, 40, 40, 4)
    scaled = ScaleToUnitRange()(image)
    assert scaled.min() == 0
    assert (scaled > 1).sum() == math.ceil(0.0005 * image.size)
    in_dictionary = ScaleToUnitRanged("image")({"image": image})["image"]
    torch.testing.assert_close(in_dictionary, scaled, rtol=0, atol=0)


def test_a_channel_that_is_missing_stays_zero_and_one_that_is_constant_is_named():
    image = MetaTensor(np.concatenate([brain(1, 5, 5), np.zeros((1, 5, 5), np.float32)]))
    with pytest.raises(ValueError, match=r"channel 1 of the image is constant \(0\) between its percentiles"):
        ScaleToUnitRange()(image)
    image.meta["missing_channels"] = [1]
    scaler = ScaleToUnitRange()
    scaled = scaler(image)
    assert (scaled[0].min(), scaled[1].aminmax()) == (0, (0, 0))
    np.testing.assert_allclose(scaler.inverse(scaled), image, rtol=1e-5)


def test_a_window_maps_hounsfield_units():
    image = np.array([[[-1000.0, -160.0, 40.0, 240.0, 3000.0]]])
    scaled = ScaleToUnitRange(-160, 240, window=True)(image)
    np.testing.assert_allclose(scaled, [[[-2.1, 0.0, 0.5, 1.0, 7.9]]], rtol=1e-6)
    clipped = ScaleToUnitRange(-160, 240, window=True, clip=True)(image)
    np.testing.assert_allclose(clipped, [[[0.0, 0.0, 0.5, 1.0, 1.0]]], rtol=1e-6)


def test_a_window_needs_no_contrast_in_the_image():
    scaled = ScaleToUnitRange(-100, 300, window=True)(torch.zeros(1, 3, 3))
    torch.testing.assert_close(scaled.as_tensor(), torch.full((1, 3, 3), 0.25))


@pytest.mark.parametrize("clip", [False, True])
def test_only_clipping_loses_the_values_beyond_the_percentiles(clip):
    image = brain(1, 15, 15, 5)
    low, high = np.percentile(image, [5, 95])
    scaler = ScaleToUnitRange(5, 95, clip=clip)
    expected = np.clip(image, low, high) if clip else image
    np.testing.assert_allclose(scaler.inverse(scaler(image)), expected, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    offset=st.floats(-2000, 2000),
    spread=st.floats(10, 1e5),
    percentiles=st.tuples(st.floats(0, 40), st.floats(60, 100)),
    size=st.tuples(*[st.integers(3, 6)] * 3),
)
def test_the_inverse_returns_the_original(offset, spread, percentiles, size):
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(0)) * spread + offset
    scaler = ScaleToUnitRange(*percentiles)
    restored = scaler.inverse(scaler(image)).as_tensor()
    torch.testing.assert_close(restored, image, rtol=1e-5, atol=1e-5 * (spread + abs(offset)))


def test_the_inverse_returns_what_was_made_of_the_image_to_its_units():
    image = brain(1, 8, 8, 8)
    scaler = ScaleToUnitRange()
    halved = scaler.inverse(scaler(image) / 2)
    np.testing.assert_allclose(halved, (image + image.min()) / 2, rtol=1e-5)
    mean = scaler.inverse(scaler(image).mean(dim=-1, keepdim=True))
    np.testing.assert_allclose(mean, image.mean(axis=-1, keepdims=True), rtol=1e-5)


def test_the_inverse_forgets_the_operation_and_keeps_earlier_ones(affine):
    image = MetaTensor(
        brain(1, 5, 6, 7), affine=affine, meta={"note": "kept"}, applied_operations=[{"class": "Earlier"}]
    )
    scaler = ScaleToUnitRange()
    scaled = scaler(image)
    assert [operation["class"] for operation in scaled.applied_operations] == ["Earlier", "ScaleToUnitRange"]
    assert image.applied_operations == [{"class": "Earlier"}]
    restored = scaler.inverse(scaled)
    assert restored.applied_operations == [{"class": "Earlier"}]
    assert restored.meta["note"] == "kept"
    torch.testing.assert_close(restored.affine, affine)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_any_type_is_scaled_in_single_precision(dtype):
    image = np.arange(12, dtype=dtype).reshape(1, 3, 4)
    scaled = ScaleToUnitRange(0, 100)(image)
    assert scaled.dtype == torch.float32
    np.testing.assert_allclose(scaled, image / 11, rtol=1e-6)


@pytest.mark.usefixtures("track_meta_off")
def test_without_metadata_a_plain_tensor_comes_back():
    scaled = ScaleToUnitRange(0, 100)(torch.arange(5.0).view(1, 5))
    assert type(scaled) is torch.Tensor
    torch.testing.assert_close(scaled, torch.arange(5.0).view(1, 5) / 4)


def test_each_key_has_its_own_range():
    data = {"image": brain(1, 6, 6, 6), "other": 10 * brain(1, 7, 5, 5, seed=1), "label": 5}
    scaler = ScaleToUnitRanged(["image", "other"], 1, 90)
    scaled = scaler(data)
    for key in ("image", "other"):
        low, high = np.percentile(data[key], [1, 90])
        np.testing.assert_allclose(scaled[key], (data[key] - low) / (high - low), rtol=1e-5, atol=1e-6)
    restored = scaler.inverse(scaled)
    for key in ("image", "other"):
        np.testing.assert_allclose(restored[key], data[key], rtol=1e-5)
    assert restored["label"] == 5


def test_the_dictionary_form_passes_window_and_clip_on():
    scaler = ScaleToUnitRanged("image", -100, 300, window=True, clip=True)
    scaled = scaler({"image": np.array([[-500.0, 0.0, 900.0]])})["image"]
    np.testing.assert_allclose(scaled, [[0.0, 0.25, 1.0]])


def test_a_missing_key_is_allowed_only_on_request():
    data = {"image": brain(1, 4, 4)}
    with pytest.raises(KeyError, match="label"):
        ScaleToUnitRanged(["image", "label"])(data)
    scaler = ScaleToUnitRanged(["image", "label"], allow_missing_keys=True)
    np.testing.assert_allclose(scaler.inverse(scaler(data))["image"], data["image"], rtol=1e-5)


@pytest.mark.parametrize("first", ["orient", "scale"])
@pytest.mark.parametrize("axcodes", ["LPS", "PSR", "AIL"])
def test_a_composition_with_a_reorientation_is_undone(axcodes, first):
    to_file = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes)
    )
    file = nib.Nifti1Image(brain(5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0])).as_reoriented(to_file)
    image = MetaTensor(np.ascontiguousarray(file.dataobj)[None], affine=torch.from_numpy(file.affine))
    steps = [Orientationd("image", "RAS", labels=None), ScaleToUnitRanged("image", 2, 98)]
    pipeline = Compose(steps if first == "orient" else steps[::-1])
    out = pipeline({"image": image})
    low, high = np.percentile(brain(5, 6, 7), [2, 98])
    np.testing.assert_allclose(out["image"][0], (brain(5, 6, 7) - low) / (high - low), rtol=1e-5, atol=1e-6)
    restored = pipeline.inverse(out)["image"]
    np.testing.assert_allclose(restored, image, rtol=1e-5)
    np.testing.assert_allclose(restored.affine, file.affine, atol=1e-9)


@pytest.mark.parametrize("image", [torch.zeros(1, 4, 4), torch.full((1, 3, 3, 3), 7.0)])
def test_a_constant_image_is_refused(image):
    with pytest.raises(ValueError, match="the image is constant"):
        ScaleToUnitRange()(image)


def test_an_image_with_nothing_between_its_percentiles_is_refused():
    image = torch.zeros(1, 100, 100)
    image[0, 0, 0] = 1.0
    with pytest.raises(ValueError, match=r"between its percentiles 0 and 99\.95"):
        ScaleToUnitRange()(image)


@pytest.mark.parametrize("limits", [(5, 5), (60, 40), (math.nan, 99)])
@pytest.mark.parametrize("window", [False, True])
def test_a_range_without_width_is_refused(limits, window):
    with pytest.raises(ValueError, match="lower must be below upper"):
        ScaleToUnitRange(*limits, window=window)


@pytest.mark.parametrize("limits", [(-1, 99), (1, 101)])
def test_percentiles_beyond_0_to_100_are_refused(limits):
    with pytest.raises(ValueError, match="percentiles must lie in"):
        ScaleToUnitRanged("image", *limits)
