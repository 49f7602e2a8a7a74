import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from miassr_monai.transforms import DropEmptySlices, DropEmptySlicesd


def volume_with_content_in(kept, depth, slice_axis=-1, channels=1):
    """Volume with content in the slices ``kept``; the others are constant, each at its own level."""
    volume = torch.arange(float(depth)).expand(channels, 4, 5, depth).clone()
    content = torch.rand(channels, 4, 5, len(kept), generator=torch.Generator().manual_seed(1))
    volume[..., list(kept)] = content
    return volume.movedim(-1, slice_axis % 3 + 1)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), depth=st.integers(1, 7), slice_axis=st.integers(-3, 2), channels=st.integers(1, 2))
def test_the_slices_that_are_not_constant_survive_in_their_order(data, depth, slice_axis, channels):
    kept = sorted(data.draw(st.sets(st.integers(0, depth - 1), min_size=1)))
    volume = volume_with_content_in(kept, depth, slice_axis, channels)
    survivors = DropEmptySlices(slice_axis)(volume).as_tensor()
    expected = volume.index_select(slice_axis % 3 + 1, torch.tensor(kept))
    torch.testing.assert_close(survivors, expected, rtol=0, atol=0)


def test_one_voxel_that_differs_is_content_whatever_its_sign():
    volume = torch.zeros(1, 4, 5, 3)
    volume[0, 2, 2, 1] = -1e-6
    torch.testing.assert_close(DropEmptySlices()(volume).as_tensor(), volume[..., 1:2], rtol=0, atol=0)


def test_content_in_one_channel_keeps_the_slice_in_all():
    volume = torch.zeros(2, 4, 5, 4)
    volume[0, 1, 1, 1] = 1.0
    volume[1, 1, 1, 3] = 1.0
    torch.testing.assert_close(DropEmptySlices()(volume).as_tensor(), volume[..., [1, 3]], rtol=0, atol=0)


def test_channels_that_are_constant_at_different_levels_are_empty():
    volume = torch.zeros(2, 4, 5, 2)
    volume[1] = 1.0
    volume[0, 0, 0, 1] = 5.0
    torch.testing.assert_close(DropEmptySlices()(volume).as_tensor(), volume[..., 1:], rtol=0, atol=0)


@pytest.mark.parametrize("slice_axis", [-1, 0, 1, 2])
def test_the_affine_is_that_of_the_first_slice_that_is_kept(world_ramp, affine, slice_axis):
    ramp = world_ramp((6, 7, 8), affine)
    volume = torch.zeros_like(ramp)
    volume.movedim(slice_axis, 0)[2:5] = ramp.movedim(slice_axis, 0)[2:5]
    survivors = DropEmptySlices(slice_axis)(MetaTensor(volume.unsqueeze(0), affine=affine.clone()))
    expected = world_ramp(survivors.shape[1:], survivors.affine)
    torch.testing.assert_close(survivors.as_tensor()[0], expected, rtol=0, atol=1e-9)


def test_a_gap_is_closed_up_behind_the_first_slice(world_ramp, affine):
    ramp = world_ramp((4, 5, 8), affine)
    volume = torch.zeros_like(ramp)
    volume[..., [1, 2, 6]] = ramp[..., [1, 2, 6]]
    survivors = DropEmptySlices()(MetaTensor(volume.unsqueeze(0), affine=affine.clone()))
    torch.testing.assert_close(survivors.as_tensor()[0], ramp[..., [1, 2, 6]], rtol=0, atol=0)
    torch.testing.assert_close(world_ramp((4, 5, 2), survivors.affine), ramp[..., 1:3], rtol=0, atol=1e-9)


def test_metadata_is_kept(affine):
    meta, applied = {"note": "kept"}, [{"class": "Earlier"}]
    volume = MetaTensor(volume_with_content_in([1], 3), affine=affine, meta=meta, applied_operations=applied)
    survivors = DropEmptySlices()(volume)
    assert survivors.meta["note"] == "kept"
    assert survivors.applied_operations == [{"class": "Earlier"}]


def test_the_input_is_not_touched(affine):
    volume = MetaTensor(volume_with_content_in([2], 4), affine=affine.clone())
    DropEmptySlices()(volume)
    torch.testing.assert_close(volume.affine, affine)


def test_arrays_are_taken():
    volume = volume_with_content_in([1, 3], 5).numpy()
    np.testing.assert_array_equal(DropEmptySlices()(volume), volume[..., [1, 3]])


@pytest.mark.usefixtures("track_meta_off")
def test_without_metadata_a_plain_tensor_comes_back():
    volume = volume_with_content_in([1, 3], 5)
    survivors = DropEmptySlices()(volume)
    assert type(survivors) is torch.Tensor
    torch.testing.assert_close(survivors, volume[..., [1, 3]], rtol=0, atol=0)


def test_each_key_drops_its_own_slices():
    data = {"image": volume_with_content_in([0, 2], 3, 0), "other": volume_with_content_in([1], 4, 0), "label": 5}
    out = DropEmptySlicesd(["image", "other"], 0)(data)
    torch.testing.assert_close(out["image"].as_tensor(), data["image"][:, [0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(out["other"].as_tensor(), data["other"][:, [1]], rtol=0, atol=0)
    assert out["label"] == 5


def test_a_missing_key_is_allowed_only_on_request():
    data = {"image": volume_with_content_in([1], 3)}
    with pytest.raises(KeyError, match="label"):
        DropEmptySlicesd(["image", "label"])(data)
    assert DropEmptySlicesd(["image", "label"], allow_missing_keys=True)(data).keys() == {"image"}


def test_a_volume_without_content_is_refused():
    with pytest.raises(ValueError, match="every slice of the image is constant"):
        DropEmptySlices()(torch.arange(4.0).expand(1, 3, 3, 4))


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 4, 4, 4, 4)])
def test_an_image_of_another_rank_is_refused(shape):
    with pytest.raises(ValueError, match=r"needs a 3-D image .*, but the image is"):
        DropEmptySlices()(torch.rand(shape))
