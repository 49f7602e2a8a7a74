"""The command ``miassr``: parses, calls one of the commands, prints errors."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import miassr_monai
from miassr_monai.cli import compare, completion, datalist, evaluate, info, upscale
from miassr_monai.cli.arguments import explain

__all__ = ["main", "make_parser"]

EPILOG = """examples:
  miassr upscale t1.nii.gz t1_fine.nii.gz --scale 2.5
  miassr upscale dicom_folder fine.nii.gz --spacing 0.5x0.5 --window -160 240
  miassr upscale folder_of_volumes folder_of_results --scale 2 --report report.json
  miassr upscale folder_of_volumes folder_of_results --scale 2x2x3 --skip-existing
  miassr upscale --channels t1.nii.gz t2.nii.gz folder_of_results --scale 2 --model two.pt
  miassr evaluate folder_of_volumes folder_of_report --model mine=model.pt
  miassr compare data_set folder_of_comparison --plan trunks
  miassr datalist oasis folder_of_disc1

exit codes: 0 done, 1 unexpected error (with MIASSR_DEBUG=1 in the environment its place in the code is shown), 2 bad
input or arguments, 130 interrupted
"""


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
    for command in (upscale, evaluate, compare, datalist, info, completion):
        command.add_parser(commands)
    return parser


def interrupter() -> Callable[[int, FrameType | None], None]:
    """What a signal that ends a process does in this one, while a worker that is forked from it just ends."""
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        # A pool ends its workers so; an exception in each would be told on the terminal.
        if os.getpid() != own:
            os._exit(128 + number)
        raise KeyboardInterrupt

    return stop


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    # OpenMP threads that wait by spinning for long slow down a machine that others use. Read when torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # MLflow tells of the tables that it makes in its database. Read when it loads.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    args = make_parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            # As Ctrl-C does, so that files that are half written are removed; but nohup's wish is respected.
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), interrupter())
    try:
        return args.run(args)
    except Exception as error:
        print(f"miassr: error: {explain(error, f'miassr {args.command}')}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, OSError)) else 1
    except KeyboardInterrupt:
        print("miassr: interrupted; nothing partial was written.", file=sys.stderr)
        return 130
