"""Validation PSNR against steps of several trainings, from the log.csv that each leaves.

python benchmarks/transfer.py CT transfer=ct_transfer/log.csv "from scratch=ct_scratch/log.csv" --picture ct.png

A title begins a panel; the trainings after it are its curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#767676", "#009e73")


def read_psnr(path: Path) -> pd.DataFrame:
    """``step``, over all stages, and ``psnr`` of each validation of a training."""
    log = pd.read_csv(path)
    before, parts = 0, []
    for _, rows in log.groupby("stage", sort=False):
        scores = rows[rows["metric"] == "psnr"]
        parts.append(pd.DataFrame({"step": before + scores["iteration"], "psnr": scores["value"]}))
        before += rows["iteration"].max()
    return pd.concat(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the curves, and print the first and the last score of each."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="+", metavar="TITLE or NAME=LOG")
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args(arguments)
    panels: list[tuple[str, list[tuple[str, Path]]]] = []
    for text in args.curves:
        name, is_curve, path = text.partition("=")
        if is_curve:
            panels[-1][1].append((name, Path(path)))
        else:
            panels.append((text, []))
    figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for (name, path), colour in zip(curves, COLOURS, strict=False):
            scores = read_psnr(path)
            axes.plot(scores["step"], scores["psnr"], color=colour, label=name)
            first, last = scores.iloc[0], scores.iloc[-1]
            print(f"{title}, {name}: {first['psnr']:.2f} dB after {first['step']:.0f} steps, ", end="")
            print(f"{last['psnr']:.2f} dB after {last['step']:.0f}")
        axes.set(title=title, xlabel="steps", ylabel="validation PSNR (dB)")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(args.picture, dpi=100)


if __name__ == "__main__":
    main()
