"""Which files of a public data set, or of a folder of one's own, are its images, and whose they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from monai.apps import DecathlonDataset, download_and_extract
from monai.utils import look_up_option

from miassr_monai.data.split import SECTIONS, Subject
from miassr_monai.volume_files import NIFTI, SERIES, find_in_folder, kind_by_name, name_of_volume, slices_in

__all__ = ["PUBLIC_DATA_SETS", "PublicDataSet", "download_task", "find_subjects"]

# In the order of the channels: names of BraTS until 2021, and of its later releases.
BRATS_MODALITIES = (("t1ce", "t1", "t2", "flair"), ("t1c", "t1n", "t2w", "t2f"))
BRATS_GRADES = ("HGG", "LGG")


@dataclass(frozen=True)
class PublicDataSet:
    """A data set as its owners release it.

    Attributes:
        title: its name.
        layout: what is looked for, and which folder to give.
        find: a folder to the subjects in it, none where it is another one.
        counts: subjects for training, validation and test in the MIASSR paper's manner; ``None`` for 80, 10 and 10 %.
    """

    title: str
    layout: str
    find: Callable[[Path], list[Subject]]
    counts: tuple[int, int, int] | None = None


def find_subjects(name: str, folder: str | os.PathLike) -> list[Subject]:
    """The subjects of a public data set, and their images.

    Args:
        name: one of :data:`PUBLIC_DATA_SETS`.
        folder: the data set as it was released, or a part of it.

    Raises:
        FileNotFoundError: when there is no such folder, nothing of the data set is in it, or a subject is incomplete.
        ValueError: when there is no such data set.
    """
    folder = Path(folder)
    data_set = look_up_option(name, PUBLIC_DATA_SETS)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give that of {data_set.title}.")
    subjects = data_set.find(folder)
    if not subjects:
        inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        shown = ", ".join(inside[:5]) + (" ..." if len(inside) > 5 else "") or "nothing"
        raise FileNotFoundError(
            f"{folder} does not hold {data_set.title}: looked there for {data_set.layout}; it holds {shown}."
        )
    return subjects


def find_oasis(folder: Path) -> list[Subject]:
    """The first session of each subject: brains in Talairach's space, gain-field corrected and masked, 1 mm."""
    name = "OAS1_*_MR1/PROCESSED/MPRAGE/T88_111/OAS1_*_MR1_*_t88_masked_gfc.hdr"
    subjects = []
    for path in sorted(folder.rglob(name)):
        if not path.with_suffix(".img").is_file():
            raise FileNotFoundError(f"{path} is one file of a pair: put {path.with_suffix('.img').name} beside it.")
        subject = path.name.split("_MR")[0]
        subjects.append(Subject(subject, [{"image": path, "contrast": "T1w"}]))
    return subjects


def find_brats(folder: Path) -> list[Subject]:
    """Four modalities of each subject, a channel each; grades, where the release keeps them apart, are groups."""
    subjects = []
    for first, *others in BRATS_MODALITIES:
        for path in sorted(p for p in folder.rglob(f"[!.]*[_-]{first}.nii*") if kind_by_name(p) == NIFTI):
            stem, _, suffix = path.name.rpartition(f"{first}.nii")
            paths = [path, *(path.with_name(f"{stem}{modality}.nii{suffix}") for modality in others)]
            for other in paths:
                if not other.is_file():
                    raise FileNotFoundError(f"{path.parent} lacks {other.name}: complete it, or move it away.")
            grade = next((name for name in BRATS_GRADES if name in path.parts), "")
            contrasts = [first, *others]
            subjects.append(Subject(stem[:-1], [{"image": paths, "contrast": contrasts}], group=grade))
    return subjects


def find_acdc(folder: Path) -> list[Subject]:
    """The end-diastolic and the end-systolic frame of each subject, which ``Info.cfg`` names; those of the release's
    folder ``testing`` for test alone."""
    subjects = []
    for info in sorted(folder.rglob("patient*/Info.cfg")):
        subject, images = info.parent.name, []
        for phase in ("ED", "ES"):
            number = re.search(rf"^{phase}:\s*(\d+)\s*$", info.read_text(encoding="utf-8"), re.MULTILINE)
            if number is None:
                raise ValueError(f"{info} does not say which frame is {phase}: restore it from the release.")
            path = info.with_name(f"{subject}_frame{int(number[1]):02d}.nii.gz")
            if not path.is_file():
                raise FileNotFoundError(f"there is no {path}, which {info.name} names as {phase}: restore it.")
            images.append({"image": path, "contrast": phase})
        testing = info.parent.parent.name == "testing"
        subjects.append(Subject(subject, images, sections=SECTIONS[2:] if testing else SECTIONS))
    return subjects


def find_covid_ct(folder: Path) -> list[Subject]:
    """The challenge's scans, those of its ``Validation`` for validation and test; or the longest DICOM series of each
    folder."""
    subjects = []
    for path in sorted(folder.rglob("volume-covid19-A-*_ct.nii.gz")):
        sections = {"Train": SECTIONS[:1], "Validation": SECTIONS[1:]}.get(path.parent.name, SECTIONS)
        subjects.append(Subject(path.name.removesuffix("_ct.nii.gz"), [{"image": path}], sections=sections))
    return subjects or find_dicom(folder)


def find_dicom(folder: Path) -> list[Subject]:
    """The longest DICOM series in each sub-folder, which stands for a subject."""
    subjects = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        series = find_in_folder(sub, (SERIES,))
        if series:
            longest = max(series, key=lambda path: sum(1 for _ in slices_in(path)))
            subjects.append(Subject(sub.name, [{"image": longest}]))
    return subjects


def find_decathlon(folder: Path) -> list[Subject]:
    """The images of a task of the Medical Segmentation Decathlon, each of another subject; modalities are channels."""
    description = folder / "dataset.json"
    try:
        task = json.loads(description.read_text(encoding="utf-8"))
        images = sorted(item["image"] for item in task["training"])
        modalities = [name for _, name in sorted(task.get("modality", {}).items())]
    # Other data sets have a file of this name, too.
    except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):
        return []
    contrast = {"contrast": modalities} if len(modalities) > 1 else {}
    subjects = []
    for image in images:
        path = folder / image
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}, which {description.name} lists: restore it from the release.")
        subjects.append(Subject(path.name.removesuffix(".nii.gz"), [{"image": path, **contrast}]))
    return subjects


def find_own(folder: Path) -> list[Subject]:
    """All volumes, series and pictures: those below a sub-folder are of one subject, each in the folder itself of
    another.

    Raises:
        ValueError: when the folder is divided already.
    """
    if divided := [section for section in SECTIONS if (folder / section).is_dir()]:
        raise ValueError(f"{folder} has a folder '{divided[0]}' already: give it as dataset_dir, without a list.")
    images: dict[str, list[Path]] = {}
    for path in find_in_folder(folder):
        above = path.relative_to(folder).parts[:1]
        subject = above[0] if above and (folder / above[0]).is_dir() else name_of_volume(path)
        images.setdefault(subject, []).append(path)
    return [Subject(name, [{"image": path} for path in paths]) for name, paths in sorted(images.items())]


def download_task(task: str, folder: str | os.PathLike) -> Path:
    """Have MONAI download a task of the Medical Segmentation Decathlon, unless it is there; returns its folder.

    Raises:
        ValueError: when there is no such task.
        RuntimeError: when it cannot be downloaded, see ``monai.apps.download_and_extract``.
    """
    url, place = look_up_option(task, DecathlonDataset.resource), Path(folder) / task
    download_and_extract(url, f"{place}.tar", folder, DecathlonDataset.md5[task], "md5")
    return place


PUBLIC_DATA_SETS = {
    "oasis": PublicDataSet(
        "OASIS-1",
        "OAS1_*_MR1/PROCESSED/MPRAGE/T88_111/OAS1_*_MR1_*_t88_masked_gfc.hdr in any folder (unpack the discs, and give "
        "the folder that disc1 and so on lie in, or one of them)",
        find_oasis,
        (30, 3, 9),
    ),
    "brats": PublicDataSet(
        "BraTS",
        "NAME_t1ce.nii.gz with _t1, _t2 and _flair, or NAME-t1c.nii.gz with -t1n, -t2w and -t2f, in any folder (give "
        "the folder that HGG and LGG, or the subjects' folders, lie in)",
        find_brats,
        (50, 3, 10),
    ),
    "acdc": PublicDataSet(
        "ACDC",
        "patient*/Info.cfg with the frames that it names, in any folder (give the folder of the release, or its "
        "'training')",
        find_acdc,
        (80, 1, 19),
    ),
    "covid-ct": PublicDataSet(
        "COVID-19-20",
        "Train/volume-covid19-A-*_ct.nii.gz and Validation/ in any folder, or a folder with DICOM series for each "
        "subject (give the folder that these lie in)",
        find_covid_ct,
        (199, 3, 25),
    ),
    "decathlon": PublicDataSet(
        "a task of the Medical Segmentation Decathlon",
        "the dataset.json of a task, not in folders below (give a task's folder, such as Task04_Hippocampus)",
        find_decathlon,
    ),
    "folder": PublicDataSet(
        "images of your own",
        "NIfTI, Analyze and NRRD files, DICOM series, PNG and TIFF pictures in any folder (give the folder that they, "
        "or the subjects' folders, lie in)",
        find_own,
    ),
}
