import pytest

from miassr_monai.data import check_disjoint, subject_of


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("study/sub-01/anat/sub-01_T1w.nii.gz", "sub-01"),
        ("sub-control07_ses-2_FLAIR.nii", "sub-control07"),
        ("sub-12/scan.nii", "sub-12"),
        ("sub-1.nii.gz", "sub-1"),
        ("my-sub-sampled/a.nii", None),
        # Folders above the data set are named by whoever keeps it.
        ("sub-cortical/data/sub-03_T2w.nii.gz", "sub-03"),
        ("OAS1_0001_MR1.hdr", None),
        ("brain.nii", None),
    ],
)
def test_the_subject_is_that_of_a_bids_path(path, subject):
    assert subject_of({"image": path}) == subject


def test_an_image_of_several_files_has_their_subject_and_shares_any_of_them():
    several = {"image": [None, "sub-02/t1.nii", "sub-02/t2.nii"]}
    assert subject_of(several) == "sub-02"
    check_disjoint([several], items("sub-03/t2.nii"))
    with pytest.raises(ValueError, match=r"the file .*/t2.nii is in the lists"):
        check_disjoint([{"image": ["t1.nii", "t2.nii"]}], items("t2.nii"))


@pytest.mark.parametrize(("given", "subject"), [("OAS1_0001", "OAS1_0001"), (17, "17")])
def test_a_subject_that_is_given_goes_before_the_path(given, subject):
    assert subject_of({"image": "sub-01/sub-01_T1w.nii", "subject": given}) == subject


def items(*paths):
    return [{"image": path} for path in paths]


def test_subjects_and_files_apart_are_fine():
    check_disjoint(items("a/sub-01_T1w.nii", "x.nii"), items("a/sub-02_T1w.nii", "y.nii"))
    # The beginning of a label is another label, and two files of nobody known are not of one subject.
    check_disjoint(items("sub-01_T1w.nii"), items("sub-011_T1w.nii", "x.nii"))
    for empty in (([], items("x.nii")), (items("x.nii"), []), ([], [])):
        check_disjoint(*empty)


def test_a_subject_in_both_lists_is_refused_though_its_files_differ():
    message = r"the subject sub-02 is in the lists of training and of testing: take it out of one of them\."
    with pytest.raises(ValueError, match=message):
        check_disjoint(items("sub-01_T1w.nii", "sub-02_T1w.nii"), items("other/sub-02_T2w.nii", "sub-03_T2w.nii"))
    with pytest.raises(ValueError, match=r"the subject 7 is in"):
        check_disjoint([{"image": "a.nii", "subject": 7}], [{"image": "b.nii", "subject": "7"}])


def test_of_several_the_first_is_named_and_the_others_are_counted():
    training = items(*(f"sub-{i}_T1w.nii" for i in (9, 4, 6, 1)))
    with pytest.raises(ValueError, match=r"the subject sub-4 and 2 more is in"):
        check_disjoint(training, items(*(f"sub-{i}_T2w.nii" for i in (6, 9, 4, 2))))


def test_a_file_in_both_lists_is_refused_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.nii").write_bytes(b"")
    (tmp_path / "linked.nii").symlink_to(tmp_path / "a.nii")
    for name in ("a.nii", "./folder/../a.nii", "linked.nii", str(tmp_path / "a.nii")):
        with pytest.raises(ValueError, match=rf"the file {tmp_path.resolve()}/a\.nii is in the lists"):
            check_disjoint(items("a.nii", "b.nii"), items(name, "c.nii"))
    check_disjoint(items("a.nii"), items("folder/a.nii"))
    # One who gives other subjects to the same file is mistaken.
    with pytest.raises(ValueError, match="the file"):
        check_disjoint([{"image": "a.nii", "subject": "1"}], [{"image": "a.nii", "subject": "2"}])
