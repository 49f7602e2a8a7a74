import math

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from miassr_monai.resampling import bicubic_downsample
from miassr_monai.transforms import (
    Downsample,
    Downsampled,
    PaperDegradation,
    PaperDegradationd,
    PSFDegradation,
    PSFDegradationd,
    paper_degradation,
    psf_degradation,
)

KINDS = [
    (Downsample, Downsampled, bicubic_downsample),
    (PSFDegradation, PSFDegradationd, psf_degradation),
    (PaperDegradation, PaperDegradationd, paper_degradation),
]
NAMES = ["bicubic", "psf", "paper"]
KINDS_OF_ARRAY = pytest.mark.parametrize("transform", [kind[0] for kind in KINDS], ids=NAMES)
WITH_FUNCTION = pytest.mark.parametrize(("transform", "function"), [(k[0], k[2]) for k in KINDS], ids=NAMES)
WITH_DICTIONARY = pytest.mark.parametrize(("transform", "dictionary"), [k[:2] for k in KINDS], ids=NAMES)
SLICE_AXES = pytest.mark.parametrize("slice_axis", [-1, -3, 0, 1, 2])


def random_image(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def meta_image(image, affine):
    meta = {"filename_or_obj": "brain.nii.gz", "note": "kept"}
    return MetaTensor(image, affine=affine, meta=meta, applied_operations=[{"class": "Earlier"}])


@pytest.mark.parametrize("scale", [(2, 2), (4, 4), (2, 3), (1, 4)])
def test_downsample_is_pytorchs_bicubic_without_antialiasing(scale):
    image = random_image(2, 4 * scale[0], 5 * scale[1])
    expected = F.interpolate(image.unsqueeze(0), (4, 5), mode="bicubic")[0]
    torch.testing.assert_close(Downsample(scale)(image).as_tensor(), expected, rtol=0, atol=1e-12)


@WITH_FUNCTION
@settings(deadline=None, max_examples=15)
@given(
    size=st.tuples(*[st.integers(6, 11)] * 3),
    slice_axis=st.integers(-3, 2),
    scale=st.sampled_from([1.0, 1.5, 2.3, 3.7, (1.0, 2.5), (3.7, 1.1)]),
)
def test_a_volume_is_degraded_slice_by_slice(transform, function, size, slice_axis, scale):
    volume = random_image(2, *size)
    degraded = transform(scale, slice_axis=slice_axis)(volume)
    axis = slice_axis % 3 + 1
    assert degraded.size(axis) == volume.size(axis)
    for index in range(volume.size(axis)):
        expected = function(volume.select(axis, index), scale)
        torch.testing.assert_close(degraded.as_tensor().select(axis, index), expected, rtol=0, atol=1e-12)


@WITH_FUNCTION
@pytest.mark.parametrize("slice_axis", [-1, 0])
def test_a_2d_image_is_one_slice_whatever_the_slice_axis(transform, function, slice_axis):
    image = random_image(3, 13, 10)
    degraded = transform(2.3, slice_axis=slice_axis)(image)
    torch.testing.assert_close(degraded.as_tensor(), function(image, 2.3), rtol=0, atol=1e-12)


@SLICE_AXES
@pytest.mark.parametrize("scale", [3, (3, 5), [1, 3]])
def test_sampling_at_voxel_centres_gives_the_values_that_the_affine_promises(world_ramp, affine, scale, slice_axis):
    image = meta_image(world_ramp((15, 18, 21), affine).unsqueeze(0), affine)
    small = Downsample(scale, slice_axis=slice_axis)(image)
    expected = world_ramp(small.shape[1:], small.affine)
    torch.testing.assert_close(small.as_tensor()[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("slice_axis", [-1, 0])
@pytest.mark.parametrize("scale", [1.5, 2, 2.3, 4, (1.5, 2.3)])
def test_between_voxel_centres_the_values_are_within_a_twentieth_of_a_voxel(world_ramp, affine, scale, slice_axis):
    image = meta_image(world_ramp((24, 25, 26), affine).unsqueeze(0), affine)
    small = Downsample(scale, slice_axis=slice_axis)(image)
    difference = (small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine))[1:-1, 1:-1, 1:-1]
    steps = [world_ramp((2, 2, 2), affine).diff(dim=axis).abs().max() for axis in range(3) if axis != slice_axis % 3]
    assert difference.abs().max() < 0.049 * sum(steps)


@KINDS_OF_ARRAY
@SLICE_AXES
@pytest.mark.parametrize("scale", [2.3, 3, (1.5, 4), (4, 1)])
def test_the_outer_corner_stays_and_only_the_in_plane_spacing_grows(transform, affine, slice_axis, scale):
    small = transform(scale, slice_axis=slice_axis)(meta_image(torch.zeros(1, 8, 9, 10), affine))
    corner = [-0.5, -0.5, -0.5, 1.0]
    before, after = affine.numpy(), small.affine.numpy()
    np.testing.assert_allclose(after @ corner, before @ corner, atol=1e-9)
    factors = np.insert(np.broadcast_to(np.array(scale, float), 2), slice_axis % 3, 1.0)
    np.testing.assert_allclose(after[:3, :3], before[:3, :3] * factors, atol=1e-9)
    np.testing.assert_allclose(small.pixdim, nib.affines.voxel_sizes(before) * factors, atol=1e-9)


def test_a_2d_image_with_a_3d_affine_keeps_its_slice_thickness(world_ramp, affine):
    image = meta_image(world_ramp((15, 18), affine).unsqueeze(0), affine)
    small = Downsample((5, 3))(image)
    torch.testing.assert_close(small.as_tensor()[0], world_ramp((3, 6), small.affine), rtol=0, atol=1e-9)
    torch.testing.assert_close(small.affine[:, 2], affine[:, 2])


def test_a_2d_image_with_a_planar_affine_keeps_its_corner():
    affine = torch.tensor([[0.6, -0.8, 12.0], [0.8, 0.6, -7.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    small = Downsample(2.5)(MetaTensor(torch.zeros(1, 10, 10), affine=affine))
    corner = torch.tensor([-0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(small.affine @ corner, affine @ corner)
    torch.testing.assert_close(small.affine[:2, :2], affine[:2, :2] * 2.5)


@KINDS_OF_ARRAY
def test_metadata_is_kept_and_the_input_is_not_touched(transform, affine):
    image = meta_image(random_image(1, 8, 8, 4), affine)
    values = image.as_tensor().clone()
    small = transform(2)(image)
    assert small.meta["filename_or_obj"] == "brain.nii.gz"
    assert small.meta["note"] == "kept"
    assert small.applied_operations == [{"class": "Earlier"}]
    small.applied_operations.append({"class": "Later"})
    small.meta["note"] = "changed"
    assert image.applied_operations == [{"class": "Earlier"}]
    assert image.meta["note"] == "kept"
    torch.testing.assert_close(image.affine, affine)
    torch.testing.assert_close(image.as_tensor(), values, rtol=0, atol=0)


@WITH_FUNCTION
def test_arrays_and_plain_tensors_are_taken(transform, function):
    image = random_image(2, 9, 12)
    expected = function(image, 1.5)
    for given_as in (image, image.numpy(), MetaTensor(image)):
        torch.testing.assert_close(transform(1.5)(given_as).as_tensor(), expected, rtol=0, atol=0)


@WITH_FUNCTION
@pytest.mark.usefixtures("track_meta_off")
def test_without_metadata_a_plain_tensor_comes_back(transform, function):
    image = random_image(2, 9, 12, 3)
    small = transform(1.5, slice_axis=2)(image)
    assert type(small) is torch.Tensor
    torch.testing.assert_close(small[..., 1], function(image[..., 1], 1.5), rtol=0, atol=1e-12)


@KINDS_OF_ARRAY
def test_an_integer_image_is_not_degraded_to_nothing(transform):
    image = np.full((1, 8, 8), 100, dtype=np.int16)
    small = transform(2)(image)
    torch.testing.assert_close(small.as_tensor().double(), torch.full((1, 4, 4), 100.0, dtype=torch.float64))


@WITH_DICTIONARY
def test_dictionary_form_equals_array_form(transform, dictionary, affine):
    image, other = (meta_image(random_image(1, *size), affine) for size in ((9, 8, 7), (6, 9, 9)))
    data = {"image": image, "other": other, "label": 5}
    out = dictionary(["image", "other"], 1.5, slice_axis=1)(data)
    for key in ("image", "other"):
        expected = transform(1.5, slice_axis=1)(data[key])
        torch.testing.assert_close(out[key].as_tensor(), expected.as_tensor(), rtol=0, atol=0)
        torch.testing.assert_close(out[key].affine, expected.affine, rtol=0, atol=0)
    assert out["label"] == 5
    assert data["image"] is image


@WITH_DICTIONARY
def test_a_missing_key_is_allowed_only_on_request(transform, dictionary):
    data = {"image": random_image(1, 6, 6)}
    with pytest.raises(KeyError, match="label"):
        dictionary(["image", "label"], 2)(data)
    out = dictionary(["image", "label"], 2, allow_missing_keys=True)(data)
    assert out.keys() == {"image"}
    torch.testing.assert_close(out["image"], transform(2)(data["image"]), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [0.5, 0.0, -2.0, math.nan, math.inf, (2.0, 0.5), [math.nan, 2.0]])
@WITH_DICTIONARY
def test_impossible_scales_are_refused_at_once(transform, dictionary, scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        transform(scale)
    with pytest.raises(ValueError, match="scale must be a finite number"):
        dictionary("image", scale)
