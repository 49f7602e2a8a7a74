import json
import re
from pathlib import Path

import pytest

from miassr_monai.cli.jobs import Job, check_jobs, find_jobs, reports_so_far

DICOM = bytes(128) + b"DICM"


def write(path, content=b"content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def check(jobs, folder=Path("results"), others=(), weights=None, **options):
    options = {"overwrite": False, "skip_existing": False} | options
    check_jobs(jobs, others=list(others), weights=weights, folder=folder, **options)


def test_one_volume_is_one_job():
    assert find_jobs(Path("in.nii.gz"), Path("deep/out.nii")) == (
        [Job(Path("in.nii.gz"), Path("deep/out.nii"), "in.nii.gz", "out.nii")],
        False,
    )


def test_each_volume_of_a_folder_has_a_result_in_its_place(folder):
    for name in ("a.nii", "b.X.hdr", "sub/a.NRRD", "sub/c.nii.nii.gz", "sub/d.hdr.nii"):
        write(folder / "all" / name)
    write(folder / "all/s.nii/IM1", DICOM)
    jobs, many = find_jobs(Path("all"), Path("new/results"))
    assert many
    assert {job.input_file: job.output_file for job in jobs} == {
        "a.nii": "a.nii.gz",
        "b.X.hdr": "b.X.nii.gz",
        "s.nii": "s.nii.nii.gz",
        "sub/a.NRRD": "sub/a.nii.gz",
        "sub/c.nii.nii.gz": "sub/c.nii.nii.gz",
        "sub/d.hdr.nii": "sub/d.hdr.nii.gz",
    }
    for job in jobs:
        assert (job.source, job.target) == (Path("all", job.input_file), Path("new/results", job.output_file))


def test_a_series_is_a_volume_of_its_folder_or_one_of_several(folder, monkeypatch):
    write(folder / "s/IM1", DICOM)
    single = [Job(Path("s"), Path("out.nii"), "s", "out.nii")]
    assert find_jobs(Path("s"), Path("out.nii")) == (single, False)
    write(folder / "s/deeper/IM1", DICOM)
    assert find_jobs(Path("s"), Path("out.nii")) == (single, False)
    jobs, many = find_jobs(Path("s"), Path("results"))
    assert many and {job.input_file: job.output_file for job in jobs} == {".": "s.nii.gz", "deeper": "deeper.nii.gz"}
    monkeypatch.chdir(folder / "s")
    assert find_jobs(Path("."), Path("../out.nii"))[0][0].input_file == "s"


def test_an_empty_folder_and_a_missing_one_are_told(folder):
    (folder / "empty/.hidden").mkdir(parents=True)
    write(folder / "empty/notes.txt")
    with pytest.raises(FileNotFoundError, match="the folder empty holds no volume: give one with NIfTI"):
        find_jobs(Path("empty"), Path("results"))
    with pytest.raises(FileNotFoundError, match="there is no file or folder none: check the path"):
        find_jobs(Path("none"), Path("results"))


@pytest.mark.parametrize("target", ["all", "all/", "all/out", "all/sub/../out", ".", "link", "link/out", "sub/.."])
def test_folders_that_lie_in_one_another_are_refused(folder, target):
    write(folder / "all/a.nii")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("all")
    with pytest.raises(ValueError, match="lie in one another, where results would be taken for volumes: give another"):
        find_jobs(Path("all"), Path(target))
    # Names that only begin alike are apart.
    assert find_jobs(Path("all"), Path("all2"))[1]


@pytest.mark.parametrize("target", ["out.nii.gz", "out.NII", "file"])
def test_a_folder_needs_a_folder_for_its_results(folder, target):
    write(folder / "all/a.nii")
    write(folder / "file")
    with pytest.raises(ValueError, match=re.escape(f"give a folder for the results, not {target}.")):
        find_jobs(Path("all"), Path(target))


def test_two_volumes_with_one_result_are_refused(folder):
    for name in ("a.nii", "a.nrrd"):
        write(folder / "all" / name)
    with pytest.raises(ValueError, match=r"all/a\.nii and all/a\.nrrd would have the same result results/a\.nii\.gz"):
        find_jobs(Path("all"), Path("results"))


@pytest.fixture
def jobs(folder):
    for name in ("a.nii", "b.nii", "c/d.nii"):
        write(folder / "all" / name)
    return find_jobs(Path("all"), Path("results"))[0]


def test_results_that_exist_are_replaced_or_left_out_only_if_told_to(folder, jobs):
    check(jobs)
    write(folder / "results/b.nii.gz")
    (folder / "results/c").mkdir()
    (folder / "results/c/d.nii.gz").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match=r"results/b\.nii\.gz and in all 2 of 3 results exist already: give"):
        check(jobs)
    check(jobs, overwrite=True)
    check(jobs, skip_existing=True)


@pytest.mark.parametrize("other", ["all/a.nii", "results/c/d.nii.gz", "weights.pt", "all/c/../b.nii"])
@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"skip_existing": True}])
def test_other_files_are_apart_from_all_volumes_results_and_weights(folder, jobs, other, options):
    write(folder / "weights.pt")
    with pytest.raises(ValueError, match="by this very command: give another name"):
        check(jobs, others=[Path(other)], weights=Path("weights.pt"), **options)
    with pytest.raises(ValueError, match=r"r\.json would be written twice by this very command"):
        check(jobs, others=[Path("r.json"), Path("r.json")], **options)


@pytest.mark.parametrize("place", ["file", "file/deeper", "in.nii.gz/x"])
def test_a_place_for_results_that_is_no_folder_is_refused(folder, jobs, place):
    write(folder / "file")
    with pytest.raises(NotADirectoryError, match="is not a folder: give another place for the results"):
        check(jobs, folder=Path(place))


def test_reports_of_results_that_are_there_are_kept(folder, jobs):
    assert reports_so_far(None, jobs) == reports_so_far(Path("none.json"), jobs) == []
    reports = [{"output_file": name, "n": n} for n, name in enumerate(("b.nii.gz", "a.nii.gz", "elsewhere.nii.gz"))]
    reports.append({"input_file": "c/d.nii", "error": "it is damaged"})
    Path("r.json").write_text(json.dumps(reports))
    write(folder / "results/b.nii.gz")
    assert reports_so_far(Path("r.json"), jobs) == reports[:1]


@pytest.mark.parametrize("content", ["{", "3", "[3]", '["a"]', '{"output_file": "a"}', "null"])
def test_a_file_that_is_no_report_of_a_folder_is_refused(jobs, content):
    Path("r.json").write_text(content)
    with pytest.raises(ValueError, match=r"r\.json is not the report of a folder, which --skip-existing goes on with"):
        reports_so_far(Path("r.json"), jobs)
