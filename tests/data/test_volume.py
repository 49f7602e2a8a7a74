import errno
import os
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.data import VolumeError, check_output, load_volume, save_volume

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")

SPACING = np.array([0.7, 1.1, 2.5])
ORIGIN = np.array([-81.25, 17.5, 33.0])
LANDMARK = (1, 3, 4)
# Directions of the axes in RAS, one a row: flipped; permuted and flipped; oblique.
FLIPPED = np.diag([-1.0, 1.0, -1.0])
PERMUTED = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
OBLIQUE = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8], [0.48, -0.64, 0.6]])
DIRECTIONS = pytest.mark.parametrize("axes", [FLIPPED, PERMUTED, OBLIQUE], ids=["flipped", "permuted", "oblique"])
# The affine of OBLIQUE.
AFFINE = np.array(
    [[0.56, -0.396, 1.2, -81.25], [0.42, 0.528, -1.6, 17.5], [0.0, 0.88, 1.5, 33.0], [0.0, 0.0, 0.0, 1.0]]
)


def voxels(shape=(3, 4, 5), dtype=np.int16):
    """Random values whose largest is at the landmark."""
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    if shape == (3, 4, 5):
        values[LANDMARK] = 120
    return values


def affine_of(axes):
    affine = np.eye(4)
    affine[:3, :3] = (axes * SPACING[:, None]).T
    affine[:3, 3] = ORIGIN
    return affine


def assert_landmark(volume, axes):
    """The largest value lies where the axes, spacing and origin put the landmark."""
    index = np.unravel_index(int(volume[0].argmax()), volume.shape[1:])
    truth = ORIGIN.copy()
    for steps, spacing, axis in zip(LANDMARK, SPACING, axes, strict=True):
        truth += steps * spacing * axis
    assert index == LANDMARK
    np.testing.assert_allclose(volume.affine.numpy() @ (*index, 1), (*truth, 1), rtol=0, atol=1e-4)


def write_nifti(path, data=None, affine=AFFINE, kind=nib.Nifti1Image, **header):
    """Write an image and then change fields of its header in the file."""
    nib.save(kind(voxels() if data is None else data, affine), path)
    if header:
        content = bytearray(path.read_bytes())
        fields = np.frombuffer(content, nib.nifti1.header_dtype, 1)
        for name, value in header.items():
            fields[name] = value
        path.write_bytes(content)
    return path


def write_nrrd(path, data=None, kind="short", **fields):
    data = voxels() if data is None else data
    header = {"type": kind, "dimension": data.ndim, "sizes": " ".join(map(str, data.shape)), "encoding": "raw"}
    header |= {"endian": "little", "space": "left-posterior-superior", "space origin": "(0,0,0)"}
    header |= {"space directions": "(1,0,0) (0,1,0) (0,0,1)"} | {k.replace("_", " "): v for k, v in fields.items()}
    text = "".join(f"{key}: {value}\n" for key, value in header.items() if value is not None)
    path.write_bytes(f"NRRD0004\n{text}\n".encode() + data.tobytes(order="F"))
    return path


def refusal(path):
    """The message of the error with which a volume is refused: one sentence that names it and ends with a remedy."""
    with pytest.raises(VolumeError) as caught:
        load_volume(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and message.endswith(".") and ": " in message and "\n" not in message
    return message


# Reading


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


@DIRECTIONS
@pytest.mark.parametrize("space", ["left-posterior-superior", "left-anterior-superior", "right-anterior-superior"])
def test_nrrd_has_its_voxels_where_they_are(tmp_path, space, axes):
    pytest.importorskip("itk")
    signs = np.array([1 if word in ("right", "anterior", "superior") else -1 for word in space.split("-")])
    numbers = [f"({','.join(map(str, row * signs))})" for row in (*(axes * SPACING[:, None]), ORIGIN)]
    path = write_nrrd(tmp_path / "a.nrrd", space=space, space_directions=" ".join(numbers[:3]), space_origin=numbers[3])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        volume = load_volume(path)
    assert volume.dtype == torch.float32 and volume.affine.dtype == torch.float64
    np.testing.assert_array_equal(volume, voxels()[None])
    assert_landmark(volume, axes)


def test_nrrd_lies_where_itk_has_it_with_left_and_front_negated(tmp_path):
    itk = pytest.importorskip("itk")
    image = itk.image_from_array(np.ascontiguousarray(voxels().T))
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin(ORIGIN.tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(OBLIQUE.T)))
    itk.imwrite(image, str(tmp_path / "a.nhdr"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nhdr", "a.raw"]
    volume = load_volume(tmp_path / "a.nhdr")
    left, back, up = image.TransformIndexToPhysicalPoint(LANDMARK)
    np.testing.assert_array_equal(volume, voxels()[None])
    np.testing.assert_allclose(volume.affine.numpy() @ (*LANDMARK, 1), (-left, -back, up, 1), rtol=0, atol=1e-4)


TYPES = {"int8": "int8", "uint16": "ushort", "int64": "int64", "float64": "double"}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_nrrd_of_every_type_has_its_list_of_values_as_channels(tmp_path, dtype, channels):
    pytest.importorskip("itk")
    data = voxels((channels, 3, 4, 5), dtype)
    lists = {"kinds": "list domain domain domain", "space_directions": "none (1,0,0) (0,1,0) (0,0,1)"}
    path = tmp_path / "a.nrrd"
    if channels == 1:
        write_nrrd(path, data[0], TYPES[dtype])
    else:
        write_nrrd(path, data, TYPES[dtype], **lists)
    volume = load_volume(path)
    np.testing.assert_array_equal(volume, data)
    assert volume.meta["original_dtype"] == dtype


def test_nrrd_without_an_anatomical_space_has_its_spacing_and_a_warning(tmp_path):
    pytest.importorskip("itk")
    path = write_nrrd(
        tmp_path / "a.nrrd", voxels((3, 4)), space=None, space_origin=None, space_directions=None, spacings="2 3"
    )
    with pytest.warns(UserWarning, match="does not say how the patient lies"):
        volume = load_volume(path)
    assert volume.shape == (1, 3, 4)
    np.testing.assert_array_equal(volume.affine, np.diag([-2.0, -3.0, 1.0, 1.0]))


# Bad input


def test_nothing_at_the_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load_volume(tmp_path / "nowhere.nii")


@pytest.mark.parametrize("name", ["a.png", "a.mgz", "a"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89PNG" * 50)
    assert "is not a volume: give a NIfTI, Analyze or NRRD" in refusal(tmp_path / name)


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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    data = voxels(dtype=np.float32)
    data[0, 1, 2] = value
    assert "NaN or infinite" in refusal(write_nifti(tmp_path / "a.nii", data))


def test_a_constant_image_is_refused(tmp_path):
    assert "has the value 7 everywhere" in refusal(write_nifti(tmp_path / "a.nii", np.full((3, 4, 5), 7, np.int16)))


@pytest.mark.parametrize("dim, size", [([3, 3, 0, 5], "3 x 0 x 5"), ([3, 3, -4, 5], "3 x -4 x 5"), ([1, 3, 1, 1], "3")])
def test_empty_or_missing_axes_are_refused(tmp_path, dim, size):
    path = write_nifti(tmp_path / "a.nii", dim=[*dim, 1, 1, 1, 1])
    assert f"has the size {size}:" in refusal(path)


def test_two_axes_of_channels_are_refused(tmp_path):
    assert "3 x 4 x 5 x 2 x 2" in refusal(write_nifti(tmp_path / "a.nii", voxels((3, 4, 5, 2, 2))))


@pytest.mark.parametrize("bad, shown", [(-3, "-3"), (0, "0"), (np.nan, "nan"), (np.inf, "inf")])
def test_spacings_that_are_not_positive_are_refused(tmp_path, bad, shown):
    path = write_nifti(tmp_path / "a.nii", affine=np.diag([2.0, 3, 4, 1]), pixdim=[1, 2, bad, 4, 1, 1, 1, 1])
    assert f"spacing 2 x {shown} x 4, which must be positive" in refusal(path)
    if bad == -3:
        pytest.importorskip("itk")
        bare = dict.fromkeys(("space", "space_origin", "space_directions"))
        assert "spacing 2 x -3 x 4" in refusal(write_nrrd(tmp_path / "a.nrrd", spacings="2 -3 4", **bare))


@pytest.mark.parametrize("row", [[0, 0, 0, 5], [0.56, -0.396, 1.2, 5], [np.nan, 1, 0, 5], [0, 1, 0, np.inf]])
def test_an_affine_that_does_not_span_space_is_refused(tmp_path, row):
    assert "singular or not finite" in refusal(write_nifti(tmp_path / "a.nii", srow_y=row))


def test_nrrd_with_dependent_directions_is_refused(tmp_path):
    pytest.importorskip("itk")
    assert "singular" in refusal(write_nrrd(tmp_path / "a.nrrd", space_directions="(1,0,0) (2,0,0) (0,0,1)"))


def test_complex_and_coloured_voxels_are_refused(tmp_path):
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "holds complex64 voxels" in refusal(write_nifti(tmp_path / "a.nii", voxels().astype(np.complex64)))
    assert "holds RGB voxels" in refusal(write_nifti(tmp_path / "a.nii", colours))


@pytest.mark.parametrize("kind, channels", [("RGB-color", 3), ("complex", 2)])
def test_nrrd_of_complex_and_coloured_voxels_is_refused(tmp_path, kind, channels):
    pytest.importorskip("itk")
    geometry = {"kinds": f"{kind} domain domain domain", "space_directions": "none (1,0,0) (0,1,0) (0,0,1)"}
    path = write_nrrd(tmp_path / "a.nrrd", voxels((channels, 3, 4, 5), "float32"), "float", **geometry)
    assert f"holds {kind.partition('-')[0].lower()} voxels" in refusal(path)


# Writing


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
