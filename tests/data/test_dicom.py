import struct

import numpy as np
import pytest
import torch
from volumes import (
    BETWEEN_COLUMNS,
    BETWEEN_ROWS,
    COLOURS,
    COLUMN,
    CT,
    ENHANCED_MR,
    FIRST_PIXEL,
    FRAMES,
    GAP,
    INTERCEPT,
    MODALITY,
    MR,
    NORMAL,
    NUMBER,
    ORIENTATION,
    PIXEL_SPACING,
    PIXELS,
    PLANAR,
    POSITION,
    PRIVATE,
    ROW,
    RUN_LENGTH,
    SAMPLES,
    SERIES,
    SLOPE,
    THICKNESS,
    TYPE,
    write_series,
    write_slice,
)

from miassr_monai.data import VolumeError, load_volume, save_volume

pytest.importorskip("itk")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


def refusal(folder):
    """The message of the error with which a series is refused: one sentence without the patient's data."""
    with pytest.raises(VolumeError) as caught:
        load_volume(folder)
    message = str(caught.value)
    assert str(folder) in message and message.endswith(".") and ": " in message and "\n" not in message
    assert not any(value in message for value in PRIVATE)
    assert caught.value.__cause__ is None
    return message


@pytest.mark.parametrize("tilt", [0.0, 0.4], ids=["straight", "tilted"])
@pytest.mark.parametrize(
    "axes",
    [(ROW, COLUMN), (np.array([1.0, 0, 0]), np.array([0, 1.0, 0])), (np.array([0, 1.0, 0]), np.array([0, 0, -1.0]))],
    ids=["oblique", "axial", "sagittal"],
)
def test_every_voxel_has_its_value_and_place(tmp_path, axes, tilt):
    step = GAP * np.cross(*axes) + tilt * axes[1]
    pixels = write_series(tmp_path, axes=axes, step=step)
    volume = load_volume(tmp_path)
    assert volume.dtype == torch.float32 and volume.affine.dtype == torch.float64
    assert volume.shape == (1, 5, 3, 4)
    for column, row, k in ((0, 0, 0), (4, 0, 0), (0, 2, 1), (3, 1, 3)):
        place = FIRST_PIXEL + column * BETWEEN_COLUMNS * axes[0] + row * BETWEEN_ROWS * axes[1] + k * step
        world = volume.affine.numpy() @ (column, row, k, 1)
        np.testing.assert_allclose(world, (-place[0], -place[1], place[2], 1), rtol=0, atol=1e-4)
        assert volume[0, column, row, k] == pixels[k, row, column]


def test_slices_that_descend_in_their_files_ascend_in_the_volume(tmp_path):
    pixels = write_series(tmp_path, step=-GAP * NORMAL)
    volume = load_volume(tmp_path)
    np.testing.assert_array_equal(volume[0], pixels[::-1].T)
    lowest = FIRST_PIXEL - 3 * GAP * NORMAL
    np.testing.assert_allclose(volume.affine[:3, 3], lowest * [-1, -1, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("sop, slope, intercept", [(CT, 1, -1024), (MR, 2.5, 0), (CT, 0.125, 7.5)])
def test_values_are_rescaled(tmp_path, sop, slope, intercept):
    pixels = write_series(tmp_path, sop=sop, changes={SLOPE: ("DS", str(slope)), INTERCEPT: ("DS", str(intercept))})
    np.testing.assert_array_equal(load_volume(tmp_path)[0], pixels.T * np.float32(slope) + np.float32(intercept))


def test_each_slice_has_a_scale_of_its_own(tmp_path):
    for k, slope in enumerate((1, 2.5, 4)):
        pixels = np.arange(15, dtype="<i2").reshape(3, 5)
        changes = {SLOPE: ("DS", str(slope)), INTERCEPT: ("DS", "0")}
        write_slice(tmp_path / f"{k}", pixels, FIRST_PIXEL + k * GAP * NORMAL, changes=changes)
    volume = load_volume(tmp_path)
    np.testing.assert_array_equal(volume[0, 4, 2], [14, 35, 56])


def test_only_geometry_and_modality_are_kept(tmp_path):
    write_series(tmp_path / "series", sop=CT)
    meta = dict(load_volume(tmp_path / "series").meta)
    assert not any(value in str(meta) for value in PRIVATE)
    del meta["affine"]
    assert meta == {
        "filename_or_obj": str(tmp_path / "series"),
        "original_dtype": "int16",
        "modality": "CT",
        "slice_thickness": 9.0,
        "xyzt_units": 2,
        "sform_code": 1,
        "space": "RAS",
    }
    write_series(tmp_path / "bare", changes={MODALITY: None, NUMBER: None, SERIES: None, THICKNESS: None})
    assert not {"modality", "slice_thickness"} & set(load_volume(tmp_path / "bare").meta)


def test_a_series_keeps_its_values_and_place_as_nifti(tmp_path):
    write_series(tmp_path / "series")
    volume = load_volume(tmp_path / "series")
    save_volume(tmp_path / "a.nii.gz", volume)
    saved = load_volume(tmp_path / "a.nii.gz")
    assert torch.equal(saved.as_tensor(), volume.as_tensor())
    np.testing.assert_allclose(saved.affine, volume.affine, rtol=0, atol=1e-5)
    assert saved.meta["sform_code"] == 1


def test_a_single_slice_has_its_thickness(tmp_path):
    write_series(tmp_path, slices=1)
    volume = load_volume(tmp_path)
    assert volume.shape == (1, 5, 3, 1)
    np.testing.assert_allclose(volume.affine[:3, 2], 9 * NORMAL * [-1, -1, 1], rtol=0, atol=1e-4)
    write_series(tmp_path, slices=1, changes={THICKNESS: None})
    assert "is the only slice and has no thickness" in refusal(tmp_path)


def test_other_files_are_passed_over(tmp_path):
    pixels = write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing here")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    write_series(tmp_path / "deeper")
    np.testing.assert_array_equal(load_volume(tmp_path)[0], pixels.T)


def test_a_folder_without_dicom_is_an_error(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="holds no DICOM file: give the folder"):
        load_volume(tmp_path)


def test_a_single_file_is_refused_with_a_hint(tmp_path):
    write_series(tmp_path)
    assert "single DICOM file: give the folder" in refusal(tmp_path / "IM0")


def test_several_series_are_listed(tmp_path):
    write_series(tmp_path)
    pixels = np.zeros((3, 5), "<i2")
    write_slice(tmp_path / "x", pixels, series="1.2.3.987654", changes={NUMBER: ("IS", "12")})
    write_slice(tmp_path / "y", pixels, series="1.2.3.111111", changes={NUMBER: None})
    message = refusal(tmp_path)
    assert (
        "holds 3 series, series 3 (UID ending in 456789, files: 4), series 12 (UID ending in 987654, files: 1), "
        in message
    )
    assert "series without a number (UID ending in 111111, files: 1): give each a folder of its own" in message


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_a_missing_slice_is_noticed(tmp_path, missing):
    write_series(tmp_path, slices=7, leave_out=[missing])
    assert "not a regular stack (gaps of 2.5 to 5 mm): add the missing slices" in refusal(tmp_path)


def test_a_wide_gap_is_not_taken_for_slices_at_one_position(tmp_path):
    write_series(tmp_path, slices=30, leave_out=range(1, 27))
    assert "gaps of 2.5 to 67.5 mm" in refusal(tmp_path)


def test_positions_may_be_rounded_but_not_moved(tmp_path):
    axes = np.eye(3)[:2]
    for k, position in enumerate((0.0, 1.2, 2.5, 3.8, 5.0)):
        write_slice(tmp_path / f"{k}", np.eye(5, dtype="<i2") * k, [0, 0, position], axes)
    np.testing.assert_allclose(load_volume(tmp_path).affine[:3, 2], (0, 0, 1.25), rtol=0, atol=1e-6)
    write_slice(tmp_path / "2", np.eye(5, dtype="<i2"), [0.2, 0, 2.5], axes)
    assert "not a regular stack" in refusal(tmp_path)


def test_two_slices_at_one_position_are_refused(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path / "echo", np.zeros((3, 5), "<i2"), FIRST_PIXEL + GAP * NORMAL)
    assert "several slices at one position" in refusal(tmp_path)


@pytest.mark.parametrize(
    "named, shape, kwargs",
    [
        ("size", (4, 5), {}),
        ("pixel spacing", (3, 5), {"changes": {PIXEL_SPACING: ("DS", [0.5, 0.71])}}),
        ("orientation", (3, 5), {"axes": (COLUMN, NORMAL)}),
    ],
)
def test_slices_of_several_kinds_are_refused(tmp_path, named, shape, kwargs):
    write_series(tmp_path)
    write_slice(tmp_path / "x", np.zeros(shape, "<i2"), FIRST_PIXEL + 4 * GAP * NORMAL, **kwargs)
    assert f"differ in {named}: leave only those of one stack" in refusal(tmp_path)


@pytest.mark.parametrize("lost", [1, 30, 100])
def test_a_slice_that_is_cut_short_is_named(tmp_path, lost):
    write_series(tmp_path)
    path = tmp_path / "IM2"
    path.write_bytes(path.read_bytes()[:-lost])
    assert "IM2 is cut short or holds no image" in refusal(tmp_path)


def test_a_slice_whose_pixels_cannot_be_decoded_is_named(tmp_path):
    write_series(tmp_path)
    # Run-length encoded pixels are an offset table, fragments and an end mark.
    parts = ((0xE000, b""), (0xE000, b"garbage!" * 4), (0xE0DD, b""))
    fragments = b"".join(struct.pack("<HHI", 0xFFFE, item, len(part)) + part for item, part in parts)
    changes = {PIXELS: ("OB", fragments)}
    write_slice(
        tmp_path / "IM2", np.zeros((3, 5), "<i2"), FIRST_PIXEL + 3 * GAP * NORMAL, syntax=RUN_LENGTH, changes=changes
    )
    assert "IM2 is damaged or compressed" in refusal(tmp_path)


@pytest.mark.parametrize("tag", [POSITION, ORIENTATION, PIXEL_SPACING])
@pytest.mark.parametrize("value", [None, ("DS", "1.0"), ("DS", "a\\b\\c")])
def test_a_slice_without_a_place_is_refused(tmp_path, tag, value):
    write_series(tmp_path, changes={tag: value})
    assert "lacks the spacing, orientation or position" in refusal(tmp_path)


@pytest.mark.parametrize("spacing, shown", [([0, 0.7], "0 x 0.7"), ([0.5, -0.7], "0.5 x -0.7")])
def test_a_spacing_that_is_not_positive_is_refused(tmp_path, spacing, shown):
    write_series(tmp_path, changes={PIXEL_SPACING: ("DS", spacing)})
    assert f"pixel spacing {shown}, which must be positive" in refusal(tmp_path)


@pytest.mark.parametrize("axes", [(ROW, ROW), (ROW, 2 * COLUMN), (0 * ROW, COLUMN)])
def test_axes_that_are_not_perpendicular_are_refused(tmp_path, axes):
    write_series(tmp_path, axes=axes)
    assert "not perpendicular unit vectors" in refusal(tmp_path)


def test_several_slices_in_one_file_are_refused(tmp_path):
    frames = np.zeros((3, 5, 2), "<i2")
    write_slice(tmp_path / "frames", frames, sop=ENHANCED_MR, changes={FRAMES: ("IS", "2")})
    assert "frames holds several slices: convert it to NIfTI" in refusal(tmp_path)
    (tmp_path / "frames").unlink()
    write_series(tmp_path, changes={TYPE: ("CS", "ORIGINAL\\PRIMARY\\M\\MOSAIC")})
    assert "holds several slices" in refusal(tmp_path)


def test_colours_are_refused(tmp_path):
    colours = {SAMPLES: ("US", 3), COLOURS: ("CS", "RGB"), PLANAR: ("US", 0)}
    write_slice(tmp_path / "x", np.zeros((3, 5, 3), "u1"), changes=colours)
    assert "is in colour" in refusal(tmp_path)


def test_a_constant_series_and_values_that_are_too_large_are_refused(tmp_path):
    write_slice(tmp_path / "x", np.full((3, 5), 7, "<i2"))
    assert "has the value 7 everywhere" in refusal(tmp_path)
    changes = {SLOPE: ("DS", "1e60"), INTERCEPT: ("DS", "0")}
    write_slice(tmp_path / "x", np.arange(15, dtype="<i2").reshape(3, 5), changes=changes)
    assert "NaN or infinite" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["explicit", "implicit"])
def test_files_without_a_preamble_are_read(tmp_path, form):
    pixels = write_series(tmp_path)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        # After the mark, an element that says how long the group of the file is, which goes with the preamble.
        (length,) = struct.unpack("<I", content[140:144])
        body = content[144 + length :]
        path.write_bytes(body if form == "explicit" else without_kinds(body))
    np.testing.assert_array_equal(load_volume(tmp_path)[0], pixels.T)


def test_files_that_lack_but_the_preamble_which_gdcm_does_not_read_are_named(tmp_path):
    write_series(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    with pytest.raises(VolumeError, match=r"IM. is damaged or compressed in an unknown way: export it again"):
        load_volume(tmp_path)


def without_kinds(body):
    """Elements whose kind of value is left out, as the oldest files have them."""
    parts, start = [], 0
    while start < len(body):
        long = body[start + 4 : start + 6] in (b"OB", b"OW")
        (length,) = struct.unpack_from("<I" if long else "<H", body, start + (8 if long else 6))
        value = start + (12 if long else 8)
        parts += [body[start : start + 4], struct.pack("<I", length), body[value : value + length]]
        start = value + length
    return b"".join(parts)
