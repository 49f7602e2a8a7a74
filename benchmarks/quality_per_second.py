"""What each model gains over bicubic interpolation, and how long a volume takes: a table and a picture.

    python benchmarks/quality_per_second.py --scores report.csv ... --model small=bundle/models/model_small.pt \
        model=bundle/models/model.pt --picture quality_per_second.png

The gain is the mean over degradations of the mean over people, from report.csv of `miassr evaluate`, where the models
have the same names. Time is that of the processor for one volume at scale 2, in float32 and in bfloat16, whose results
are the same to a hundredth of a decibel: models take their turns on a few slices, round after round, and the median is
multiplied.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from timing import interleave, write_json

from miassr_monai import Predictor

SIZE, SLICES = (228, 278), 48
SCALE = 2.0
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = {"float32": "#0072b2", "bfloat16": "#d55e00"}


def read_gains(paths: Sequence[Path], scale: str) -> pd.DataFrame:
    """Gain over bicubic (dB) at one scale: a row for each degradation, a column for each method."""
    columns = ["subject", "degradation", "scale", "method", "psnr", "volume"]
    scores = pd.concat([pd.read_csv(path, usecols=columns, dtype={"scale": str}) for path in paths])
    scores = scores[scores["scale"] == scale]
    keys = ["degradation", "method", "subject"]
    people = scores.groupby([*keys, "volume"])["psnr"].mean().groupby(keys).mean()
    table = people.groupby(["degradation", "method"]).mean().unstack("method")
    return table.sub(table["bicubic"], axis=0)


def measure_times(models: dict[str, str], slices: int, rounds: int) -> dict[tuple[str, str], float]:
    """Seconds of the processor for a volume, by each model in each precision."""
    volume = MetaTensor(torch.rand(1, *SIZE, slices), affine=torch.eye(4))
    work: dict[str, Callable[[], object]] = {}
    for name, path in models.items():
        for precision in COLOURS:
            predictor = Predictor(path, amp=precision == "bfloat16", consistency=None, device="cpu")
            work[f"{name}/{precision}"] = partial(predictor, volume, scale=(SCALE, SCALE, 1))
    times = interleave(work, rounds, clock=time.process_time)
    return {tuple(key.split("/")): SLICES / slices * figures["median"] for key, figures in times.items()}


def draw(gains: pd.Series, times: dict[tuple[str, str], float], worst: pd.Series) -> Figure:
    """Gain over seconds, with a bar down to the worst degradation."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for precision, colour in COLOURS.items():
        named = [(name, seconds) for (name, which), seconds in times.items() if which == precision]
        label = precision
        for name, seconds in sorted(named, key=lambda one: one[1]):
            axes.plot(seconds, gains[name], "o", color=colour, label=label)
            axes.plot([seconds] * 2, [gains[name], worst[name]], "_-", color=colour, alpha=0.4)
            axes.annotate(name, (seconds, gains[name]), xytext=(0, 6), textcoords="offset points", ha="center")
            label = None
    axes.axhline(0, color="#767676", linestyle="--", label="bicubic")
    axes.set(
        xlim=(0, 1.1 * max(times.values())),
        ylim=(min(0.0, worst.min()) - 0.2, gains.max() + 0.5),
        xlabel=f"processor seconds, {SIZE[0]} x {SIZE[1]} x {SLICES} at scale {SCALE:g}",
        ylabel=f"PSNR over bicubic (dB), scale {SCALE:g}:\nmean of the degradations, bar to the worst",
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="report.csv of evaluations")
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME=PATH", help="weights, by their name there")
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=2, help="slices that are timed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", default="quality_per_second.json")
    args = parser.parse_args(arguments)
    table = read_gains(args.scores, f"{SCALE:g}")
    models = dict(one.split("=", 1) for one in args.model)
    if missing := models.keys() - set(table.columns):
        parser.error(f"{', '.join(sorted(missing))} has no scores: give a report with it.")
    gains, worst = table[list(models)].mean(), table[list(models)].min()
    times = measure_times(models, args.slices, args.rounds)
    print(f"{len(table)} degradations, {torch.get_num_threads()} threads")
    for (name, precision), seconds in times.items():
        print(f"{name:<16}{precision:<10}{gains[name]:>+7.2f} dB, worst {worst[name]:>+6.2f}{seconds:>9.1f} s")
    draw(gains, times, worst).savefig(args.picture, dpi=100)
    figures = [{"name": n, "precision": p, "gain": gains[n], "seconds": s} for (n, p), s in times.items()]
    write_json(args.json, figures)


if __name__ == "__main__":
    main()
