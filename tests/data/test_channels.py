import re

import numpy as np
import pytest
import torch
from volumes import AFFINE, voxels, write_nifti

from miassr_monai.data import LoadVolumed, VolumeError, load_datalist, load_volume, write_datalist


@pytest.fixture
def contrasts(tmp_path):
    """Files of two contrasts of one patient, in other types of voxels."""
    first, second = voxels(), voxels().astype(np.float32)[::-1] / 2
    return [write_nifti(tmp_path / "t1.nii.gz", first), write_nifti(tmp_path / "t2.nii", second)], [first, second]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_files_are_channels_in_their_order(contrasts, order):
    paths, values = contrasts
    image = load_volume([paths[number] for number in order])
    assert np.array_equal(image.numpy(), np.stack([values[number] for number in order]).astype(np.float32))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    # int16 and float32.
    assert image.meta["original_dtype"] == "float32" and "missing_channels" not in image.meta
    assert load_volume([paths[0], paths[0]]).meta["original_dtype"] == "int16"


def test_a_missing_channel_is_refused_or_filled_with_zeros_as_told(contrasts):
    (path, _), (values, _) = contrasts
    with pytest.raises(VolumeError, match=f"channel 0 of the image beside {re.escape(str(path))} is missing: give it"):
        load_volume([None, path])
    image = LoadVolumed("image", channels=3, fill_missing=True)({"image": [None, str(path), None]})["image"]
    assert image.meta["missing_channels"] == [0, 2]
    assert torch.equal(image[1].as_tensor(), torch.as_tensor(values, dtype=torch.float32))
    assert not image[[0, 2]].any()
    with pytest.raises(VolumeError, match="none of the 2 images of the channels is given"):
        load_volume([None, None], fill_missing=True)


def moved(offset):
    affine = AFFINE.copy()
    affine[:3, 3] += offset
    return affine


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": voxels((3, 4, 6))}, "t2.nii has 3 x 4 x 6 voxels, but .*t1.nii.gz has 3 x 4 x 5: resample one"),
        ({"affine": moved([3, 4, 0])}, "t2.nii lies up to 5 mm from .*t1.nii.gz: resample one to the grid"),
        ({"affine": AFFINE @ np.diag([1, 1, 1.01, 1])}, "t2.nii lies up to 0.1 mm from"),
        ({"data": voxels((3, 4, 5, 2))}, "t2.nii has 2 channels, but is to be one channel of an image: split it"),
        # Headers are rounded.
        ({"affine": moved([1e-4, 0, 0])}, None),
    ],
    ids=["size", "place", "spacing", "channels", "rounded"],
)
def test_only_channels_on_one_grid_are_taken(tmp_path, changes, message):
    paths = [write_nifti(tmp_path / "t1.nii.gz"), write_nifti(tmp_path / "t2.nii", **changes)]
    if message is None:
        assert load_volume(paths).shape == (2, 3, 4, 5)
        return
    with pytest.raises(VolumeError, match=message):
        load_volume(paths)


def test_a_datalist_may_have_a_missing_channel(contrasts, tmp_path):
    (path, _), _ = contrasts
    write_datalist(tmp_path / "datalist.json", "mine", {"test": [{"image": [None, path], "contrast": ["t2", "t1"]}]})
    (item,) = load_datalist(tmp_path, "test")
    assert item == {"image": [None, str(path)], "contrast": ["t2", "t1"]}
