import json

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from miassr_monai.data import find_volumes, load_datalist, write_datalist

AFFINE = np.array([[-1.0, 0.0, 0.0, 10.0], [0.0, 2.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


def volume(seed=0):
    return np.random.default_rng(seed).integers(0, 500, (4, 5, 6)).astype(np.int16)


def write_nifti(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume(seed), AFFINE), path)
    return str(path)


def write_analyze(path):
    """Analyze pair as OASIS has it, with a trailing axis of one."""
    nib.save(nib.Spm2AnalyzeImage(volume()[..., None], AFFINE), path)


@pytest.mark.parametrize("name", ["brain.nii", "brain.nii.gz", "sub-01.v2_T1w.nii.gz"])
def test_a_file_is_one_volume(tmp_path, name):
    path = write_nifti(tmp_path / name)
    assert find_volumes(tmp_path / name) == [{"image": path}]
    assert find_volumes(path) == [{"image": path}]


def test_a_folder_is_searched_through_all_its_levels_in_order(tmp_path):
    paths = [write_nifti(tmp_path / name) for name in ("b/c/deep.nii", "a.nii.gz", "b/a.nii.gz")]
    write_analyze(tmp_path / "pair.img")
    for name in ("notes.txt", "b/datalist.json", "b/c/deep.nii.bak", "nii"):
        (tmp_path / name).write_text("[]")
    expected = sorted([*paths, str(tmp_path / "pair.hdr")])
    assert find_volumes(tmp_path) == [{"image": path} for path in expected]


@pytest.mark.parametrize("given", ["oasis.hdr", "oasis.img"])
def test_an_analyze_pair_loads_with_its_values_and_affine_by_either_name(tmp_path, given):
    write_analyze(tmp_path / "oasis.img")
    items = find_volumes(tmp_path / given)
    assert items == [{"image": str(tmp_path / "oasis.hdr")}]
    load = Compose([LoadImaged("image", reader="NibabelReader"), EnsureChannelFirstd("image")])
    image = load(items[0])["image"]
    assert nib.load(tmp_path / "oasis.hdr").shape == (4, 5, 6, 1)
    np.testing.assert_array_equal(image, volume()[None])
    np.testing.assert_allclose(image.affine, nib.load(tmp_path / "oasis.hdr").affine)
    np.testing.assert_allclose(image.affine, AFFINE)


def datalist(folder, **sections):
    (folder / "datalist.json").write_text(json.dumps({"name": "a data set", **sections}))
    return folder / "datalist.json"


def test_a_datalist_names_its_volumes_relative_to_itself(tmp_path):
    path = datalist(tmp_path, test=[{"image": "sub/a.nii.gz"}, {"image": "b.hdr"}], training=[{"image": "c.nii"}])
    expected = [{"image": str(tmp_path / "sub/a.nii.gz")}, {"image": str(tmp_path / "b.hdr")}]
    assert find_volumes(path) == expected
    assert find_volumes(str(path), "training") == [{"image": str(tmp_path / "c.nii")}]


def test_a_section_that_the_datalist_lacks_is_named_in_the_error(tmp_path):
    with pytest.raises(ValueError, match="validation"):
        find_volumes(datalist(tmp_path, test=[{"image": "a.nii"}]), "validation")


def test_nothing_at_the_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        find_volumes(tmp_path / "nowhere.nii.gz")


def test_a_folder_without_a_volume_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(FileNotFoundError, match="holds no volume"):
        find_volumes(tmp_path)


@pytest.mark.parametrize("name", ["slice.jpg", "brain.nii.txt", "brain.mgz"])
def test_a_file_of_another_kind_is_an_error(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="not a volume that can be read"):
        find_volumes(tmp_path / name)


def test_the_data_file_of_a_pair_without_its_header_is_an_error(tmp_path):
    (tmp_path / "alone.img").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"alone\.hdr"):
        find_volumes(tmp_path / "alone.img")


def test_a_folder_with_the_name_of_a_volume_is_searched_and_not_listed(tmp_path):
    path = write_nifti(tmp_path / "sub-01.nii" / "brain.nii")
    assert find_volumes(tmp_path) == [{"image": path}]


@pytest.mark.parametrize("section", ["training", "validation", "test"])
def test_a_data_set_may_be_a_datalist(tmp_path, section):
    datalist(
        tmp_path,
        training=[{"image": "training.nii"}],
        validation=[{"image": "validation.nii"}],
        test=[{"image": "test.nii"}],
    )
    assert load_datalist(tmp_path, section) == [{"image": str(tmp_path / f"{section}.nii")}]


@pytest.mark.parametrize("section", ["training", "validation", "test"])
def test_a_data_set_may_be_a_folder_for_each_section(tmp_path, section):
    paths = {name: write_nifti(tmp_path / name / "sub" / "a.nii.gz") for name in ("training", "validation", "test")}
    assert load_datalist(str(tmp_path), section) == [{"image": paths[section]}]


def test_a_datalist_goes_before_folders(tmp_path):
    write_nifti(tmp_path / "training" / "a.nii")
    datalist(tmp_path, training=[{"image": "listed.nii"}])
    assert load_datalist(tmp_path, "training") == [{"image": str(tmp_path / "listed.nii")}]


def test_a_data_set_with_neither_is_an_error(tmp_path):
    write_nifti(tmp_path / "training" / "a.nii")
    with pytest.raises(FileNotFoundError, match=r"needs a datalist\.json or a folder 'test'"):
        load_datalist(tmp_path, "test")


@pytest.mark.parametrize("form", ["datalist", "folders"])
def test_a_section_that_is_not_there_may_be_empty(tmp_path, form):
    if form == "datalist":
        datalist(tmp_path, training=[{"image": "a.nii", "subject": "7"}])
        training = [{"image": str(tmp_path / "a.nii"), "subject": "7"}]
        # The datalist goes before folders.
        write_nifti(tmp_path / "validation" / "a.nii")
    else:
        training = [{"image": write_nifti(tmp_path / "training" / "a.nii")}]
    assert load_datalist(tmp_path, "validation", missing_ok=True) == []
    assert load_datalist(str(tmp_path), "training", missing_ok=True) == training
    with pytest.raises((ValueError, FileNotFoundError), match="validation"):
        load_datalist(tmp_path, "validation")


def test_a_data_set_that_is_not_there_has_no_sections(tmp_path):
    assert load_datalist(tmp_path / "nowhere", "training", missing_ok=True) == []


def test_a_section_that_is_there_without_a_volume_is_no_missing_one(tmp_path):
    (tmp_path / "training").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no volume"):
        load_datalist(tmp_path, "training", missing_ok=True)


def test_a_written_list_is_read_again_with_paths_that_move_with_it(tmp_path):
    (tmp_path / "set").mkdir()
    inside, outside = write_nifti(tmp_path / "set" / "a" / "in.nii"), write_nifti(tmp_path / "out.nii")
    sections = {"training": [{"image": inside, "subject": "s1"}], "test": [{"image": [inside, outside]}]}
    write_datalist(tmp_path / "set" / "datalist.json", "mine", sections, seed=3)
    assert load_datalist(tmp_path / "set", "training") == sections["training"]
    assert load_datalist(tmp_path / "set", "test") == sections["test"]
    written = json.loads((tmp_path / "set" / "datalist.json").read_text())
    assert (written["name"], written["seed"]) == ("mine", 3)
    (tmp_path / "set").rename(tmp_path / "moved")
    (item,) = load_datalist(tmp_path / "moved", "training")
    assert item["image"] == str(tmp_path / "moved" / "a" / "in.nii")


def test_series_and_files_of_all_kinds_are_listed_and_pictures_where_there_is_nothing_else(tmp_path):
    series = tmp_path / "training" / "patient" / "chest"
    series.mkdir(parents=True)
    (series / "IM1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "training" / "b.nrrd").write_bytes(b"")
    (tmp_path / "training" / "c.png").write_bytes(b"")
    found = [tmp_path / "training" / "b.nrrd", series]
    assert load_datalist(tmp_path, "training") == [{"image": str(path)} for path in found]
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "c.png").write_bytes(b"")
    assert load_datalist(tmp_path, "test") == [{"image": str(tmp_path / "test" / "c.png")}]
