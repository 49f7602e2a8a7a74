import json

import pytest

from miassr_monai.cli import main
from miassr_monai.cli.datalist import NAMES
from miassr_monai.data import load_datalist
from miassr_monai.data.public_data_sets import PUBLIC_DATA_SETS


@pytest.fixture
def brats(folder):
    """Folder with eight subjects, six of them of the higher grade."""
    for number in range(8):
        name = f"Brats17_TCIA_{number:03d}_1"
        case = folder / "brats" / ("HGG" if number < 6 else "LGG") / name
        case.mkdir(parents=True)
        for what in ("flair", "t1", "t1ce", "t2", "seg"):
            (case / f"{name}_{what}.nii.gz").touch()
    return folder / "brats"


def test_the_table_of_data_sets_is_offered():
    assert tuple(PUBLIC_DATA_SETS) == NAMES


def test_a_list_is_written_and_counts_are_printed(brats, capsys):
    assert main(["datalist", "brats", str(brats), "--counts", "4", "0", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "training        4 subjects, 4 images (HGG 3, LGG 1)",
        "validation      0 subjects, 0 images",
        "test            3 subjects, 3 images (HGG 2, LGG 1)",
        "left out        1 subjects",
        str(brats / "datalist.json"),
    ]
    written = json.loads((brats / "datalist.json").read_text())
    assert (written["name"], written["seed"]) == ("BraTS", 5)
    item = load_datalist(brats, "training")[0]
    case = f"{brats}/HGG/{item['subject']}/{item['subject']}"
    assert item["image"] == [f"{case}_{what}.nii.gz" for what in ("t1ce", "t1", "t2", "flair")]
    assert written["training"][0]["image"][0] == f"HGG/{item['subject']}/{item['subject']}_t1ce.nii.gz"


def test_a_list_elsewhere_leads_to_the_images_too(brats, folder):
    (folder / "lists").mkdir()
    arguments = ["datalist", "brats", str(brats), "--counts", "1", "1", "1", "--output", "lists/datalist.json"]
    assert main(arguments) == 0
    (item,) = load_datalist("lists", "test")
    assert item["image"][0].startswith(str(brats))


def test_more_subjects_than_there_are_and_lists_that_are_there_are_refused(brats, capsys):
    assert main(["datalist", "brats", str(brats)]) == 2
    assert "50 + 3 + 10 subjects are asked for" in capsys.readouterr().err
    assert not (brats / "datalist.json").exists()
    (brats / "datalist.json").write_text("mine")
    assert main(["datalist", "brats", str(brats), "--counts", "1", "1", "1"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (brats / "datalist.json").read_text() == "mine"
    assert main(["datalist", "brats", str(brats), "--counts", "1", "1", "1", "--overwrite"]) == 0


def test_a_decathlon_task_is_downloaded_on_request_only(folder, monkeypatch, capsys):
    def download(*arguments):
        (folder / "data" / "Task02_Heart").mkdir(parents=True)
        images = [{"image": f"./imagesTr/la_{n:03d}.nii.gz"} for n in range(20)]
        (folder / "data" / "Task02_Heart" / "dataset.json").write_text(json.dumps({"training": images}))
        (folder / "data" / "Task02_Heart" / "imagesTr").mkdir()
        for item in images:
            (folder / "data" / "Task02_Heart" / item["image"]).touch()

    monkeypatch.setattr("miassr_monai.data.public_data_sets.download_and_extract", download)
    assert main(["datalist", "oasis", "data", "--download", "Task02_Heart"]) == 2
    assert "only tasks of the decathlon can be downloaded" in capsys.readouterr().err
    assert main(["datalist", "decathlon", "data", "--download", "Task02_Heart"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[:3]] == ["16", "2", "2"]
    assert len(load_datalist("data/Task02_Heart", "validation")) == 2
