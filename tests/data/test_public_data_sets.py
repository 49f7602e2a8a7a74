import json

import pytest
from monai.apps import DecathlonDataset

from miassr_monai.data import public_data_sets
from miassr_monai.data.public_data_sets import PUBLIC_DATA_SETS, download_task, find_subjects


@pytest.fixture
def touch(tmp_path):
    """Function that makes files below the folder of the data set."""

    def make(*names, content=""):
        for name in names:
            path = tmp_path / "release" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / "release"

    return make


def found(name, folder):
    """Name, group, sections, and images relative to the folder, of each subject."""
    result = []
    for subject in find_subjects(name, folder):
        images = [item["image"] for item in subject.images]
        images = [[str(p.relative_to(folder)) for p in (i if isinstance(i, list) else [i])] for i in images]
        result.append((subject.name, subject.group, subject.sections, images))
    return result


ANYWHERE = ("training", "validation", "test")


def oasis(disc, subject, session=1, scans=4):
    name = f"OAS1_{subject:04d}_MR{session}"
    folder = f"{disc}/{name}/PROCESSED/MPRAGE/T88_111"
    stem = f"{folder}/{name}_mpr_n{scans}_anon_111_t88"
    others = [f"{stem}_gfc.hdr", f"{stem}_gfc.img", f"{disc}/{name}/RAW/{name}_mpr-1_anon.hdr", f"{disc}/{name}.txt"]
    others.append(f"{disc}/{name}/FSL_SEG/{name}_mpr_n{scans}_anon_111_t88_masked_gfc_fseg.hdr")
    return f"{stem}_masked_gfc.hdr", f"{stem}_masked_gfc.img", *others


def test_oasis_has_the_masked_brains_of_first_sessions(touch):
    folder = touch(*oasis("disc1", 3, scans=3), *oasis("disc1", 1), *oasis("disc2", 61), *oasis("disc2", 61, session=2))
    expected = [
        (f"OAS1_{n:04d}", "", ANYWHERE, [[oasis(d, n, scans=s)[0]]])
        for d, n, s in (("disc1", 1, 4), ("disc1", 3, 3), ("disc2", 61, 4))
    ]
    assert found("oasis", folder) == expected
    assert [name for name, *_ in found("oasis", folder / "disc2")] == ["OAS1_0061"]


def test_oasis_without_the_voxels_of_a_header_is_refused(touch):
    header, voxels, *_ = oasis("disc1", 1)
    folder = touch(header)
    with pytest.raises(FileNotFoundError, match=f"is one file of a pair: put {voxels.rsplit('/', 1)[1]} beside it"):
        find_subjects("oasis", folder)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_brats_has_the_paper_s_modalities_in_its_order_and_grades_as_groups(touch, suffix):
    cases = {"HGG/Brats17_TCIA_607_1": "HGG", "LGG/Brats17_2013_1_1": "LGG", "BraTS20_Training_001": ""}
    for case in cases:
        name = case.rsplit("/", 1)[-1]
        folder = touch(*(f"{case}/{name}_{what}{suffix}" for what in ("flair", "t1", "t1ce", "t2", "seg")))
    expected = []
    for case, grade in cases.items():
        name = case.rsplit("/", 1)[-1]
        paths = [f"{case}/{name}_{what}{suffix}" for what in ("t1ce", "t1", "t2", "flair")]
        expected.append((name, grade, ANYWHERE, [paths]))
    assert sorted(found("brats", folder)) == sorted(expected)


def test_brats_of_later_years_has_other_names(touch):
    case = "BraTS-GLI-00002-000"
    folder = touch(*(f"{case}/{case}-{what}.nii.gz" for what in ("t1c", "t1n", "t2f", "t2w", "seg")))
    paths = [f"{case}/{case}-{what}.nii.gz" for what in ("t1c", "t1n", "t2w", "t2f")]
    assert found("brats", folder) == [(case, "", ANYWHERE, [paths])]


def test_brats_without_a_modality_is_refused(touch):
    folder = touch(*(f"HGG/a/a_{what}.nii.gz" for what in ("flair", "t1", "t1ce")))
    with pytest.raises(FileNotFoundError, match=r"HGG/a lacks a_t2\.nii\.gz: complete it"):
        find_subjects("brats", folder)


def acdc(touch, patient, ed, es):
    name = f"patient{patient:03d}"
    frames = [f"{name}/{name}_frame{ed:02d}.nii.gz", f"{name}/{name}_frame{es:02d}.nii.gz"]
    touch(*frames, *(frame.replace(".nii", "_gt.nii") for frame in frames), f"{name}/{name}_4d.nii.gz")
    return touch(f"{name}/Info.cfg", content=f"ED: {ed}\nES: {es}\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n"), frames


def test_acdc_has_the_frames_that_its_descriptions_name(touch):
    folder, first = acdc(touch, 1, 1, 12)
    folder, second = acdc(touch, 100, 4, 9)
    assert found("acdc", folder) == [
        ("patient001", "", ANYWHERE, [[first[0]], [first[1]]]),
        ("patient100", "", ANYWHERE, [[second[0]], [second[1]]]),
    ]
    assert [item["contrast"] for item in find_subjects("acdc", folder)[0].images] == ["ED", "ES"]


def test_acdc_s_own_test_subjects_are_for_the_test_alone(touch):
    folder, _ = acdc(lambda *names, **content: touch(*(f"training/{name}" for name in names), **content), 1, 1, 12)
    folder, _ = acdc(lambda *names, **content: touch(*(f"testing/{name}" for name in names), **content), 101, 1, 12)
    sections = {subject.name: subject.sections for subject in find_subjects("acdc", folder)}
    assert sections == {"patient001": ANYWHERE, "patient101": ("test",)}


def test_acdc_without_a_frame_or_its_number_is_refused(touch):
    folder, (frame, _) = acdc(touch, 1, 1, 12)
    (folder / frame).unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*patient001_frame01\.nii\.gz, which Info\.cfg names as ED"):
        find_subjects("acdc", folder)
    touch("patient001/Info.cfg", content="ES: 12\n")
    with pytest.raises(ValueError, match=r"Info\.cfg does not say which frame is ED"):
        find_subjects("acdc", folder)


def test_covid_ct_keeps_to_the_challenge_s_own_sections(touch):
    scans = ["Train/volume-covid19-A-0003_ct.nii.gz", "Validation/volume-covid19-A-0001_ct.nii.gz"]
    folder = touch(*scans, scans[0].replace("_ct", "_seg"))
    assert found("covid-ct", folder) == [
        ("volume-covid19-A-0003", "", ("training",), [[scans[0]]]),
        ("volume-covid19-A-0001", "", ("validation", "test"), [[scans[1]]]),
    ]


def test_covid_ct_of_dicom_takes_the_longest_series_of_each_folder(touch):
    dicom = "\0" * 128 + "DICM"
    touch("A-01/study/scout/1.dcm", "A-02/b.dcm", *(f"A-01/study/chest/{n}" for n in range(3)), content=dicom)
    folder = touch("A-01/study/notes/a.txt", "A-01/study/notes/b.txt", "A-01/study/notes/c", "A-01/study/notes/d")
    touch("A-03/report.pdf")
    assert found("covid-ct", folder) == [
        ("A-01", "", ANYWHERE, [["A-01/study/chest"]]),
        ("A-02", "", ANYWHERE, [["A-02"]]),
    ]


def test_decathlon_has_the_images_that_its_description_lists(touch):
    images = [f"./imagesTr/la_{n:03d}.nii.gz" for n in (7, 3)]
    description = {"training": [{"image": i, "label": i.replace("images", "labels")} for i in images], "test": ["x"]}
    folder = touch("dataset.json", *images, content=json.dumps(description))
    assert found("decathlon", folder) == [
        ("la_003", "", ANYWHERE, [["imagesTr/la_003.nii.gz"]]),
        ("la_007", "", ANYWHERE, [["imagesTr/la_007.nii.gz"]]),
    ]


def test_a_folder_of_ones_own_has_a_subject_for_each_sub_folder_and_each_file_in_itself(touch):
    touch("dicom/one/1", "dicom/one/2", "dicom/ct/thorax/1", "dicom/ct/abdomen/1", content="\0" * 128 + "DICM")
    folder = touch("frames/b.png", "frames/a.tif", "frames/p7/2.png", "frames/p7/late/1.png", "frames/notes.txt")
    assert found("folder", folder / "frames") == [
        ("a", "", ANYWHERE, [["a.tif"]]),
        ("b", "", ANYWHERE, [["b.png"]]),
        ("p7", "", ANYWHERE, [["p7/2.png"], ["p7/late/1.png"]]),
    ]
    assert found("folder", folder / "dicom") == [
        ("ct", "", ANYWHERE, [["ct/abdomen"], ["ct/thorax"]]),
        ("one", "", ANYWHERE, [["one"]]),
    ]


def test_a_folder_of_ones_own_that_is_divided_already_is_refused(touch):
    folder = touch("test/a.png", "b.png")
    with pytest.raises(ValueError, match="has a folder 'test' already: give it as dataset_dir"):
        find_subjects("folder", folder)


def test_decathlon_without_an_image_that_is_listed_is_refused(touch):
    folder = touch("dataset.json", content=json.dumps({"training": [{"image": "./imagesTr/la_003.nii.gz"}]}))
    with pytest.raises(FileNotFoundError, match=r"no .*la_003\.nii\.gz, which dataset\.json lists"):
        find_subjects("decathlon", folder)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"numTraining": 3}', '{"training": [1]}', '{"training": [], "modality": 3}', '{"training": 1}'],
)
def test_a_description_of_another_data_set_is_no_decathlon(touch, content):
    folder = touch("dataset.json", content=content)
    with pytest.raises(FileNotFoundError, match=r"does not hold a task .* it holds dataset\.json"):
        find_subjects("decathlon", folder)


@pytest.mark.parametrize("name", PUBLIC_DATA_SETS)
def test_another_folder_is_refused_with_what_was_looked_for_and_what_is_there(name, touch, tmp_path):
    folder = touch("photos/cat.jpg", "thesis.pdf", ".hidden")
    layout = PUBLIC_DATA_SETS[name].layout
    with pytest.raises(FileNotFoundError) as error:
        find_subjects(name, folder)
    assert str(folder) in str(error.value)
    assert layout in str(error.value)
    assert str(error.value).endswith("it holds photos, thesis.pdf.")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_subjects(name, tmp_path / "nowhere")


def test_monai_downloads_a_task(monkeypatch, tmp_path):
    asked = []

    monkeypatch.setattr(public_data_sets, "download_and_extract", lambda *arguments: asked.append(arguments))
    task = "Task04_Hippocampus"
    assert download_task(task, tmp_path) == tmp_path / task
    url, md5 = DecathlonDataset.resource[task], DecathlonDataset.md5[task]
    assert asked == [(url, f"{tmp_path / task}.tar", tmp_path, md5, "md5")]
    with pytest.raises(ValueError, match="Task99"):
        download_task("Task99", tmp_path)
