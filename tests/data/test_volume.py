import errno
import os

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from volumes import AFFINE, DIRECTIONS, SPACING, affine_of, refusal, voxels, write_nifti, write_nrrd

from miassr_monai.data import VolumeError, check_output, load_volume, save_volume
from miassr_monai.data.volume import cast_voxels

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


def test_nothing_at_the_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load_volume(tmp_path / "nowhere.nii")


@pytest.mark.parametrize("name", ["a.jpg", "a.mgz", "a"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89PNG" * 50)
    assert "is not a volume: give a NIfTI, Analyze, NRRD, PNG or TIFF file" in refusal(tmp_path / name)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a.nii")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    assert "permissions" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"no image" * 100])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.nrrd"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, content):
    if name == "a.nrrd":
        pytest.importorskip("itk")
    (tmp_path / "a.img").write_bytes(b"")
    (tmp_path / name).write_bytes(content)
    assert "is damaged" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.nrrd"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, name):
    if name == "a.nrrd":
        pytest.importorskip("itk")
        path = write_nrrd(tmp_path / name)
    else:
        kind = nib.Nifti1Pair if name == "a.img" else nib.Nifti1Image
        path = write_nifti(tmp_path / name, voxels((40, 40, 40)), kind=kind)
    path.write_bytes(path.read_bytes()[:-20])
    assert ("is not NRRD or is damaged" if name == "a.nrrd" else "is cut short or damaged") in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    data = voxels(dtype=np.float32)
    data[0, 1, 2] = value
    assert "NaN or infinite" in refusal(write_nifti(tmp_path / "a.nii", data))


def test_a_constant_image_is_refused(tmp_path):
    assert "has the value 7 everywhere" in refusal(write_nifti(tmp_path / "a.nii", np.full((3, 4, 5), 7, np.int16)))


@pytest.mark.parametrize("bad, shown", [(-3, "-3"), (0, "0"), (np.nan, "nan"), (np.inf, "inf")])
def test_spacings_that_are_not_positive_are_refused(tmp_path, bad, shown):
    path = write_nifti(tmp_path / "a.nii", affine=np.diag([2.0, 3, 4, 1]), pixdim=[1, 2, bad, 4, 1, 1, 1, 1])
    assert f"spacing 2 x {shown} x 4, which must be positive" in refusal(path)
    if bad == -3:
        pytest.importorskip("itk")
        bare = dict.fromkeys(("space", "space_origin", "space_directions"))
        assert "spacing 2 x -3 x 4" in refusal(write_nrrd(tmp_path / "a.nrrd", spacings="2 -3 4", **bare))


def random_volume(shape=(1, 3, 4, 5), affine=AFFINE, **meta):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor(values, affine=torch.as_tensor(affine), meta=meta)


@DIRECTIONS
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_written_volume_has_its_values_and_place_in_both_forms(tmp_path, name, axes):
    volume = random_volume(affine=affine_of(axes))
    save_volume(str(tmp_path / name), volume)
    image = nib.load(tmp_path / name)
    assert image.get_data_dtype() == np.float32 and image.header.get_xyzt_units() == ("mm", "unknown")
    assert image.header["sform_code"] == image.header["qform_code"] == 2
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume[0])
    np.testing.assert_array_equal(image.get_sform(), affine_of(axes).astype(np.float32))
    np.testing.assert_allclose(image.get_qform(), affine_of(axes), rtol=0, atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), SPACING, rtol=1e-6)
    loaded = load_volume(tmp_path / name)
    assert torch.equal(loaded.as_tensor(), volume.as_tensor())
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_affine_with_shear_is_in_the_sform_alone(tmp_path):
    affine = AFFINE.copy()
    affine[0, 1] += 0.3
    save_volume(tmp_path / "a.nii", random_volume(affine=affine))
    image = nib.load(tmp_path / "a.nii")
    assert image.header["qform_code"] == 0
    np.testing.assert_array_equal(image.affine, affine.astype(np.float32))


def test_channels_are_the_fourth_axis_with_its_spacing(tmp_path):
    volume = random_volume((2, 3, 4, 5), channel_spacing=2.5, xyzt_units=10, sform_code=4)
    save_volume(tmp_path / "a.nii", volume)
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.movedim(0, -1))
    assert image.header.get_zooms()[3] == 2.5 and image.header.get_xyzt_units() == ("mm", "sec")
    loaded = load_volume(tmp_path / "a.nii")
    assert torch.equal(loaded.as_tensor(), volume.as_tensor())
    assert {key: loaded.meta[key] for key in volume.meta if key not in ("affine", "space")} == {
        "channel_spacing": 2.5,
        "xyzt_units": 10,
        "sform_code": 4,
    }


@pytest.mark.parametrize("units, written", [(0, ("mm", "unknown")), (8, ("mm", "sec")), (3, ("micron", "unknown"))])
def test_lengths_are_in_mm_unless_the_volume_has_another_unit(tmp_path, units, written):
    save_volume(tmp_path / "a.nii", random_volume(xyzt_units=units))
    assert nib.load(tmp_path / "a.nii").header.get_xyzt_units() == written


@pytest.mark.parametrize("channels, shape", [(1, (3, 4, 1)), (2, (3, 4, 1, 2))])
@pytest.mark.parametrize("rank", [2, 3])
def test_a_plane_is_written_as_one_slice(tmp_path, channels, shape, rank):
    affine = np.diag([2.0, 3.0, 4.0, 1.0]) if rank == 3 else np.diag([2.0, 3.0, 1.0])
    volume = random_volume((channels, 3, 4), affine)
    save_volume(tmp_path / "a.nii", volume)
    image = nib.load(tmp_path / "a.nii")
    assert image.shape == shape
    np.testing.assert_array_equal(image.affine, np.diag([2.0, 3.0, 4.0 if rank == 3 else 1.0, 1.0]))
    np.testing.assert_array_equal(load_volume(tmp_path / "a.nii")[..., 0], volume)


def test_a_file_that_is_there_is_replaced_only_if_that_is_allowed(tmp_path):
    path = tmp_path / "a.nii"
    path.write_text("mine")
    for call in (check_output, lambda path: save_volume(path, random_volume())):
        with pytest.raises(FileExistsError, match=r"a\.nii exists already"):
            call(path)
        assert path.read_text() == "mine"
    check_output(path, overwrite=True)
    save_volume(path, random_volume(), overwrite=True)
    assert load_volume(path).shape == (1, 3, 4, 5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32"])
def test_voxels_are_rounded_and_clipped_to_a_type_and_written_in_it(tmp_path, dtype):
    values = np.array(
        [-3e9, -32768.7, -128.5, -1.5, -0.5, 0.49, 0.51, 127.5, 255.6, 40000.2, 2147483647.0, 3e9], np.float32
    )
    truth = values
    if dtype != "float32":
        limits = np.iinfo(dtype)
        truth = np.clip(np.round(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
    volume = MetaTensor(cast_voxels(torch.from_numpy(values), dtype).view(1, 3, 4, 1), affine=torch.from_numpy(AFFINE))
    save_volume(tmp_path / "a.nii", volume)
    image = nib.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == dtype and (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(np.asarray(image.dataobj).ravel(), truth)


@pytest.mark.parametrize(
    "data, dtype",
    [
        (torch.tensor([0, 3, -7]), "int32"),
        (torch.tensor([0, 3, 2**31]), "float32"),
        (torch.tensor([True, False, True]), "float32"),
        (torch.tensor([0.5, 3, -7], dtype=torch.float64), "float32"),
        (torch.tensor([0.5, 3, -7], dtype=torch.bfloat16), "float32"),
    ],
)
def test_types_that_many_readers_do_not_know_are_not_written(tmp_path, data, dtype):
    save_volume(tmp_path / "a.nii", MetaTensor(data.view(1, 3, 1, 1), affine=torch.from_numpy(AFFINE)))
    image = nib.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj).ravel(), data.double().numpy())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_not_written(tmp_path, value):
    volume = random_volume()
    volume[0, 1, 2, 3] = value
    with pytest.raises(VolumeError, match=r"a\.nii is not written, because the volume holds NaN or infinite values"):
        save_volume(tmp_path / "a.nii", volume)
    assert not list(tmp_path.iterdir())


def test_an_axis_that_is_too_long_for_the_first_version_of_nifti_is_in_the_second(tmp_path):
    volume = random_volume((1, 2, 3, 40000))
    save_volume(tmp_path / "a.nii", volume)
    assert isinstance(nib.load(tmp_path / "a.nii"), nib.Nifti2Image)
    loaded = load_volume(tmp_path / "a.nii")
    assert torch.equal(loaded.as_tensor(), volume.as_tensor())
    np.testing.assert_array_equal(loaded.affine, AFFINE)


@pytest.mark.parametrize("name", ["a.nrrd", "a.img", "a", "a.nii.bz2"])
def test_only_nifti_is_written(tmp_path, name):
    with pytest.raises(VolumeError, match=r"end it with \.nii or \.nii\.gz"):
        check_output(tmp_path / name)
    with pytest.raises(VolumeError, match=r"end it with"):
        save_volume(tmp_path / name, random_volume())
    assert not list(tmp_path.iterdir())


def test_the_folder_must_be_there_and_writable(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_output(tmp_path / "nowhere" / "a.nii")
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_output(tmp_path / "b.nii", overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(PermissionError, match="is read-only"):
        check_output(tmp_path / "a.nii")
    with pytest.raises(PermissionError, match="is read-only"):
        save_volume(tmp_path / "a.nii", random_volume())


@pytest.mark.parametrize("volume", [torch.rand(1, 3, 4, 5), random_volume((3, 4))])
def test_what_nifti_cannot_hold_is_refused(tmp_path, volume):
    with pytest.raises(VolumeError, match="of shape"):
        save_volume(tmp_path / "a.nii", volume)
    assert not list(tmp_path.iterdir())


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failure, raised", [(DISK_FULL, OSError), (KeyboardInterrupt(), KeyboardInterrupt)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_write_that_fails_half_way_leaves_what_was_there(tmp_path, monkeypatch, name, failure, raised):
    written = []

    def fail(image, path):
        content = image.to_bytes()
        path.write_bytes(content[: len(content) // 2])
        written.append(path)
        raise failure

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(raised, match="No space left" if raised is OSError else None):
        save_volume(tmp_path / name, random_volume())
    assert not list(tmp_path.iterdir())
    (tmp_path / name).write_text("mine")
    with pytest.raises(raised):
        save_volume(tmp_path / name, random_volume(), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"
    assert all(p.parent == tmp_path and p.name.startswith(".") and p.name.endswith(name) for p in written)


def test_no_text_of_a_header_comes_along(tmp_path):
    """It may name the patient."""
    image = nib.Nifti1Image(np.arange(24, dtype=np.float32).reshape(4, 3, 2), np.eye(4))
    texts = ("descrip", "aux_file", "intent_name", "db_name")
    for name in texts:
        image.header[name] = "DOE^JOHN"
    nib.save(image, tmp_path / "in.nii")
    save_volume(tmp_path / "out.nii", load_volume(tmp_path / "in.nii"))
    assert b"DOE" in (tmp_path / "in.nii").read_bytes() and b"DOE" not in (tmp_path / "out.nii").read_bytes()
