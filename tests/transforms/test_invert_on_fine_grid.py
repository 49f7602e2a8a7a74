import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.networks import Bicubic
from miassr_monai.transforms import InvertOnFineGridd, ScaleToUnitRanged

SCALE = 2.5
BACKGROUND = 37.0
TILTED = np.array([[0.9, -0.1, 0.2, -12.0], [0.08, 1.1, -0.3, 7.0], [-0.05, 0.1, 3.0, 20.0], [0.0, 0.0, 0.0, 1.0]])
AXCODES = pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PSR", "ILA"])


def blob_file(folder, axcodes, size=(28, 32, 9)):
    """NIfTI file in the order ``axcodes``: a bright blob, drawn in the order RAS."""
    axes = [np.arange(n) for n in size]
    profiles = [
        np.exp(-((x - c) ** 2) / (2 * w**2)) for x, c, w in zip(axes, (12.3, 17.6, 4.2), (1.8, 2.1, 1.1), strict=True)
    ]
    data = BACKGROUND + 900 * np.einsum("i,j,k->ijk", *profiles)
    ornt = nib.orientations.axcodes2ornt
    to_file = nib.orientations.ornt_transform(ornt("RAS"), ornt(axcodes))
    image = nib.Nifti1Image(data.astype(np.float32), TILTED).as_reoriented(to_file)
    nib.save(image, folder / "blob.nii.gz")
    return folder / "blob.nii.gz"


def preprocessing():
    return Compose(
        [
            LoadImaged("image", reader="NibabelReader"),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            ScaleToUnitRanged("image", 1, 99),
        ]
    )


def super_resolved(path, pipeline):
    """What an evaluator hands to its postprocessing: the item with the prediction."""
    loader = DataLoader(Dataset([{"image": str(path)}], pipeline), batch_size=1)
    batch = next(iter(loader))
    batch["pred"] = SuperResolutionInferer()(batch["image"], Bicubic(), scale=SCALE)
    (item,) = decollate_batch(batch)
    return item


def centroid(values, affine):
    """Centre of mass of the blob in world coordinates."""
    weights = np.asarray(values, dtype=np.float64) - BACKGROUND
    voxels = [np.average(index, weights=weights) for index in np.indices(weights.shape)]
    return nib.affines.apply_affine(affine, voxels)


@AXCODES
def test_the_prediction_is_the_files_own_data_interpolated(tmp_path, axcodes):
    path = blob_file(tmp_path, axcodes)
    pipeline = preprocessing()
    prediction = InvertOnFineGridd("pred", pipeline, "image")(super_resolved(path, pipeline))["pred"]

    slice_axis = [code in "SI" for code in axcodes].index(True)
    raw = torch.from_numpy(np.ascontiguousarray(nib.load(path).dataobj)).movedim(slice_axis, 0).unsqueeze(1)
    expected = F.interpolate(raw.double(), scale_factor=SCALE, mode="bicubic").squeeze(1).movedim(0, slice_axis)
    torch.testing.assert_close(prediction.as_tensor()[0].double(), expected, rtol=1e-5, atol=1e-2)


@AXCODES
def test_the_prediction_has_the_files_orientation_and_first_corner(tmp_path, axcodes):
    path = blob_file(tmp_path, axcodes)
    pipeline = preprocessing()
    affine = InvertOnFineGridd("pred", pipeline, "image")(super_resolved(path, pipeline))["pred"].affine.numpy()
    file_affine = nib.load(path).affine
    assert nib.aff2axcodes(affine) == tuple(axcodes)
    corner = [-0.5, -0.5, -0.5, 1.0]
    np.testing.assert_allclose(affine @ corner, file_affine @ corner, atol=1e-5)
    factors = [1.0 if code in "SI" else SCALE for code in axcodes]
    np.testing.assert_allclose(affine[:3, :3] * factors, file_affine[:3, :3], atol=1e-6)


@AXCODES
@pytest.mark.parametrize("size", [(28, 32, 9), (27, 31, 9)], ids=["fits", "does not fit"])
def test_a_landmark_stays_in_its_place_in_the_world(tmp_path, axcodes, size):
    path = blob_file(tmp_path, axcodes, size)
    pipeline = preprocessing()
    prediction = InvertOnFineGridd("pred", pipeline, "image")(super_resolved(path, pipeline))["pred"]
    file = nib.load(path)
    expected = centroid(file.dataobj, file.affine)
    np.testing.assert_allclose(centroid(prediction[0], prediction.affine.numpy()), expected, atol=1e-3)


def test_the_item_keeps_its_prediction_and_the_result_its_metadata(tmp_path):
    pipeline = preprocessing()
    item = super_resolved(blob_file(tmp_path, "PSR"), pipeline)
    before, affine = item["pred"].as_tensor().clone(), item["pred"].affine.clone()
    out = InvertOnFineGridd("pred", pipeline, "image")(item)
    assert out["pred"].meta["filename_or_obj"] == str(tmp_path / "blob.nii.gz")
    assert out["pred"].applied_operations == []
    assert out["image"] is item["image"]
    torch.testing.assert_close(item["pred"].as_tensor(), before, rtol=0, atol=0)
    torch.testing.assert_close(item["pred"].affine, affine, rtol=0, atol=0)


def test_the_image_can_still_be_inverted(tmp_path):
    path = blob_file(tmp_path, "PSR")
    pipeline = preprocessing()
    item = InvertOnFineGridd("pred", pipeline, "image")(super_resolved(path, pipeline))
    restored = pipeline.inverse({"image": item["image"]})["image"]
    np.testing.assert_allclose(restored[0], nib.load(path).dataobj, rtol=1e-5)


def test_two_predictions_of_one_image_are_both_returned(tmp_path):
    pipeline = preprocessing()
    item = super_resolved(blob_file(tmp_path, "PSR"), pipeline)
    item["other"] = item["pred"] * 0.5
    expected = InvertOnFineGridd("pred", pipeline, "image")(super_resolved(tmp_path / "blob.nii.gz", pipeline))["pred"]
    out = InvertOnFineGridd(["pred", "other"], pipeline, "image")(item)
    torch.testing.assert_close(out["pred"].as_tensor(), expected.as_tensor())
    low = np.percentile(nib.load(tmp_path / "blob.nii.gz").dataobj, 1)
    torch.testing.assert_close(out["other"].as_tensor(), (expected.as_tensor() + low) / 2)


def test_a_missing_prediction_is_allowed_only_on_request(tmp_path):
    pipeline = preprocessing()
    item = super_resolved(blob_file(tmp_path, "LPS"), pipeline)
    with pytest.raises(KeyError, match="other"):
        InvertOnFineGridd("other", pipeline, "image")(item)
    out = InvertOnFineGridd("other", pipeline, "image", allow_missing_keys=True)(item)
    assert out["pred"] is item["pred"]
