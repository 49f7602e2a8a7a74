"""Which volumes to upscale and where the results go; what can be refused is refused here, before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from miassr_monai.files import check_apart, check_new
from miassr_monai.volume_files import (
    OUTPUTS,
    PICTURE,
    check_output,
    find_in_folder,
    kind_by_name,
    kind_of,
    name_of_volume,
    parts_of,
)

__all__ = ["Job", "check_jobs", "find_channels", "find_jobs", "reports_so_far"]

# Stands for a channel that is missing.
MISSING = Path("-")


class Job(NamedTuple):
    """A volume to upscale.

    Attributes:
        source, target: where it is, and where the result goes.
        input_file, output_file: the same within the folders that were given, or the bare names, for reports.
    """

    source: Path
    target: Path
    input_file: str
    output_file: str


def find_jobs(source: Path, target: Path) -> tuple[list[Job], bool]:
    """The volume at a path, or those of a folder; and whether it is a folder of volumes.

    A folder with slices of DICOM files is a volume itself, unless there are others in its sub-folders and ``target`` is
    no name of a file.

    Raises:
        FileNotFoundError: when there is nothing, or nothing in a folder.
        ValueError: when something may not be read, or the results would have no place of their own.
    """
    single = [Job(source, target, Path(os.path.abspath(source)).name, target.name)]
    is_file_name = target.is_file() or target.name.lower().endswith(OUTPUTS)
    kind_of(source)
    if not source.is_dir():
        return single, False
    volumes = find_in_folder(source)
    if source in volumes and (len(volumes) == 1 or is_file_name):
        return single, False
    if not volumes:
        raise FileNotFoundError(
            f"the folder {source} holds no volume: give one with NIfTI, Analyze, NRRD, PNG or TIFF files, or with "
            "DICOM series."
        )
    if is_file_name:
        raise ValueError(f"{source} is a folder of volumes: give a folder for the results, not {target}.")
    inner, outer = sorted((os.path.realpath(source), os.path.realpath(target)), key=len, reverse=True)
    if os.path.commonpath([inner, outer]) == outer:
        raise ValueError(
            f"the folder of the volumes, {source}, and that of the results, {target}, lie in one another, where "
            "results would be taken for volumes: give another folder."
        )
    jobs: dict[Path, Job] = {}
    for path in volumes:
        place = path.relative_to(source)
        result = place.parent / result_name(path)
        if result in jobs:
            raise ValueError(
                f"{jobs[result].source} and {path} would have the same result {target / result}: rename one of them."
            )
        jobs[result] = Job(path, target / result, str(place), str(result))
    return list(jobs.values()), True


def find_channels(sources: Sequence[Path], folder: Path) -> list[Job | None]:
    """The channels of one image, each with its own result in a folder; ``None`` for one that is missing.

    Raises:
        FileNotFoundError: when there is nothing at a path.
        ValueError: when something may not be read, or the results would have no place of their own.
    """
    if folder.is_file() or folder.name.lower().endswith(OUTPUTS):
        raise ValueError(f"each channel has a result of its own: give a folder for them, not {folder}.")
    jobs: dict[str, Job] = {}
    channels: list[Job | None] = []
    for source in sources:
        if source == MISSING:
            channels.append(None)
            continue
        kind_of(source)
        result = result_name(source)
        if result in jobs:
            raise ValueError(
                f"{jobs[result].source} and {source} would have the same result {folder / result}: rename one of them."
            )
        jobs[result] = Job(source, folder / result, Path(os.path.abspath(source)).name, result)
        channels.append(jobs[result])
    if not jobs:
        raise ValueError("no channel is given: give the volumes of the channels, and - for each that is missing.")
    return channels


def result_name(source: Path) -> str:
    """What to call the result of a volume in a folder of results."""
    suffix = source.suffix if kind_by_name(source) == PICTURE and not source.is_dir() else ".nii.gz"
    return f"{name_of_volume(source)}{suffix}"


def check_jobs(
    jobs: list[Job],
    *,
    others: list[Path],
    weights: Path | None,
    folder: Path | None,
    overwrite: bool,
    skip_existing: bool,
) -> None:
    """Check that all that is to be written may be, and is neither one another nor anything that is read.

    Args:
        jobs: the volumes.
        others: files to be written beside the results.
        weights: of the model.
        folder: of the results, if it is a folder of volumes; it is made.
        overwrite: whether what is there may be replaced.
        skip_existing: whether results that are there are left out.

    Raises:
        OSError, ValueError: when something may not be written.
    """
    read = [part for job in jobs for part in parts_of(job.source)]
    check_apart([*(job.target for job in jobs), *others], read if weights is None else [*read, weights])
    for path in others:
        check_new(path, overwrite or skip_existing)
    if folder is None:
        check_output(jobs[0].target, overwrite or skip_existing)
        return
    there = [job.target for job in jobs if os.path.lexists(job.target)]
    if there and not (overwrite or skip_existing):
        raise FileExistsError(
            f"{there[0]} and in all {len(there)} of {len(jobs)} results exist already: give another folder, or "
            "--skip-existing, or --overwrite."
        )
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is not a folder: give another place for the results.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {place} is read-only: write the results somewhere else.")


def reports_so_far(path: Path | None, jobs: list[Job]) -> list[dict[str, Any]]:
    """The reports of volumes whose results an earlier run has left, from the file that it wrote.

    Raises:
        ValueError: when the file holds something else.
    """
    if path is None or not path.exists():
        return []
    try:
        reports = {report.get("output_file"): report for report in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not the report of a folder, which --skip-existing goes on with: give another name."
        ) from error
    return [reports[job.output_file] for job in jobs if job.output_file in reports and job.target.exists()]
