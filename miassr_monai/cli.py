"""The command ``miassr``: parses, calls, prints."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import miassr_monai
from miassr_monai.bundle import built_in_models, default_bundle, file_hash, find_model

if TYPE_CHECKING:
    from miassr_monai.prediction import Predictor

__all__ = ["main"]

EPILOG = """examples:
  miassr upscale t1.nii.gz t1_fine.nii.gz --scale 2.5
  miassr upscale dicom_folder fine.nii.gz --spacing 0.5 0.5 --window -160 240
  miassr upscale folder_of_volumes folder_of_results --scale 2 --report report.json
  miassr evaluate folder_of_volumes folder_of_report --model mine=model.pt

exit codes: 0 done, 1 unexpected error, 2 bad input or arguments, 130 interrupted
"""
# As in the bundle's evaluate.json.
DEGRADATIONS = ("paper", "psf", "kspace")
COMPLETION = {
    "bash": """_miassr() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "%(commands)s" -- "$word"))
    elif [ "${word:0:1}" = - ]; then COMPREPLY=($(compgen -W "%(options)s" -- "$word"))
    else COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -o filenames -F _miassr miassr
""",
    "zsh": """#compdef miassr
_miassr() {
    if (( CURRENT == 2 )); then compadd %(commands)s
    elif [[ $words[CURRENT] == -* ]]; then compadd -- %(options)s
    else _files; fi
}
compdef _miassr miassr
""",
}


def number(text: str) -> float:
    """A number of ``--scale``, ``--spacing`` or ``--window``, of which the first two take all words that follow."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number (IN and OUT go before the options)") from None


def named_path(text: str) -> tuple[str, str]:
    """Name and path of ``--model``."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH, such as mine=model.pt")
    return name, path


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="miassr",
        description="Super-resolution of MR and CT at any scale. For research, not for diagnosis.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"miassr {miassr_monai.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    upscale = commands.add_parser(
        "upscale",
        help="super-resolve a volume, a DICOM series or a folder of volumes",
        usage="miassr upscale IN OUT (--scale S [S ...] | --spacing MM [MM ...]) [other options]",
    )
    upscale.add_argument("input", type=Path, metavar="IN", help="NIfTI, Analyze or NRRD file, or a folder")
    upscale.add_argument("output", type=Path, metavar="OUT", help="NIfTI file, or a folder for a folder of volumes")
    size = upscale.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--scale", type=number, nargs="+", metavar="S", help="of a slice's two axes; or one for each axis"
    )
    size.add_argument("--spacing", type=number, nargs="+", metavar="MM", help="wanted, of all axes; or one for each")
    upscale.add_argument(
        "--model", metavar="PATH", help="bundle folder, weights, or a name: 'small', 'bicubic'; default: built in"
    )
    upscale.add_argument("--window", type=number, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units, for CT")
    upscale.add_argument("--slice-axis", type=int, choices=(0, 1, 2), help="default: that of the largest spacing")
    upscale.add_argument(
        "--consistency", choices=("report", "project", "off"), default="report", help="'project' corrects the output"
    )
    upscale.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    upscale.add_argument("--amp", action="store_true", help="run the network in bfloat16")
    upscale.add_argument("--tile-size", type=int, default=512, metavar="N", help="LR pixels; less needs less memory")
    upscale.add_argument("--report", type=Path, metavar="JSON", help="write what was done; a list for a folder")
    upscale.add_argument("--preview", type=Path, metavar="PNG", help="draw the middle slice of the first result")
    upscale.add_argument("--strict", action="store_true", help="make warnings errors")
    upscale.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    upscale.add_argument("--quiet", action="store_true", help="print errors only")
    upscale.set_defaults(run=run_upscale)

    evaluate = commands.add_parser(
        "evaluate",
        help="compare models with interpolation on a data set, and write a report",
        usage="miassr evaluate DATA OUT [--model NAME=PATH ...] [other options]",
    )
    evaluate.add_argument("data", type=Path, metavar="DATA", help="data set, folder of volumes, or volume: the truth")
    evaluate.add_argument("output", type=Path, metavar="OUT", help="folder for report.html, .json, .csv and .txt")
    evaluate.add_argument(
        "--model", type=named_path, action="append", default=[], metavar="NAME=PATH", help="beside the one built in"
    )
    evaluate.add_argument("--section", default="test", help="of a data set; default: test")
    evaluate.add_argument("--scale", type=number, nargs="+", metavar="S", help="default: 1.5 2 2.5 3 3.5 4")
    evaluate.add_argument(
        "--degradation", nargs="+", choices=DEGRADATIONS, metavar="NAME", help=f"default: {' '.join(DEGRADATIONS)}"
    )
    evaluate.add_argument("--window", type=number, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units, for CT")
    evaluate.add_argument("--slice-step", type=int, metavar="N", help="take every N-th slice only")
    evaluate.add_argument("--inception", metavar="PATH", help="weights of Inception-v3, a file or an address, for FID")
    evaluate.add_argument("--frd", action="store_true", help="measure the radiomics distance too, which takes long")
    evaluate.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    evaluate.add_argument("--amp", action="store_true", help="run the networks in bfloat16")
    evaluate.add_argument("--overwrite", action="store_true", help="replace a report that is there already")
    evaluate.set_defaults(run=run_evaluate)

    info = commands.add_parser("info", help="show the model: scales, training spacing, licence")
    info.add_argument("--model", metavar="PATH", help="bundle folder, weights, or 'small'; default: built in")
    info.set_defaults(run=run_info)

    completion = commands.add_parser("completion", help="print a script for the shell's completion")
    completion.add_argument("shell", choices=sorted(COMPLETION))
    completion.set_defaults(run=lambda args: run_completion(args, commands))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    # OpenMP threads that wait by spinning for long slow down a machine that others use. Read when torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # MLflow tells of the tables that it makes in its database. Read when it loads.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    args = make_parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does, so that files that are half written are removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"miassr: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("miassr: interrupted; nothing partial was written.", file=sys.stderr)
        return 130


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


def check_new(path: Path | None, overwrite: bool) -> None:
    """Check that a file may be written, before the work whose result goes there."""
    if path is None:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to write {path.name} in: make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} is read-only: write {path.name} somewhere else.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file.")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already: give another name, or --overwrite.")


def run_upscale(args: argparse.Namespace) -> int:
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


def summary(target: Path, report: dict[str, Any]) -> str:
    """One line about a result."""
    sides = []
    for side in (report["input"], report["output"]):
        size = " x ".join(f"{n}" for n in side["shape"][1:])
        sides.append(f"{size} at {' x '.join(f'{step:.3g}' for step in side['spacing'])} mm")
    consistency = report["consistency"]
    agreement = f", consistency {consistency['psnr_db']:.1f} dB" if consistency and consistency["psnr_db"] else ""
    return f"{target}: {sides[0]} -> {sides[1]}, {report['seconds']:.1f} s{agreement}"


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    """Raise errors of the user's input as they are, not as what MONAI's configurations make of them."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (ValueError, OSError)):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from error


def run_evaluate(args: argparse.Namespace) -> int:
    """``miassr evaluate``: the bundle's evaluation."""
    from monai.bundle import ConfigWorkflow

    from miassr_monai.data import find_volumes, load_datalist

    check_new(args.output.absolute() / "report.html" if args.output.exists() else args.output, args.overwrite)
    try:
        datalist = load_datalist(args.data, args.section)
    except FileNotFoundError:
        datalist = find_volumes(args.data, args.section)
    lower, upper = args.window or (None, None)
    methods: dict[str, str | None] = {"linear": "linear", "bicubic": "bicubic", "model": None}
    for name, path in args.model:
        if name in methods:
            raise ValueError(f"there are two methods called {name!r}: give --model another name.")
        methods[name] = path
    overrides = {
        "dataset_dir": str(args.data),
        "datalist": datalist,
        "section": args.section,
        "output_dir": str(args.output),
        "methods": methods,
        "scales": args.scale,
        "degradations": args.degradation and {name: f"${name}_degradation" for name in args.degradation},
        "intensity_window": bool(args.window) or None,
        "intensity_lower": lower,
        "intensity_upper": upper,
        "slice_step": args.slice_step,
        "inception_path": args.inception,
        "with_frd": args.frd or None,
        "device": args.device,
        "amp": args.amp or None,
    }
    # MONAI warns that logging was switched off, which was asked for.
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    with unwrapped_errors():
        workflow = ConfigWorkflow(
            config_file=str(default_bundle() / "configs" / "evaluate.json"),
            logging_file=False,
            workflow_type="infer",
            run_id="evaluating",
            **{key: value for key, value in overrides.items() if value is not None},
        )
        workflow.initialize()
        workflow.run()
    print(f"\n{args.output / 'report.html'}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """``miassr info``: what the model is and what it was made for."""
    path, metadata = find_model(args.model)
    trained = metadata.get("trained_for", {})
    unknown = "unknown"

    def interval(values: Sequence[float] | None, unit: str = "") -> str:
        return unknown if values is None else f"{values[0]:g} to {values[1]:g}{unit}"

    rows = {
        "model": metadata.get("name", path.name),
        "version": metadata.get("version", unknown),
        "file": f"{path} ({path.stat().st_size / 2**20:.1f} MiB)",
        "sha256": file_hash(path),
        "scales": interval(trained.get("scales")),
        "spacing made": interval(trained.get("spacing_mm"), " mm"),
        "modalities": ", ".join(trained.get("modalities", [unknown])),
        "degradations": ", ".join(trained.get("degradations", [unknown])),
        "licence": trained.get("license", unknown),
        "intended use": metadata.get("intended_use", "research only, not for diagnosis"),
    }
    if args.model is None:
        rows["others"] = ", ".join(f"--model {name}" for name in built_in_models()) or "none"
    for name, value in rows.items():
        print(f"{name:<14}{value}")
    return 0


def run_completion(args: argparse.Namespace, commands: argparse._SubParsersAction) -> int:
    """``miassr completion``: a script for the shell."""
    actions = (action for command in commands.choices.values() for action in command._actions)
    options = " ".join(sorted({option for action in actions for option in action.option_strings}))
    print(COMPLETION[args.shell] % {"commands": " ".join(commands.choices), "options": options}, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
