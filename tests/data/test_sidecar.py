import json

import pytest
from volumes import write_nifti

from miassr_monai.data import load_volume
from miassr_monai.data.sidecar import slice_thickness_beside


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "a.b.NII.GZ"])
def test_the_thickness_is_that_of_the_file_of_the_same_name(tmp_path, name):
    stem = name.lower().removesuffix(".gz").removesuffix(".nii")
    (tmp_path / f"{stem}.json").write_text(json.dumps({"SliceThickness": 3.5, "PatientName": "Doe"}))
    assert slice_thickness_beside(tmp_path / name) == 3.5


@pytest.mark.parametrize(
    "text", ["", "{", "[3]", "3", "{}", *(f'{{"SliceThickness": {v}}}' for v in ("0", "-2", "NaN", '"3"', "true"))]
)
def test_what_says_nothing_is_nothing(tmp_path, text):
    (tmp_path / "scan.json").write_text(text)
    assert slice_thickness_beside(tmp_path / "scan.nii.gz") is None
    assert slice_thickness_beside(tmp_path / "other.nii.gz") is None
    assert slice_thickness_beside(tmp_path / "scan.img") is None


def test_a_volume_has_it_in_its_metadata_and_nothing_else_of_the_file(tmp_path):
    path = write_nifti(tmp_path / "scan.nii")
    assert "slice_thickness" not in load_volume(path).meta
    (tmp_path / "scan.json").write_text(json.dumps({"SliceThickness": 2, "PatientName": "Doe^Jane"}))
    assert load_volume(path).meta["slice_thickness"] == 2.0
    assert "Doe" not in str(load_volume(path).meta)
