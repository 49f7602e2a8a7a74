"""``miassr compare``: networks trained alike and evaluated side by side."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miassr_monai.cli.arguments import file_path

if TYPE_CHECKING:
    from miassr_monai.comparison import Plan

__all__ = ["add_parser"]

# What can differ between a run and the one that goes on with it.
MACHINE = ("device", "num_workers")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "compare",
        help="train a list of networks alike, evaluate them side by side, and write table and figure",
        usage="miassr compare DATA OUT [--plan PLAN] [other options]",
    )
    parser.add_argument("data", type=file_path, metavar="DATA", help="data set with training, validation and test")
    parser.add_argument("output", type=file_path, metavar="OUT", help="folder; one that is there is gone on with")
    parser.add_argument(
        "--plan", default="trunks", metavar="PLAN", help="JSON file, or a name: trunks, size, gan; default: trunks"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks of the plan to train; default: all")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at once; default: 1")
    parser.add_argument("--section", default="test", help="of the data set, to evaluate on; default: test")
    parser.add_argument(
        "--set",
        type=setting,
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="of train.json or evaluate.json, or both, such as warmup_epochs=4",
    )
    parser.add_argument("--inception", metavar="PATH", help="weights of Inception-v3, a file or an address, for FID")
    parser.add_argument("--num-workers", type=int, metavar="N", help="processes of each training that load data")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0; default: a GPU if there is one")
    parser.add_argument("--amp", action="store_true", help="train and evaluate in bfloat16")
    parser.set_defaults(run=run)


def setting(text: str) -> tuple[str, Any]:
    """Key and value of ``--set``."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as warmup_epochs=4")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def run(args: argparse.Namespace) -> int:
    """``miassr compare``: train what is not trained yet, evaluate, write the table; 2 where a training has failed."""
    from miassr_monai.comparison import Training, check_plan, read_plan, train_all

    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}: a whole number from 1 is accepted.")
    given = {"section": args.section, "inception_path": args.inception, "amp": args.amp or None}
    given = {key: value for key, value in given.items() if value is not None}
    plan = read_plan(args.plan).with_settings({**given, **dict(args.settings)})
    if args.only:
        plan = plan.only(args.only)
    check_data(plan, args.data, args.section)
    check_plan(plan)
    options = {key: value for key in MACHINE if (value := getattr(args, key)) is not None}
    options |= {"dataset_dir": str(args.data.absolute()), "tracking_uri": tracking_uri(args.output)}
    folder = args.output.absolute()
    trainings = [Training(name, folder / name, *plan.overlays(name), options) for name in plan.networks]
    for training in trainings:
        training.check()
    failed = train_all(trainings, args.jobs, lambda text: print(f"miassr: {text}", flush=True))
    trained = {training.name: training.weights for training in trainings if training.name not in failed}
    if not trained:
        raise ValueError("no network could be trained, see above.")
    if evaluate(plan, folder, trained, {key: options[key] for key in ("dataset_dir", "device") if key in options}):
        return 2
    sum_up(plan, folder, trained, args.device)
    for name, wrong in failed.items():
        print(f"miassr: error: {name} is left out: {wrong}", file=sys.stderr)
    return 2 if failed else 0


def check_data(plan: Plan, data: Path, section: str) -> None:
    """Check that there is what is needed to the end, before it is needed."""
    from miassr_monai.data import load_datalist
    from miassr_monai.evaluation import feature_distances

    for name in ("training", "validation", section):
        load_datalist(data, name)
    feature_distances(plan.evaluation.get("inception_path"), with_frd=False)


def tracking_uri(folder: Path) -> str:
    """Where MLflow keeps all runs of a comparison."""
    from monai.utils import path_to_sqlite_uri

    return path_to_sqlite_uri(folder.absolute() / "mlruns.db")


def evaluate(plan: Plan, folder: Path, weights: dict[str, Path], options: dict[str, str]) -> int:
    """Run the bundle's evaluation of the networks; its exit code."""
    from miassr_monai.comparison.training import bundle_command
    from miassr_monai.files import whole_file

    files, settings = plan.evaluation_overlays()
    overlay = folder / "evaluation.json"
    methods = {"bicubic": "bicubic", **{name: str(path) for name, path in weights.items()}}
    with whole_file(overlay) as partial:
        partial.write_text(json.dumps({**settings, "methods": methods}, indent=4) + "\n", encoding="utf-8")
    command = bundle_command("evaluating", [*files, str(overlay)], {**options, "output_dir": str(folder)})
    return subprocess.run(command).returncode


def sum_up(plan: Plan, folder: Path, weights: dict[str, Path], device: str | None) -> None:
    """Write the table and the figure, to MLflow as well, and print the table."""
    from miassr_monai.comparison import comparison_rows, comparison_table, write_comparison
    from miassr_monai.comparison.mlflow import log_comparison

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = comparison_rows(report, weights, device, bool(plan.evaluation.get("amp")))
    paths = write_comparison(folder, rows)
    log_comparison(tracking_uri(folder), rows, weights, {name: plan.overlays(name)[1] for name in weights}, paths)
    print(f"\nMeans over the scales, {report['degradation']} degradation:\n\n{comparison_table(rows)}")
    print("\n".join(map(str, [folder / "report.html", *paths])))
