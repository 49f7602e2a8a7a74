import errno
import os
import re
import subprocess
import sys

import pytest
import torch

from miassr_monai.files import HOST, check_apart, check_new, is_running, save_atomically, whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("form", [str, lambda path: path], ids=["string", "path"])
def test_a_file_is_there_once_it_is_whole(tmp_path, old, form):
    path = tmp_path / "report.json"
    if old is not None:
        path.write_bytes(old)
    with whole_file(form(path)) as partial:
        for content in (b"a half", b"the whole"):
            partial.write_bytes(content)
            assert (path.read_bytes() if path.exists() else None) == old
    assert path.read_bytes() == b"the whole"
    assert names(tmp_path) == ["report.json"]


def test_what_is_written_is_hidden_beside_the_file_and_has_its_ending(tmp_path):
    with whole_file(tmp_path / "a.nii.gz") as partial:
        assert partial.parent == tmp_path
        # Searches pass over hidden files, and writers go by the ending.
        assert partial.name.startswith(".") and partial.name.endswith(".a.nii.gz")
        # Two processes that write the same file do not write into one another's.
        assert str(os.getpid()) in partial.name
        partial.write_bytes(b"")


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failure", [FULL, ValueError("bad"), KeyboardInterrupt()], ids=["full", "bug", "kill"])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, failure, old, begun):
    path = tmp_path / "weights.pt"
    if old is not None:
        path.write_bytes(old)
    before = names(tmp_path)
    with pytest.raises(type(failure)) as caught, whole_file(path) as partial:
        if begun:
            partial.write_bytes(b"a half")
        raise failure
    assert names(tmp_path) == before and (old is None or path.read_bytes() == old)
    # Only what the system refuses is about the file.
    assert (caught.value is failure) == (failure is not FULL)


def test_the_error_names_the_file_the_cause_and_a_remedy(tmp_path):
    path = tmp_path / "weights.pt"
    for failure, cause in ((FULL, "No space left on device"), (OSError("the cable is out"), "the cable is out")):
        with pytest.raises(OSError) as caught, whole_file(path):
            raise failure
        assert str(caught.value) == f"{path} cannot be written ({cause}): make room, or write elsewhere."
        assert caught.value.__cause__ is failure


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("nowhere/a.json", errno.ENOENT),
        ("file/a.json", errno.ENOTDIR),
        ("folder", errno.EISDIR),
        (256 * "a", errno.ENAMETOOLONG),
    ],
)
def test_a_place_where_no_file_can_be_is_reported_as_such(tmp_path, place, code):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    message = f"{re.escape(str(tmp_path / place))} cannot be written .{re.escape(os.strerror(code))}.: make room"
    with pytest.raises(OSError, match=message), whole_file(tmp_path / place) as partial:
        partial.write_bytes(b"new")
    assert names(tmp_path) == ["file", "folder"] and (tmp_path / "file").read_bytes() == b"mine"


def test_nothing_written_is_an_error_and_keeps_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="cannot be written"), whole_file(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_is_saved_is_read_back_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "weights.pt"
    content = {"weight": torch.arange(3.0), "epoch": 7}
    save_atomically(content, str(path))
    torch.testing.assert_close(torch.load(path, weights_only=True), content, rtol=0, atol=0)
    assert names(path.parent) == ["weights.pt"]


FULL_DISK = """
import resource, sys, torch
from miassr_monai.files import save_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_atomically(torch.zeros(100_000), sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_old_file_and_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "weights.pt"
    save_atomically(torch.ones(3), path)
    # In a process of its own: the limit would hold for the log that the tests are written to, too.
    told = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True).stdout
    assert f"{path} cannot be written (File too large): make room, or" in told
    assert torch.equal(torch.load(path), torch.ones(3)) and names(tmp_path) == ["weights.pt"]


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match=re.escape(f"{tmp_path}/file/weights.pt cannot be written (")):
        save_atomically(torch.zeros(1), tmp_path / "file" / "weights.pt")


def test_nothing_heavy_is_imported_until_something_is_saved():
    code = "import sys, miassr_monai.files; print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def orphan(folder, process, host=HOST):
    path = folder / f".{host}.{process}.partial.a.nii.gz"
    path.write_bytes(b"a half")
    return path


def test_what_killed_processes_have_left_is_removed_and_no_other_file(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_running(os.getpid()) and is_running(os.getppid()) and not is_running(ended.pid)
    assert not is_running(10**30)
    gone = orphan(tmp_path, ended.pid), orphan(tmp_path, 10**30)
    kept = orphan(tmp_path, os.getppid()), orphan(tmp_path, ended.pid, "elsewhere"), tmp_path / ".1.partial.mine"
    kept[-1].write_bytes(b"")
    (tmp_path / f".{HOST}.{ended.pid}.partial.folder").mkdir()
    with whole_file(tmp_path / "b.json") as partial:
        partial.write_text("whole")
    assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)


def test_a_file_may_be_written_where_nothing_is(tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    check_new(tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    check_new("new")
    for name in ("old", "link"):
        with pytest.raises(FileExistsError, match=f"{name} exists already: give another name, or --overwrite"):
            check_new(tmp_path / name)
        check_new(tmp_path / name, overwrite=True)
    with pytest.raises(IsADirectoryError, match="is a folder: give the name of a file"):
        check_new(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write a in: make it first"):
        check_new("nowhere/a")


@pytest.mark.parametrize("name", [255 * "a", 80 * "€" + ".nii.gz", 127 * "\u00e9"])
def test_the_longest_name_that_a_folder_takes_can_be_written(tmp_path, name):
    with whole_file(tmp_path / name) as partial:
        assert name.endswith(partial.name[-8:])
        partial.write_text("whole")
    assert names(tmp_path) == [name]


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for content in ("new", "newer"):
        with whole_file(tmp_path / "link") as partial:
            assert partial.parent == tmp_path / "there"
            partial.write_text(content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "there/file").read_text() == content
    (tmp_path / "lost").symlink_to("nowhere/file")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write lost in"):
        check_new(tmp_path / "lost", overwrite=True)


def test_devices_and_pipes_are_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null"):
        with pytest.raises(FileExistsError, match="is a device or a pipe: give the name of a file"):
            check_new(path, overwrite=True)


def test_files_that_are_one_under_several_names_are_not_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("in")
    os.link("in", "hard")
    (tmp_path / "to_new").symlink_to("new")
    check_apart(["out", tmp_path / "report", "sub/in"], ["in", "none"])
    for name in ("in", tmp_path / "in", "sub/../in", "link", "hard"):
        with pytest.raises(ValueError, match="is read by this very command: give another name for the result"):
            check_apart(["out", name], ["in"])
    for first, second in (("new", "new"), ("new", "./new"), ("new", "to_new"), ("to_new", "sub/../new")):
        with pytest.raises(ValueError, match=f"{second}.* would be written twice by this very command"):
            check_apart([first, second], ["in"])
