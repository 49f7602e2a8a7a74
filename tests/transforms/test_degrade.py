import math

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from miassr_monai.degradations import parse_degradation, psf_degradation, rician_noise
from miassr_monai.transforms import Degrade, Degraded

TEXTS = ["area", "kspace:window=hann", "paper", "psf:fwhm=0.8"]
EVERY = pytest.mark.parametrize("text", TEXTS)
SLICE_AXES = pytest.mark.parametrize("slice_axis", [-1, -3, 0, 1, 2])


def random_image(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def meta_image(image, affine):
    meta = {"filename_or_obj": "brain.nii.gz", "note": "kept"}
    return MetaTensor(image, affine=affine, meta=meta, applied_operations=[{"class": "Earlier"}])


@EVERY
@settings(deadline=None, max_examples=15)
@given(
    size=st.tuples(*[st.integers(6, 11)] * 3),
    slice_axis=st.integers(-3, 2),
    scale=st.sampled_from([1.0, 1.5, 2.3, 3.7, (1.0, 2.5), (3.7, 1.1)]),
)
def test_a_volume_is_degraded_slice_by_slice(text, size, slice_axis, scale):
    volume = random_image(2, *size)
    degraded = Degrade(text, scale, slice_axis=slice_axis)(volume)
    axis = slice_axis % 3 + 1
    assert degraded.size(axis) == volume.size(axis)
    for index in range(volume.size(axis)):
        expected = parse_degradation(text)(volume.select(axis, index), scale)
        torch.testing.assert_close(degraded.as_tensor().select(axis, index), expected, rtol=0, atol=1e-12)


@EVERY
@pytest.mark.parametrize("slice_axis", [-1, 0])
def test_a_2d_image_is_one_slice_whatever_the_slice_axis(text, slice_axis):
    image = random_image(3, 13, 10)
    degraded = Degrade(text, 2.3, slice_axis=slice_axis)(image)
    torch.testing.assert_close(degraded.as_tensor(), parse_degradation(text)(image, 2.3), rtol=0, atol=1e-12)


@EVERY
@SLICE_AXES
@pytest.mark.parametrize("scale", [2.3, 3, (1.5, 4), (4, 1)])
def test_the_outer_corner_stays_and_only_the_in_plane_spacing_grows(text, affine, slice_axis, scale):
    small = Degrade(text, scale, slice_axis=slice_axis)(meta_image(torch.zeros(1, 8, 9, 10), affine))
    corner = [-0.5, -0.5, -0.5, 1.0]
    before, after = affine.numpy(), small.affine.numpy()
    np.testing.assert_allclose(after @ corner, before @ corner, atol=1e-9)
    factors = np.insert(np.broadcast_to(np.array(scale, float), 2), slice_axis % 3, 1.0)
    np.testing.assert_allclose(after[:3, :3], before[:3, :3] * factors, atol=1e-9)
    np.testing.assert_allclose(small.pixdim, nib.affines.voxel_sizes(before) * factors, atol=1e-9)


def test_a_2d_image_with_a_3d_affine_keeps_its_slice_thickness(world_ramp, affine):
    image = meta_image(world_ramp((15, 18), affine).unsqueeze(0), affine)
    small = Degrade("area", (5, 3))(image)
    torch.testing.assert_close(small.as_tensor()[0], world_ramp((3, 6), small.affine), rtol=0, atol=1e-9)
    torch.testing.assert_close(small.affine[:, 2], affine[:, 2])


def test_a_2d_image_with_a_planar_affine_keeps_its_corner():
    affine = torch.tensor([[0.6, -0.8, 12.0], [0.8, 0.6, -7.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    small = Degrade("area", 2.5)(MetaTensor(torch.zeros(1, 10, 10), affine=affine))
    corner = torch.tensor([-0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(small.affine @ corner, affine @ corner)
    torch.testing.assert_close(small.affine[:2, :2], affine[:2, :2] * 2.5)


@EVERY
def test_metadata_is_kept_and_the_input_is_not_touched(text, affine):
    image = meta_image(random_image(1, 8, 8, 4), affine)
    values = image.as_tensor().clone()
    small = Degrade(text, 2)(image)
    assert small.meta["filename_or_obj"] == "brain.nii.gz"
    assert small.meta["note"] == "kept"
    assert small.applied_operations == [{"class": "Earlier"}]
    small.applied_operations.append({"class": "Later"})
    small.meta["note"] = "changed"
    assert image.applied_operations == [{"class": "Earlier"}]
    assert image.meta["note"] == "kept"
    torch.testing.assert_close(image.affine, affine)
    torch.testing.assert_close(image.as_tensor(), values, rtol=0, atol=0)


@EVERY
def test_arrays_and_plain_tensors_are_taken(text):
    image = random_image(2, 9, 12)
    expected = parse_degradation(text)(image, 1.5)
    for given_as in (image, image.numpy(), MetaTensor(image)):
        torch.testing.assert_close(Degrade(text, 1.5)(given_as).as_tensor(), expected, rtol=0, atol=0)


@EVERY
@pytest.mark.usefixtures("track_meta_off")
def test_without_metadata_a_plain_tensor_comes_back(text):
    image = random_image(2, 9, 12, 3)
    small = Degrade(text, 1.5, slice_axis=2)(image)
    assert type(small) is torch.Tensor
    torch.testing.assert_close(small[..., 1], parse_degradation(text)(image[..., 1], 1.5), rtol=0, atol=1e-12)


@EVERY
def test_an_integer_image_is_not_degraded_to_nothing(text):
    image = np.full((1, 8, 8), 100, dtype=np.int16)
    small = Degrade(text, 2)(image)
    torch.testing.assert_close(small.as_tensor().double(), torch.full((1, 4, 4), 100.0, dtype=torch.float64))


@EVERY
def test_dictionary_form_equals_array_form(text, affine):
    image, other = (meta_image(random_image(1, *size), affine) for size in ((9, 8, 7), (6, 9, 9)))
    data = {"image": image, "other": other, "label": 5}
    out = Degraded(["image", "other"], text, 1.5, slice_axis=1)(data)
    for key in ("image", "other"):
        expected = Degrade(text, 1.5, slice_axis=1)(data[key])
        torch.testing.assert_close(out[key].as_tensor(), expected.as_tensor(), rtol=0, atol=0)
        torch.testing.assert_close(out[key].affine, expected.affine, rtol=0, atol=0)
    assert out["label"] == 5
    assert data["image"] is image


@EVERY
def test_a_missing_key_is_allowed_only_on_request(text):
    data = {"image": random_image(1, 6, 6)}
    with pytest.raises(KeyError, match="label"):
        Degraded(["image", "label"], text, 2)(data)
    out = Degraded(["image", "label"], text, 2, allow_missing_keys=True)(data)
    assert out.keys() == {"image"}
    torch.testing.assert_close(out["image"], Degrade(text, 2)(data["image"]), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [0.5, 0.0, -2.0, math.nan, math.inf, (2.0, 0.5), [math.nan, 2.0]])
@EVERY
def test_impossible_scales_are_refused_at_once(text, scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        Degrade(text, scale)
    with pytest.raises(ValueError, match="scale must be a finite number"):
        Degraded("image", text, scale)


@pytest.mark.parametrize("slice_axis", [-1, 0, 1])
@pytest.mark.parametrize("scale", [1.5, 2, 2.3, 3.7, (3.7, 1.5), (1, 2), (1.5, 2, 1.2)])
def test_a_ramp_has_the_values_that_the_affine_promises(world_ramp, affine, scale, slice_axis):
    size = [40, 44, 48]
    three = isinstance(scale, tuple) and len(scale) == 3
    if not three:
        size[slice_axis] = 3
    image = MetaTensor(world_ramp(size, affine).unsqueeze(0), affine=affine)
    small = Degrade("psf", scale, slice_axis=slice_axis)(image)
    difference = small.as_tensor()[0] - world_ramp(small.shape[1:], small.affine)
    inner = difference.movedim(slice_axis, 0)[8 if three else 0 : -8 if three else None, 4:-4, 4:-4]
    assert min(inner.shape) >= 2
    torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=5e-4 if three else 2e-5)


@EVERY
def test_a_scale_for_each_axis_of_a_volume_leaves_none_out(text, affine):
    image, scale = meta_image(random_image(2, 9, 10, 11), affine), (1.5, 2, 1)
    small = Degrade(text, scale, slice_axis=0)(image)
    torch.testing.assert_close(small.as_tensor(), parse_degradation(text)(image.as_tensor(), scale), rtol=0, atol=0)
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(small.affine @ corner, affine @ corner)
    torch.testing.assert_close(small.affine[:3, :3], affine[:3, :3] * torch.tensor(scale, dtype=torch.float64))


def test_parameters_are_those_of_the_degradation_and_a_function_is_taken_as_it_is():
    image = random_image(2, 12, 14)
    generator = torch.Generator().manual_seed(4)
    expected = rician_noise(psf_degradation(image, 2, fwhm=(0.8, 1.2)), 0.02, generator=generator)
    for degrade in (
        Degrade("psf", 2, fwhm=(0.8, 1.2), noise=0.02, seed=4),
        Degrade("psf:fwhm=0.8x1.2", 2, noise=0.02, seed=4),
        Degrade(parse_degradation("psf:fwhm=0.8x1.2,noise=0.02,seed=4"), 2),
    ):
        torch.testing.assert_close(degrade(image).as_tensor(), expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match="psf has no parameter 'window'"):
        Degraded("image", "psf", 2, window="hann")


@pytest.mark.parametrize(("size", "scale"), [((8, 9), (2, 2, 2)), ((8, 9, 10), (2,))])
def test_a_scale_that_does_not_fit_the_image_is_refused(size, scale):
    with pytest.raises(ValueError, match=f"has {len(scale)} axes, but 2 are needed"):
        Degrade("area", scale)(torch.zeros(1, *size))
