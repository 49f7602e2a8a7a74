"""``miassr datalist``: a public data set, or a folder of one's own, made ready for training."""

from __future__ import annotations

import argparse
from pathlib import Path

from miassr_monai.files import check_new

__all__ = ["add_parser"]

# As in the table of data sets, whose module is slow to load.
NAMES = ("oasis", "brats", "acdc", "covid-ct", "decathlon", "folder")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("datalist", help="list a data set's images for training, validation and test")
    parser.add_argument(
        "name", choices=NAMES, metavar="NAME", help=f"{', '.join(NAMES[:-1])}; {NAMES[-1]}: images of your own"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the data set is, as it was released")
    parser.add_argument("--output", type=Path, metavar="JSON", help="default: datalist.json in DIR")
    parser.add_argument(
        "--counts",
        type=int,
        nargs=3,
        metavar=("TRAINING", "VALIDATION", "TEST"),
        help="subjects to draw; default: as in the MIASSR paper, or 80, 10 and 10 %%",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw; default: 0")
    parser.add_argument("--download", metavar="TASK", help="decathlon: load a task to DIR first, such as Task02_Heart")
    parser.add_argument("--overwrite", action="store_true", help="replace a list that is there already")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """``miassr datalist``: find the images, draw the subjects of each section, write the list, print the counts."""
    from miassr_monai.data.datalist import DATALIST_NAME, write_datalist
    from miassr_monai.data.public_data_sets import PUBLIC_DATA_SETS, download_task, find_subjects
    from miassr_monai.data.split import split_subjects

    folder = args.folder
    if args.download is not None:
        if args.name != "decathlon":
            raise ValueError(f"only tasks of the decathlon can be downloaded: ask the owners of {args.name} for it.")
        folder = download_task(args.download, folder)
    output = args.output or folder / DATALIST_NAME
    subjects = find_subjects(args.name, folder)
    check_new(output, args.overwrite)
    data_set = PUBLIC_DATA_SETS[args.name]
    sections = split_subjects(subjects, args.counts or data_set.counts, seed=args.seed)
    items = {
        section: [{**image, "subject": subject.name} for subject in drawn for image in subject.images]
        for section, drawn in sections.items()
    }
    write_datalist(output, data_set.title, items, seed=args.seed)
    for section, drawn in sections.items():
        groups = sorted({subject.group for subject in drawn} - {""})
        shown = [f"{group} {sum(subject.group == group for subject in drawn)}" for group in groups]
        kinds = f" ({', '.join(shown)})" if shown else ""
        print(f"{section:<12}{len(drawn):>5} subjects, {len(items[section])} images{kinds}")
    left = len(subjects) - sum(map(len, sections.values()))
    print(f"{'left out':<12}{left:>5} subjects\n{output}")
    return 0
