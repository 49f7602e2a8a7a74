import nibabel as nib
import numpy as np
import pytest
import torch

from miassr_monai.data import LoadVolumed, VolumeError, load_volume


@pytest.fixture
def make(tmp_path):
    """Write a volume of some size."""

    def write(size, name="volume.nii.gz"):
        values = np.random.default_rng(0).normal(size=size).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.diag([2.0, 1.5, 3.0, 1.0])), tmp_path / name)
        return tmp_path / name

    return write


def test_images_are_those_of_load_volume(make):
    paths = {"first": make((4, 5, 6), "a.nii"), "second": make((3, 4, 5, 2), "b.nii.gz")}
    out = LoadVolumed(["first", "second"])({**paths, "subject": "p1"})
    assert out.pop("subject") == "p1"
    for key, path in paths.items():
        expected = load_volume(path)
        assert torch.equal(out[key].as_tensor(), expected.as_tensor())
        assert torch.equal(out[key].affine, expected.affine) and out[key].meta["filename_or_obj"] == str(path)


@pytest.mark.parametrize("size", [(4, 5), (4, 5, 1), (4, 5, 6)])
def test_a_slice_is_a_volume_of_one_where_volumes_are_wanted(make, size):
    path = make(size)
    volume = LoadVolumed("image", spatial_dims=3)({"image": path})["image"]
    assert volume.shape[1:] == (*size, 1)[:3]
    assert torch.equal(volume.flatten(), load_volume(path).flatten())
    assert torch.equal(volume.affine, load_volume(path).affine)


def test_an_image_of_other_axes_is_refused_by_name(make):
    path = make((4, 5, 6))
    with pytest.raises(VolumeError, match=f"{path} has 3 spatial axes, but 2 are needed: leave it out"):
        LoadVolumed("image", spatial_dims=2)({"image": path})


@pytest.mark.parametrize(("channels", "refused"), [(1, True), (2, False), (3, True), (None, False)])
def test_an_image_of_other_channels_is_refused_by_name(make, channels, refused):
    path = make((4, 5, 6, 2))
    load = LoadVolumed("image", channels=channels)
    if not refused:
        assert len(load({"image": path})["image"]) == 2
        return
    with pytest.raises(VolumeError, match=rf"{path} has 2 channel\(s\), but {channels} \(channels\) are needed"):
        load({"image": path})


@pytest.mark.parametrize("damage", ["cut", "nan", "constant"])
def test_a_damaged_image_is_refused_by_name(make, damage):
    path = make((4, 5, 6))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        values = np.full((4, 5, 6), 7.0, dtype=np.float32)
        values[1, 1, 1] = np.nan if damage == "nan" else 7.0
        nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    with pytest.raises(VolumeError, match=str(path)):
        LoadVolumed("image")({"image": path})


def test_a_missing_key_is_allowed_only_on_request(make):
    data = {"image": make((4, 5, 6))}
    with pytest.raises(KeyError, match="label"):
        LoadVolumed(["image", "label"])(data)
    assert LoadVolumed(["image", "label"], allow_missing_keys=True)(data).keys() == {"image"}
