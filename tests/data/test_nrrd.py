import warnings

import numpy as np
import pytest
import torch
from volumes import (
    DIRECTIONS,
    LANDMARK,
    OBLIQUE,
    ORIGIN,
    SPACING,
    assert_landmark,
    limited_memory,
    refusal,
    voxels,
    write_nrrd,
)

from miassr_monai.data import load_volume

pytest.importorskip("itk")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


@DIRECTIONS
@pytest.mark.parametrize("space", ["left-posterior-superior", "left-anterior-superior", "right-anterior-superior"])
def test_nrrd_has_its_voxels_where_they_are(tmp_path, space, axes):
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
    import itk

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
    path = write_nrrd(
        tmp_path / "a.nrrd", voxels((3, 4)), space=None, space_origin=None, space_directions=None, spacings="2 3"
    )
    with pytest.warns(UserWarning, match="does not say how the patient lies"):
        volume = load_volume(path)
    assert volume.shape == (1, 3, 4)
    np.testing.assert_array_equal(volume.affine, np.diag([-2.0, -3.0, 1.0, 1.0]))


def test_nrrd_with_dependent_directions_is_refused(tmp_path):
    assert "singular" in refusal(write_nrrd(tmp_path / "a.nrrd", space_directions="(1,0,0) (2,0,0) (0,0,1)"))


@pytest.mark.parametrize("kind, channels", [("RGB-color", 3), ("complex", 2)])
def test_nrrd_of_complex_and_coloured_voxels_is_refused(tmp_path, kind, channels):
    geometry = {"kinds": f"{kind} domain domain domain", "space_directions": "none (1,0,0) (0,1,0) (0,0,1)"}
    path = write_nrrd(tmp_path / "a.nrrd", voxels((channels, 3, 4, 5), "float32"), "float", **geometry)
    assert f"holds {kind.partition('-')[0].lower()} voxels" in refusal(path)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "txt"])
def test_nrrd_that_is_smaller_than_its_header_says_is_refused_before_memory_is_taken(tmp_path, encoding):
    path = write_nrrd(tmp_path / "a.nrrd", sizes="2000 2000 2000", encoding=encoding)
    with limited_memory():
        assert "its header asks for 16000000000 bytes, but it holds at most" in refusal(path)


def test_nrrd_that_is_smaller_than_the_file_of_its_voxels_should_be_is_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(voxels().tobytes(order="F"))
    path = write_nrrd(tmp_path / "a.nhdr", np.zeros((3, 4, 0), np.int16), sizes="3 4 5", data_file="a.raw")
    np.testing.assert_array_equal(load_volume(path)[0], voxels())
    (tmp_path / "a.raw").write_bytes(bytes(10))
    assert "its header asks for 120 bytes, but it holds at most 10" in refusal(path)
