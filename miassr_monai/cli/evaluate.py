"""``miassr evaluate``: models compared with interpolation."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from miassr_monai.bundle import built_in_models, default_bundle
from miassr_monai.cli.arguments import file_path, number, number_per_axis
from miassr_monai.files import check_new

__all__ = ["add_parser"]

SECTION = "test"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="compare models with interpolation on a data set, and write a report",
        usage="miassr evaluate DATA OUT [--model NAME=PATH ...] [other options]",
    )
    parser.add_argument(
        "data", type=file_path, metavar="DATA", help="data set, folder of volumes, or volume: the truth"
    )
    parser.add_argument("output", type=file_path, metavar="OUT", help="folder for report.html, .json, .csv and .txt")
    parser.add_argument(
        "--model", type=named_path, action="append", default=[], metavar="NAME=PATH", help="beside the one built in"
    )
    parser.add_argument("--section", metavar="NAME", help="of a data set; default: test")
    parser.add_argument(
        "--scale",
        type=number_per_axis,
        nargs="+",
        metavar="S",
        help="such as 2, or 1x2 for each axis; default: 1.5 2 2.5 3 3.5 4",
    )
    parser.add_argument(
        "--degradation",
        type=degradation,
        nargs="+",
        metavar="NAME",
        help="such as area, or psf:fwhm=0.8,noise=0.02; default: paper psf kspace",
    )
    parser.add_argument(
        "--protocol",
        choices=("paper",),
        help="pairs and intensities as the MIASSR paper tests; default: the project's own",
    )
    parser.add_argument(
        "--overlay",
        nargs="+",
        default=[],
        metavar="NAME",
        help="configurations over the bundle's, by name or as a file, such as ultrasound or sparse_view_ct",
    )
    parser.add_argument(
        "--task",
        choices=("in-plane", "through-plane", "volume"),
        default="in-plane",
        help="'through-plane' makes thick slices of isotropic volumes, and methods make these isotropic again; "
        "'volume' makes them coarse along all axes, and compares networks on slices with those on volumes",
    )
    parser.add_argument(
        "--crop",
        type=number_per_axis,
        metavar="N",
        help="voxels of the middle of each volume, such as 96 or 96x96x64, for the tasks on volumes; default: all",
    )
    parser.add_argument(
        "--thickness", type=number, nargs="+", default=[3.0, 4.0, 5.0], metavar="MM", help="default: 3 4 5"
    )
    parser.add_argument("--gap", type=number, nargs="+", default=[0.0], metavar="MM", help="between slices; default: 0")
    parser.add_argument(
        "--profile", choices=("gaussian", "box", "rf"), nargs="+", default=["gaussian", "box"], help="of thick slices"
    )
    parser.add_argument(
        "--told-profile", choices=("gaussian", "box", "rf"), help="what methods take it for; default: what it is"
    )
    parser.add_argument("--adapt-minutes", type=number, default=5.0, metavar="M", help="to each scan; default: 5")
    parser.add_argument("--adapt-steps", type=int, metavar="N", help="to each scan; default: 400, from nothing 3000")
    parser.add_argument("--window", type=number, nargs=2, metavar=("LOW", "HIGH"), help="Hounsfield units, for CT")
    parser.add_argument("--slice-step", type=int, metavar="N", help="take every N-th slice only")
    parser.add_argument("--inception", metavar="PATH", help="weights of Inception-v3, a file or an address, for FID")
    parser.add_argument("--frd", action="store_true", help="measure the radiomics distance too, which takes long")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    parser.add_argument("--amp", action="store_true", help="run the networks in bfloat16")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there already")
    parser.set_defaults(run=run)


def named_path(text: str) -> tuple[str, str]:
    """Name and path of ``--model``."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH, such as mine=model.pt")
    return name, path


def degradation(text: str) -> str:
    """A degradation of ``--degradation``, which takes all words that follow."""
    # The package's other files load PyTorch, which takes long.
    from miassr_monai.degradations import parse_degradation

    try:
        return parse_degradation(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (DATA and OUT go before the options)") from None


def find_config(name: str) -> str:
    """The file of a configuration that is given by its path, or by its name in the bundle.

    Raises:
        FileNotFoundError: when there is none.
    """
    path = Path(name) if name.endswith(".json") else default_bundle() / "configs" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration {path}: give one of the bundle's by name, or a file.")
    return str(path)


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


def run_on_volumes(args: argparse.Namespace) -> int:
    """``miassr evaluate --task through-plane`` or ``volume``; 2 where volumes had to be left out."""
    title = args.task.replace("-", "_")
    check_new(args.output / f"{title}.txt" if args.output.exists() else args.output, args.overwrite)
    from tqdm import tqdm

    from miassr_monai.evaluation.volume_report import evaluate_volumes
    from miassr_monai.evaluation.whole_volumes import volume_loader

    conditions, methods = (compared_through_plane if args.task == "through-plane" else compared_as_volumes)(args)
    failed = evaluate_volumes(
        args.output,
        find_items(args),
        volume_loader(args.window, args.crop),
        conditions,
        methods,
        title=title,
        settings={"crop": args.crop, "told": args.told_profile, "amp": args.amp},
        device=args.device,
        progress=partial(tqdm, unit="volume", disable=not sys.stderr.isatty()),
    )
    print((args.output / f"{title}.txt").read_text(encoding="utf-8"), end="")
    for volume, reason in failed.items():
        print(f"miassr: error: {volume} is left out: {reason}", file=sys.stderr)
    return 2 if failed else 0


def refuse(args: argparse.Namespace, reason: str, *names: str) -> None:
    """Refuse options that a task has no use for.

    Raises:
        ValueError: when one of them is given.
    """
    if given := next((name for name in names if getattr(args, name) is not None), None):
        raise ValueError(f"--task {args.task} {reason}: leave out --{given.replace('_', '-')}.")


def compared_through_plane(args: argparse.Namespace) -> tuple[Sequence[Any], dict[str, Any]]:
    """Thick slices, and what makes isotropic volumes of them."""
    refuse(args, "makes thick slices", "scale", "degradation", "protocol", "slice_step", "inception")
    from miassr_monai.adaptation import Adaptation
    from miassr_monai.evaluation.thick_slices import ThickSlices, thick_methods

    adaptation = Adaptation(minutes=args.adapt_minutes, steps=args.adapt_steps)
    models = {"model": None, **dict(args.model)}
    methods = thick_methods(models, adaptation=adaptation, device=args.device, amp=args.amp)
    return ThickSlices.all_of(args.thickness, args.gap, args.profile, args.told_profile), methods


def compared_as_volumes(args: argparse.Namespace) -> tuple[Sequence[Any], dict[str, Any]]:
    """Volumes that are coarse along all axes, and what makes them fine."""
    refuse(args, "degrades volumes", "protocol", "slice_step", "inception", "told_profile")
    from miassr_monai.evaluation.whole_volumes import DegradedVolume, volume_methods

    shipped = {name: name for name in built_in_models() if name == "volume"}
    methods = volume_methods({"model": None, **shipped, **dict(args.model)}, device=args.device, amp=args.amp)
    scales = args.scale or [2.0, 3.0, (1.0, 1.0, 3.0)]
    return DegradedVolume.all_of(args.degradation or ["psf", "kspace"], scales), methods


def find_items(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The volumes of the data set, or those that are found at its path."""
    from miassr_monai.data import find_volumes, load_datalist

    try:
        return load_datalist(args.data, args.section or SECTION)
    except FileNotFoundError:
        # What is no data set has no section either.
        if args.section is not None:
            raise
        return find_volumes(args.data, SECTION)


def run(args: argparse.Namespace) -> int:
    """``miassr evaluate``: the bundle's evaluation; 2 where volumes had to be left out of the report."""
    if args.protocol and (args.window or args.degradation not in (None, ["paper"])):
        raise ValueError(
            "--protocol paper says how to degrade and to scale intensities: leave out --degradation, --window."
        )
    if args.task != "in-plane":
        return run_on_volumes(args)
    if args.crop is not None:
        raise ValueError("--crop is for the tasks on volumes: leave it out, or give --task volume.")
    check_new(args.output.absolute() / "report.html" if args.output.exists() else args.output, args.overwrite)
    from monai.bundle import ConfigWorkflow

    datalist = find_items(args)
    lower, upper = args.window or (None, None)
    methods: dict[str, str | None] = {"linear": "linear", "bicubic": "bicubic", "model": None}
    for name, path in args.model:
        if name in methods:
            raise ValueError(f"there are two methods called {name!r}: give --model another name.")
        methods[name] = path
    overrides = {
        "dataset_dir": str(args.data),
        "datalist": datalist,
        "section": args.section or SECTION,
        "output_dir": str(args.output),
        "methods": methods,
        "scales": args.scale,
        "degradations": args.degradation,
        "intensity_window": bool(args.window) or None,
        "intensity_lower": lower,
        "intensity_upper": upper,
        "slice_step": args.slice_step,
        "inception_path": args.inception,
        "with_frd": args.frd or None,
        "device": args.device,
        "amp": args.amp or None,
    }
    protocol = [f"{args.protocol}_protocol"] if args.protocol else []
    files = [find_config(name) for name in ["evaluate", *protocol, *args.overlay]]
    # MONAI warns that logging was switched off, which was asked for.
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    with unwrapped_errors():
        workflow = ConfigWorkflow(
            config_file=files,
            logging_file=False,
            workflow_type="infer",
            run_id="evaluating",
            **{key: value for key, value in overrides.items() if value is not None},
        )
        workflow.initialize()
        workflow.run()
    print(f"\n{args.output / 'report.html'}")
    failed = workflow.parser.get_parsed_content("evaluation").failed
    if failed:
        print(f"miassr: error: {len(failed)} of {len(datalist)} volumes are left out, see above.", file=sys.stderr)
    return 2 if failed else 0
