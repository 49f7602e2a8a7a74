import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from skimage import io
from volumes import AFFINE, write_nifti

from miassr_monai.data import LoadVolumed, SaveVolumed


def test_a_result_has_the_kind_and_the_name_of_its_file(tmp_path):
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    io.imsave(tmp_path / "frame.png", pixels, check_contrast=False)
    picture = LoadVolumed("image", spatial_dims=3)({"image": tmp_path / "frame.png"})["image"]
    assert picture.shape == (1, 4, 5, 1)
    volume = LoadVolumed("image", spatial_dims=3)({"image": write_nifti(tmp_path / "a.nii.gz")})["image"]
    save = SaveVolumed("image", tmp_path / "out", "x2")
    for image in (picture, volume):
        save({"image": MetaTensor(image.as_tensor() + 300.4, meta=image.meta)})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x2.nii.gz", "frame_x2.png"]
    # Clipped to the bits that there are.
    np.testing.assert_array_equal(io.imread(tmp_path / "out" / "frame_x2.png"), np.full((4, 5), 255, np.uint8))
    saved = nib.load(tmp_path / "out" / "a_x2.nii.gz")
    assert saved.get_data_dtype() == np.float32
    np.testing.assert_allclose(saved.get_fdata(), volume[0].numpy() + 300.4, rtol=1e-6)
    np.testing.assert_allclose(saved.affine, AFFINE, rtol=1e-6)
    assert torch.equal(
        LoadVolumed("image")({"image": tmp_path / "frame.png"})["image"][0], torch.from_numpy(pixels).float()
    )
