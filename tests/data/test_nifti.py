import gzip
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nibabel.imageglobals import logger as nibabel_logger
from volumes import (
    AFFINE,
    DIRECTIONS,
    OBLIQUE,
    SPACING,
    affine_of,
    assert_landmark,
    limited_memory,
    refusal,
    voxels,
    write_nifti,
)

from miassr_monai.data import load_volume, save_volume

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


@DIRECTIONS
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.B.NII", "pair.img"])
def test_nifti_has_its_voxels_where_they_are(tmp_path, name, axes):
    kind = nib.Nifti1Pair if name == "pair.img" else nib.Nifti1Image
    path = write_nifti(tmp_path / name, affine=affine_of(axes), kind=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = load_volume(str(path))
    assert volume.dtype == torch.float32 and volume.affine.dtype == torch.float64
    np.testing.assert_array_equal(volume, voxels()[None])
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)
    assert_landmark(volume, axes)
    assert volume.meta["filename_or_obj"] == str(path)
    assert volume.meta["original_dtype"] == "int16"


def test_scaled_and_big_endian_values_are_those_of_nibabel(tmp_path):
    image = nib.Nifti1Image(voxels(), AFFINE, nib.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.25, -3.0)
    image.to_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(load_volume(tmp_path / "a.nii")[0], voxels() * np.float32(0.25) - 3)


def test_an_affine_in_double_precision_stays_so(tmp_path):
    affine = affine_of(OBLIQUE / 3)
    volume = load_volume(write_nifti(tmp_path / "a.nii", affine=affine, kind=nib.Nifti2Image))
    assert np.abs(affine - affine.astype(np.float32)).max() > 1e-8
    np.testing.assert_array_equal(volume.affine, affine)


def test_geometry_is_kept_where_monai_tracks_none(tmp_path, track_meta_off):
    volume = load_volume(write_nifti(tmp_path / "a.nii"))
    assert isinstance(volume, MetaTensor)
    np.testing.assert_array_equal(volume.affine, AFFINE.astype(np.float32))


def test_the_sform_counts_where_it_and_the_qform_disagree(tmp_path):
    path = write_nifti(
        tmp_path / "a.nii", affine=np.diag([3.0, 3, 3, 1]), qform_code=1, pixdim=[1, 2, 2, 2, 1, 1, 1, 1]
    )
    np.testing.assert_array_equal(load_volume(path).affine, np.diag([3.0, 3, 3, 1]))


def test_only_geometry_is_kept_of_the_header(tmp_path):
    path = write_nifti(tmp_path / "a.nii", descrip=b"Jane Doe", db_name=b"Doe", aux_file=b"Doe", xyzt_units=10)
    meta = load_volume(path).meta
    assert set(meta) == {"filename_or_obj", "original_dtype", "sform_code", "xyzt_units", "affine", "space"}
    assert (meta["sform_code"], meta["xyzt_units"]) == (2, 10)


def test_a_plane_has_two_axes_and_a_slice_three(tmp_path):
    plane = write_nifti(tmp_path / "plane.nii", voxels((3, 4)))
    assert load_volume(plane).shape == (1, 3, 4)
    assert load_volume(plane).affine.shape == (4, 4)
    assert load_volume(write_nifti(tmp_path / "slice.nii", voxels((3, 4, 1)))).shape == (1, 3, 4, 1)


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (3, 4, 5, 1, 2), (3, 4, 1, 2), (3, 4, 5, 1), (3, 4, 5, 1, 1)])
def test_an_axis_after_the_third_is_the_channels(tmp_path, shape):
    data = voxels(shape)
    volume = load_volume(write_nifti(tmp_path / "a.nii", data))
    np.testing.assert_array_equal(volume, np.moveaxis(data.reshape(*shape[:3], -1), -1, 0))


@pytest.mark.parametrize("given", ["a.hdr", "a.img"])
def test_plain_analyze_has_the_spacing_of_its_header_and_a_warning(tmp_path, given):
    # With a trailing axis of one, as OASIS has it.
    write_nifti(tmp_path / "a.img", voxels()[..., None], np.diag([*SPACING, 1.0]), nib.AnalyzeImage)
    with pytest.warns(UserWarning, match=f"{given} does not say how the patient lies.* LAS,") as caught:
        volume = load_volume(tmp_path / given)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(volume, voxels()[None])
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag(SPACING * [-1, 1, 1]), rtol=1e-6)


def test_analyze_of_spm_has_the_orientation_of_its_third_file(tmp_path):
    nib.save(nib.Spm2AnalyzeImage(voxels(), affine_of(OBLIQUE)), tmp_path / "a.img")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_landmark(load_volume(tmp_path / "a.hdr"), OBLIQUE)


def test_nifti_without_an_orientation_has_the_spacing_of_its_header_and_a_warning(tmp_path):
    path = write_nifti(tmp_path / "a.nii", affine=np.diag([*SPACING, 1.0]), sform_code=0, qform_code=0)
    with pytest.warns(UserWarning, match="does not say how the patient lies"):
        volume = load_volume(path)
    np.testing.assert_allclose(volume.affine[:3, :3].abs(), np.diag(SPACING), rtol=1e-6)


def test_a_compressed_file_with_a_wrong_checksum_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", voxels((40, 40, 40)))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    assert "CRC check failed" in refusal(path)


@pytest.mark.parametrize("given, missing", [("a.hdr", "a.img"), ("a.img", "a.hdr")])
def test_the_missing_file_of_a_pair_is_named(tmp_path, given, missing):
    write_nifti(tmp_path / "a.img", kind=nib.Nifti1Pair)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{given} is one file of a pair: put {missing} beside it"):
        load_volume(tmp_path / given)


@pytest.mark.parametrize("dim, size", [([3, 3, 0, 5], "3 x 0 x 5"), ([3, 3, -4, 5], "3 x -4 x 5"), ([1, 3, 1, 1], "3")])
def test_empty_or_missing_axes_are_refused(tmp_path, dim, size):
    path = write_nifti(tmp_path / "a.nii", dim=[*dim, 1, 1, 1, 1])
    assert f"has the size {size}:" in refusal(path)


def test_two_axes_of_channels_are_refused(tmp_path):
    assert "3 x 4 x 5 x 2 x 2" in refusal(write_nifti(tmp_path / "a.nii", voxels((3, 4, 5, 2, 2))))


@pytest.mark.parametrize("row", [[0, 0, 0, 5], [0.56, -0.396, 1.2, 5], [np.nan, 1, 0, 5], [0, 1, 0, np.inf]])
def test_an_affine_that_does_not_span_space_is_refused(tmp_path, row):
    assert "singular or not finite" in refusal(write_nifti(tmp_path / "a.nii", srow_y=row))


def test_complex_and_coloured_voxels_are_refused(tmp_path):
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "holds complex64 voxels" in refusal(write_nifti(tmp_path / "a.nii", voxels().astype(np.complex64)))
    assert "holds RGB voxels" in refusal(write_nifti(tmp_path / "a.nii", colours))


@pytest.mark.parametrize("field", ["sform_code", "qform_code"])
@pytest.mark.parametrize("code", [77, -1, 6, 32767])
def test_a_code_of_orientation_that_means_nothing_is_none(tmp_path, field, code):
    codes = {"sform_code": 0, "qform_code": 0, field: code}
    path = write_nifti(tmp_path / "a.nii", affine=np.diag([*SPACING, 1.0]), **codes)
    with pytest.warns(UserWarning, match="does not say how the patient lies"):
        volume = load_volume(path)
    assert volume.meta["sform_code"] == 0
    save_volume(tmp_path / "b.nii", volume)
    assert nib.load(tmp_path / "b.nii").header["sform_code"] == 2


@pytest.mark.parametrize("units, known", [(10, 10), (7, 0), (255, 0), (64 + 2, 2), (8 + 5, 8), (32 + 3, 35)])
def test_units_that_mean_nothing_are_none(tmp_path, units, known):
    volume = load_volume(write_nifti(tmp_path / "a.nii", xyzt_units=units))
    assert volume.meta["xyzt_units"] == known
    save_volume(tmp_path / "b.nii", volume)
    nib.load(tmp_path / "b.nii").header.get_xyzt_units()


@pytest.mark.parametrize("offset", [np.inf, -np.inf, np.nan, 1e30, -352, 1e6])
def test_an_offset_of_the_voxels_that_leads_nowhere_is_refused(tmp_path, offset):
    assert "damaged" in refusal(write_nifti(tmp_path / "a.nii", vox_offset=offset))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img"])
def test_a_file_that_is_smaller_than_its_header_says_is_refused_before_memory_is_taken(tmp_path, name):
    kind = nib.Nifti1Pair if name == "a.img" else nib.Nifti1Image
    path = write_nifti(tmp_path / name, kind=kind)
    header = path.with_suffix(".hdr") if name == "a.img" else path
    content = bytearray((gzip.open if name.endswith("gz") else open)(header, "rb").read())
    np.frombuffer(content, nib.nifti1.header_dtype, 1)["dim"] = [3, 1000, 1000, 1600, 1, 1, 1, 1]
    header.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with limited_memory():
        message = refusal(path)
    there = 120 if name == "a.img" else 352 + 120
    assert f"its header asks for {3_200_000_000 + there - 120} bytes, but it holds at most {there}" in message


def test_a_volume_that_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a.nii", voxels((30, 40, 50)))
    monkeypatch.setattr("miassr_monai.data.checks.available_memory", lambda: 30 * 40 * 50 * 8)
    assert load_volume(path).shape == (1, 30, 40, 50)
    monkeypatch.setattr("miassr_monai.data.checks.available_memory", lambda: 30 * 40 * 50 * 8 - 1)
    assert "a.nii has 60000 voxels, which need 0.000447 GiB of memory, but 0.000447 GiB are free" in refusal(path)


def test_what_nibabel_logs_of_bad_headers_is_kept_back(tmp_path, caplog):
    path = write_nifti(tmp_path / "a.nii", sform_code=77, qform_code=1, bitpix=5, pixdim=[7, 2, 3, 4, 1, 1, 1, 1])
    nib.load(path)
    assert caplog.records
    caplog.clear()
    level = nibabel_logger.level
    load_volume(path)
    assert not caplog.records and nibabel_logger.level == level


@pytest.mark.parametrize(
    "slope, inter, dtype", [(np.nan, 0, "int16"), (1, 0, "int16"), (0.5, 0, "float32"), (1, -1024, "float32")]
)
def test_the_type_of_the_values_is_the_files_unless_it_scales_them(tmp_path, slope, inter, dtype):
    volume = load_volume(write_nifti(tmp_path / "a.nii", scl_slope=slope, scl_inter=inter))
    assert volume.meta["original_dtype"] == dtype
