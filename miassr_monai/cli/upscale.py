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

from miassr_monai.bundle import INTERPOLATIONS, UNTRAINED, find_model, named_models
from miassr_monai.cli.arguments import explain, file_path, number, number_per_axis
from miassr_monai.cli.jobs import Job, check_jobs, find_channels, find_jobs, reports_so_far
from miassr_monai.files import save_atomically
from miassr_monai.volume_files import DTYPES, PICTURE, kind_by_name

if TYPE_CHECKING:
    from miassr_monai.prediction import Predictor

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "upscale",
        help="super-resolve a volume, a DICOM series or a folder of volumes",
        usage="miassr upscale IN OUT (--scale S | --spacing MM) [other options]\n"
        "       miassr upscale --channels IN IN ... OUT (--scale S | --spacing MM) [other options]",
    )
    parser.add_argument(
        "input",
        type=file_path,
        nargs="+",
        metavar="IN",
        help="NIfTI, Analyze, NRRD, PNG or TIFF file, DICOM folder, or a folder of these",
    )
    parser.add_argument(
        "output",
        type=file_path,
        metavar="OUT",
        help="NIfTI file, or PNG or TIFF for a picture, or a folder for a folder or for channels",
    )
    parser.add_argument(
        "--channels",
        action="store_true",
        help="the volumes IN are the channels that the model sees together, in its order; - for one that is missing",
    )
    parser.add_argument("--fill-missing", action="store_true", help="go on where a channel is missing, with 0 for it")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--scale",
        type=number_per_axis,
        metavar="S",
        help="such as 2.5, of all that the model sees; or of each axis: 2x2x3",
    )
    size.add_argument(
        "--spacing", type=number_per_axis, metavar="MM", help="wanted, such as 0.5, of all axes; or of each: 0.5x0.5x3"
    )
    parser.add_argument(
        "--model", metavar="PATH", help=f"bundle folder, weights, or a name: {named_models()}; default: built in"
    )
    parser.add_argument("--window", type=number, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units, for CT")
    parser.add_argument(
        "--degradation",
        metavar="NAME",
        help="how the input came about, such as sparse_view_ct:views=128; default: as the model was trained for",
    )
    parser.add_argument(
        "--slice-axis", type=int, choices=(0, 1, 2), help="default: the one whose spacing is unlike the others"
    )
    parser.add_argument(
        "--slice-thickness",
        type=slice_thickness,
        metavar="MM",
        help="or 'estimate', from what the slices show; default: the file's, or else the distance between slices",
    )
    parser.add_argument(
        "--slice-profile",
        choices=("gaussian", "box", "rf"),
        default="gaussian",
        help="what a slice sees across its thickness; default: gaussian",
    )
    parser.add_argument(
        "--consistency", choices=("report", "project", "off"), default="report", help="'project' corrects the output"
    )
    parser.add_argument(
        "--adapt", action="store_true", help="teach a copy of the model this scan first, for a scale across its slices"
    )
    parser.add_argument("--adapt-minutes", type=number, default=5.0, metavar="M", help="at most; default: 5")
    parser.add_argument("--save-model", type=file_path, metavar="FILE", help="keep the weights that --adapt makes")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    parser.add_argument("--amp", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--tile-size", type=int, default=512, metavar="N", help="LR pixels; less needs less memory")
    parser.add_argument(
        "--dtype",
        choices=("input", *DTYPES),
        metavar="TYPE",
        help="'input', int16, ...: rounded and clipped; default: float32, of pictures the input's",
    )
    parser.add_argument("--report", type=file_path, metavar="JSON", help="write what was done; a list for a folder")
    parser.add_argument("--preview", type=file_path, metavar="PNG", help="draw the middle slice of the first result")
    parser.add_argument("--strict", action="store_true", help="make warnings errors")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    there.add_argument("--skip-existing", action="store_true", help="go on with a folder: leave results that are there")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(run=run)


def slice_thickness(text: str) -> float | str:
    """A number of mm, or that it is to be estimated."""
    return text if text == "estimate" else number(text)


def run(args: argparse.Namespace) -> int:
    """``miassr upscale``: super-resolve one volume, each volume of a folder, or the channels of one image."""
    channels = find_channels(args.input, args.output) if args.channels else []
    if not channels and len(args.input) > 1:
        raise ValueError(f"there are {len(args.input)} volumes: give --channels where they are those of one image.")
    jobs, many = ([job for job in channels if job], False) if channels else find_jobs(args.input[0], args.output)
    if args.save_model is not None and (many or not args.adapt):
        raise ValueError("--save-model keeps what --adapt makes of one scan: give --adapt, and no folder of volumes.")
    check_jobs(
        jobs,
        others=[path for path in (args.report, args.preview, args.save_model) if path is not None],
        weights=None if args.model in (*INTERPOLATIONS, UNTRAINED) else find_model(args.model)[0],
        folder=args.output if many or channels else None,
        overwrite=args.overwrite,
        skip_existing=args.skip_existing,
    )
    reports = reports_so_far(args.report, jobs) if many and args.skip_existing else []
    left = [job for job in jobs if not (args.skip_existing and job.target.exists())]
    if len(left) < len(jobs) and not args.quiet:
        print(f"miassr: {len(jobs) - len(left)} of {len(jobs)} results exist already and are left as they are.")
    if not left:
        return 0
    if not many:
        run_one(left, channels, args)
        return 0
    return run_all(left, args, reports)


def run_one(jobs: list[Job], channels: list[Job | None], args: argparse.Namespace) -> None:
    """Super-resolve one volume, or channels together, of which those among ``jobs`` are written."""
    from miassr_monai.prediction.report import write_report

    predictor = make_predictor(args, jobs[0].target)
    if channels:
        report = upscale_channels(jobs, channels, predictor, args)
    else:
        report = upscale_volume(jobs[0], predictor, args, args.preview)
    if args.report is not None:
        write_report(args.report, report)


def run_all(jobs: list[Job], args: argparse.Namespace, reports: list[dict[str, Any]]) -> int:
    """Super-resolve the volumes of a folder, each for itself; returns the exit code.

    Args:
        jobs: the volumes.
        args: the command's arguments.
        reports: of an earlier run, to be written, too.
    """
    from miassr_monai.prediction.report import write_report

    predictor = make_predictor(args, jobs[0].target)
    preview = args.preview
    failed: list[str] = []
    for job in jobs:
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            reports.append(upscale_volume(job, predictor, args, preview))
            preview = None
        # One volume, whatever is wrong with it, does not stop the others.
        except Exception as error:
            message = explain(error, job.source)
            print(f"miassr: error: {message}", file=sys.stderr)
            failed.append(job.input_file)
            reports.append({"input_file": job.input_file, "error": message.replace(str(job.source), job.input_file)})
        if args.report is not None:
            # As it goes, because whatever stops the run must not take what was done with it.
            write_report(args.report, reports)
    if failed:
        print(f"miassr: {len(failed)} of {len(jobs)} volumes failed: {', '.join(failed)}.", file=sys.stderr)
    return 2 if failed else 0


def make_predictor(args: argparse.Namespace, target: Path) -> Predictor:
    """The predictor that the arguments ask for, for results such as ``target``."""
    from tqdm import tqdm

    from miassr_monai.adaptation import Adaptation
    from miassr_monai.prediction import Predictor

    return Predictor(
        args.model,
        device=args.device,
        amp=args.amp,
        window=args.window,
        degradation=args.degradation,
        slice_axis=args.slice_axis,
        slice_thickness=args.slice_thickness,
        slice_profile=args.slice_profile,
        tile_size=args.tile_size,
        consistency=None if args.consistency == "off" else args.consistency,
        adapt=args.adapt and Adaptation(minutes=args.adapt_minutes),
        dtype=args.dtype or ("input" if kind_by_name(target) == PICTURE else "float32"),
        fill_missing=args.fill_missing,
        progress=partial(tqdm, unit="part", leave=False, disable=args.quiet or not sys.stderr.isatty()),
    )


def save_adapted(predictor: Predictor, path: Path | None) -> None:
    """Write the network that was adapted to the scan, if one was and it is wanted."""
    if path is None or predictor.adapted is None:
        return
    from miassr_monai.networks import cpu_weights

    save_atomically(cpu_weights(predictor.adapted), path)


def upscale_volume(job: Job, predictor: Predictor, args: argparse.Namespace, preview: Path | None) -> dict[str, Any]:
    """Super-resolve one volume; returns the report."""
    from miassr_monai.data import check_output, load_volume, save_volume
    from miassr_monai.data.picture import check_picture
    from miassr_monai.prediction.preview import draw_preview

    check_output(job.target, args.overwrite)
    # Of the volumes of a folder each warning says whose it is.
    source = None if [job.source] == args.input else job.source
    with user_warnings(args.quiet, args.strict, source) as found, memory_errors(job.source, args.tile_size):
        coarse = load_volume(job.source)
        if kind_by_name(job.target) == PICTURE:
            dtype = coarse.meta["original_dtype"] if predictor.dtype == "input" else predictor.dtype
            check_picture(job.target, coarse, dtype)
        try:
            fine = predictor(coarse, scale=args.scale, spacing=args.spacing)
        except ValueError as error:
            raise ValueError(f"{job.source}: {error}") from error
    save_volume(job.target, fine, args.overwrite)
    save_adapted(predictor, args.save_model)
    # A warning names the file, whose folders are nobody else's business.
    found = [message.replace(str(job.source), job.input_file) for message in found]
    report = {"input_file": job.input_file, "output_file": job.output_file, **predictor.report, "warnings": found}
    if not args.quiet:
        print(summary(job.target, report))
    if preview is not None:
        draw_preview(coarse, fine, report, preview)
    return report


def upscale_channels(
    jobs: list[Job], channels: list[Job | None], predictor: Predictor, args: argparse.Namespace
) -> dict[str, Any]:
    """Super-resolve the channels of an image together, and write those of ``jobs``; returns the report."""
    from miassr_monai.data import load_volume, save_volume, split_channels, stack_channels
    from miassr_monai.prediction.preview import draw_preview

    sources = [None if job is None else job.source for job in channels]
    with user_warnings(args.quiet, args.strict, None) as found, memory_errors(jobs[0].source, args.tile_size):
        images = [None if source is None else load_volume(source) for source in sources]
        coarse = stack_channels(sources, images, args.fill_missing)
        try:
            fine = predictor(coarse, scale=args.scale, spacing=args.spacing)
        except ValueError as error:
            raise ValueError(f"{', '.join(map(str, filter(None, sources)))}: {error}") from error
    args.output.mkdir(parents=True, exist_ok=True)
    for job, image in zip(channels, split_channels(fine), strict=True):
        if job in jobs:
            save_volume(job.target, image, args.overwrite)
    save_adapted(predictor, args.save_model)
    for job in filter(None, channels):
        found = [message.replace(str(job.source), job.input_file) for message in found]
    files = {
        "input_file": [job and job.input_file for job in channels],
        "output_file": [job and job.output_file for job in channels],
    }
    report = {**files, **predictor.report, "warnings": found}
    if not args.quiet:
        print(summary(args.output, report))
    if args.preview is not None:
        draw_preview(coarse, fine, report, args.preview)
    return report


@contextmanager
def memory_errors(source: Path, tile_size: int) -> Iterator[None]:
    """Raise what PyTorch, NumPy and ITK raise where memory runs out as a sentence about a volume."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # Of the CPU's memory PyTorch and ITK tell in words only.
        if not (isinstance(error, MemoryError) or re.search("out of memory|alloc", str(error), re.IGNORECASE)):
            raise
        raise ValueError(
            f"{source} needs more memory than there is: give a --tile-size below {tile_size}, or a smaller --scale, or "
            "--device cpu where that has more."
        ) from error


@contextmanager
def user_warnings(quiet: bool, strict: bool, source: Path | None) -> Iterator[list[str]]:
    """Collect warnings for users and show each in one line, keep those of libraries back.

    Args:
        quiet: show none.
        strict: raise them instead.
        source: the volume, which is named in front of warnings that do not name it.
    """
    found: list[str] = []

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        # The package attributes its warnings to its caller, which is this module.
        if filename != show.__code__.co_filename:
            return
        if strict:
            raise ValueError(message)
        found.append(str(message))
        if not quiet:
            place = "" if source is None or str(source) in str(message) else f"{source}: "
            print(f"miassr: warning: {place}{message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield found


def summary(target: Path, report: dict[str, Any]) -> str:
    """One line about a result."""
    known = report["input"]["spacing_known"]
    sides = []
    for side in (report["input"], report["output"]):
        size = " x ".join(f"{n}" for n in side["shape"][1:])
        sides.append(f"{size} at {' x '.join(f'{step:.3g}' for step in side['spacing'])} mm" if known else size)
    consistency = report["consistency"]
    agreement = f", consistency {consistency['psnr_db']:.1f} dB" if consistency and consistency["psnr_db"] else ""
    slices = f"{report['plane']} slices (axis {report['slice_axis']})" if known else "pixels of unknown size"
    if report["spatial_dims"] == 3:
        slices = "as a volume"
    return f"{target}: {sides[0]} -> {sides[1]}, {slices}, {report['seconds']:.1f} s{agreement}"
