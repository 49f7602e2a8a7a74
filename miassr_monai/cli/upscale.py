"""``miassr upscale``: a volume, or those of a folder, made finer."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miassr_monai.cli.arguments import check_new, number

if TYPE_CHECKING:
    from miassr_monai.prediction import Predictor

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "upscale",
        help="super-resolve a volume, a DICOM series or a folder of volumes",
        usage="miassr upscale IN OUT (--scale S [S ...] | --spacing MM [MM ...]) [other options]",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="NIfTI, Analyze or NRRD file, or a folder")
    parser.add_argument("output", type=Path, metavar="OUT", help="NIfTI file, or a folder for a folder of volumes")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--scale", type=number, nargs="+", metavar="S", help="of a slice's two axes; or one for each axis"
    )
    size.add_argument("--spacing", type=number, nargs="+", metavar="MM", help="wanted, of all axes; or one for each")
    parser.add_argument(
        "--model", metavar="PATH", help="bundle folder, weights, or a name: 'small', 'bicubic'; default: built in"
    )
    parser.add_argument("--window", type=number, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units, for CT")
    parser.add_argument("--slice-axis", type=int, choices=(0, 1, 2), help="default: that of the largest spacing")
    parser.add_argument(
        "--consistency", choices=("report", "project", "off"), default="report", help="'project' corrects the output"
    )
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    parser.add_argument("--amp", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--tile-size", type=int, default=512, metavar="N", help="LR pixels; less needs less memory")
    parser.add_argument("--report", type=Path, metavar="JSON", help="write what was done; a list for a folder")
    parser.add_argument("--preview", type=Path, metavar="PNG", help="draw the middle slice of the first result")
    parser.add_argument("--strict", action="store_true", help="make warnings errors")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """``miassr upscale``: super-resolve one volume, or each volume of a folder."""
    from tqdm import tqdm

    from miassr_monai.prediction import Predictor
    from miassr_monai.prediction.report import write_report

    jobs = find_jobs(args.input, args.output)
    for path in (args.report, args.preview):
        check_new(path, args.overwrite)
    progress = partial(tqdm, unit="slice", leave=False, disable=args.quiet or not sys.stderr.isatty())
    predictor = Predictor(
        args.model,
        device=args.device,
        amp=args.amp,
        window=args.window,
        slice_axis=args.slice_axis,
        tile_size=args.tile_size,
        consistency=None if args.consistency == "off" else args.consistency,
        progress=progress,
    )
    reports: list[dict[str, Any]] = []
    for source, target in jobs or [(args.input, args.output)]:
        try:
            if jobs:
                target.parent.mkdir(parents=True, exist_ok=True)
            reports.append(upscale_volume(source, target, predictor, args, preview=None if reports else args.preview))
        except (ValueError, OSError) as error:
            print(f"miassr: error: {error}", file=sys.stderr)
    if args.report is not None and reports:
        write_report(args.report, reports if jobs else reports[0])
    return 0 if len(reports) == max(1, len(jobs)) else 2


def find_jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Input and output files of a folder of volumes; nothing for a single volume or a DICOM series."""
    from miassr_monai.data import find_volumes
    from miassr_monai.data.dicom import is_dicom

    if not source.is_dir() or any(is_dicom(p) for p in source.iterdir() if p.is_file()):
        return []
    if target.is_file() or target.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"{source} is a folder of volumes: give a folder for the results, not {target}.")
    jobs: dict[Path, Path] = {}
    for item in find_volumes(source):
        path = Path(item["image"])
        name = re.sub(r"(\.nii)?(\.gz|\.nii|\.hdr)$", "", path.name, flags=re.IGNORECASE)
        result = target / path.relative_to(source).parent / f"{name}.nii.gz"
        if result in jobs:
            raise ValueError(f"{jobs[result]} and {path} would have the same result {result}: rename one of them.")
        jobs[result] = path
    return [(path, result) for result, path in jobs.items()]


def upscale_volume(
    source: Path, target: Path, predictor: Predictor, args: argparse.Namespace, preview: Path | None
) -> dict[str, Any]:
    """Super-resolve one volume; returns the report."""
    from torch.cuda import OutOfMemoryError

    from miassr_monai.data.volume import check_output, load_volume, save_volume
    from miassr_monai.prediction.preview import draw_preview

    check_new(target, args.overwrite)
    check_output(target, args.overwrite)
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the input itself: give another name for the result.")
    with user_warnings(args.quiet, args.strict) as found:
        coarse = load_volume(source)
        try:
            fine = predictor(coarse, scale=args.scale, spacing=args.spacing)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        except OutOfMemoryError as error:
            raise ValueError(
                f"{source} needs more memory than the GPU has left: give a --tile-size below {args.tile_size}, or "
                "--device cpu."
            ) from error
    save_volume(target, fine, args.overwrite)
    # A warning names the file, whose folders are nobody else's business.
    found = [message.replace(str(source), source.name) for message in found]
    report = {"input_file": source.name, "output_file": target.name, **predictor.report, "warnings": found}
    if not args.quiet:
        print(summary(target, report))
    if preview is not None:
        draw_preview(coarse, fine, report, preview)
    return report


@contextmanager
def user_warnings(quiet: bool, strict: bool) -> Iterator[list[str]]:
    """Collect warnings for users and show each in one line, keep those of libraries back; ``strict`` raises them."""
    found: list[str] = []

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        # The package attributes its warnings to its caller, which is this module.
        if filename != show.__code__.co_filename:
            return
        if strict:
            raise ValueError(message)
        found.append(str(message))
        if not quiet:
            print(f"miassr: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield found


def summary(target: Path, report: dict[str, Any]) -> str:
    """One line about a result."""
    sides = []
    for side in (report["input"], report["output"]):
        size = " x ".join(f"{n}" for n in side["shape"][1:])
        sides.append(f"{size} at {' x '.join(f'{step:.3g}' for step in side['spacing'])} mm")
    consistency = report["consistency"]
    agreement = f", consistency {consistency['psnr_db']:.1f} dB" if consistency and consistency["psnr_db"] else ""
    return f"{target}: {sides[0]} -> {sides[1]}, {report['seconds']:.1f} s{agreement}"
