"""``miassr evaluate``: models compared with interpolation."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from miassr_monai.bundle import default_bundle
from miassr_monai.cli.arguments import file_path, number, number_per_axis
from miassr_monai.files import check_new

__all__ = ["add_parser"]


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
    parser.add_argument("--section", default="test", help="of a data set; default: test")
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


def run(args: argparse.Namespace) -> int:
    """``miassr evaluate``: the bundle's evaluation; 2 where volumes had to be left out of the report."""
    if args.protocol and (args.window or args.degradation not in (None, ["paper"])):
        raise ValueError(
            "--protocol paper says how to degrade and to scale intensities: leave out --degradation, --window."
        )
    check_new(args.output.absolute() / "report.html" if args.output.exists() else args.output, args.overwrite)
    from monai.bundle import ConfigWorkflow

    from miassr_monai.data import find_volumes, load_datalist

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
    files = ["evaluate", *([f"{args.protocol}_protocol"] if args.protocol else [])]
    # MONAI warns that logging was switched off, which was asked for.
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    with unwrapped_errors():
        workflow = ConfigWorkflow(
            config_file=[str(default_bundle() / "configs" / f"{name}.json") for name in files],
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
