import os
import subprocess
import sys

import pytest

from miassr_monai import volume_files
from miassr_monai.volume_files import VolumeError, find_in_folder, is_dicom, kind_of, parts_of, slices_in

DICOM = bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00"


def write(path, content=b"content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.nii", "NIfTI"),
        ("a.b.NII.GZ", "NIfTI"),
        ("a.hdr", "pair"),
        ("a.Img", "pair"),
        ("a.nrrd", "NRRD"),
        ("a.nhdr", "NRRD"),
        ("a.PNG", "picture"),
        ("a.tif", "picture"),
        ("folder", "DICOM series"),
    ],
)
def test_the_kind_goes_by_the_name(tmp_path, name, kind):
    (tmp_path / "folder").mkdir()
    if name != "folder":
        write(tmp_path / name)
    assert kind_of(tmp_path / name) == kind


@pytest.mark.parametrize("name, content", [("a.jpg", b"\x89PNG"), ("a.nii.txt", b""), ("nii", b"x" * 400)])
def test_a_file_of_another_kind_is_refused(tmp_path, name, content):
    with pytest.raises(VolumeError, match="is not a volume: give a NIfTI"):
        kind_of(write(tmp_path / name, content))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("pipe", "pipe.nii"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(VolumeError, match="is not a volume"):
            kind_of(tmp_path / name)


BARE = (b"\x08\x00\x16\x00UI\x1a\x001.2.", b"\x08\x00\x16\x00\x1a\x00\x00\x001.2.", b"\x08\x00\x05\x00CS\x0a\x00ISO_")


@pytest.mark.parametrize("content", [DICOM, *BARE])
def test_dicom_starts_with_its_mark_or_an_element_of_its_eighth_group(tmp_path, content):
    assert is_dicom(write(tmp_path / "a", content))


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x00", b"DICM", b"\x08\x00 text and more", DICOM[1:], b"\x08\x00\x16\x00ui"]
)
def test_other_files_are_no_dicom(tmp_path, content):
    assert not is_dicom(write(tmp_path / "a", content))


def test_a_folder_is_searched_through_all_its_levels_for_all_kinds(tmp_path):
    names = ["a.nii", "b/a.nii.gz", "b/c/p.hdr", "b/n.NRRD", "b/n.nhdr"]
    for name in (*names, "b/c/p.img", "b/n.raw", "notes.txt", ".a.nii", ".hidden/a.nii", "b/.cache/d/a.nii", "x.nii/y"):
        write(tmp_path / name)
    for name in ("s/IM1", "s/IM2", "deep/er/1.dcm", "b/1.dcm", ".hidden/1.dcm", "only/DICOMDIR"):
        write(tmp_path / name, DICOM)
    found = {str(path.relative_to(tmp_path)) for path in find_in_folder(tmp_path)}
    assert found == {*names, "s", "deep/er", "b"}
    assert find_in_folder(tmp_path) == sorted(find_in_folder(tmp_path))
    nifti = {str(path.relative_to(tmp_path)) for path in find_in_folder(tmp_path, ("NIfTI", "pair"))}
    assert nifti == {"a.nii", "b/a.nii.gz", "b/c/p.hdr"}
    assert find_in_folder(tmp_path / "s") == [tmp_path / "s"]
    assert [path.name for path in slices_in(tmp_path / "s")] == ["IM1", "IM2"]


def test_pictures_are_found_where_there_is_nothing_else(tmp_path):
    pictures = [write(tmp_path / "a.png"), write(tmp_path / "sub" / "b.TIFF")]
    assert find_in_folder(tmp_path) == pictures
    assert find_in_folder(tmp_path / "sub", ("NIfTI",)) == []
    volume = write(tmp_path / "sub" / "c.nii")
    assert find_in_folder(tmp_path) == [volume]


def test_links_are_followed_to_files_even_if_lost_and_not_round_in_circles(tmp_path):
    write(tmp_path / "elsewhere/a.nii")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.nii").symlink_to(tmp_path / "elsewhere/a.nii")
    (tmp_path / "in/lost.nii").symlink_to(tmp_path / "nowhere.nii")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    assert find_in_folder(tmp_path / "in") == [tmp_path / "in/link.nii", tmp_path / "in/lost.nii"]


@pytest.mark.parametrize("locked", ["sub", "sub/a", "."])
def test_what_may_not_be_read_is_named(tmp_path, monkeypatch, locked):
    write(tmp_path / "sub/a")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / locked and access(path, mode))
    with pytest.raises(VolumeError, match="may not be read by this user: change its permissions") as caught:
        find_in_folder(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / locked))


def test_a_volume_has_parts(tmp_path):
    for name in ("a.hdr", "a.img", "a.mat", "b.img", "n.nhdr", "n.raw.gz", "a.nii", "[x].hdr", "[x].img", "x.img"):
        write(tmp_path / name)
    assert {p.name for p in parts_of(tmp_path / "a.hdr")} >= {"a.hdr", "a.img", "a.mat"}
    assert {p.name for p in parts_of(tmp_path / "n.nhdr")} == {"n.nhdr", "n.raw.gz"}
    assert {p.name for p in parts_of(tmp_path / "[x].img")} == {"[x].hdr", "[x].img"}
    assert parts_of(tmp_path / "a.nii") == [tmp_path / "a.nii"]
    assert len(parts_of(tmp_path)) == 10


def test_nothing_heavy_is_imported():
    code = f"import sys, {volume_files.__name__}; print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
