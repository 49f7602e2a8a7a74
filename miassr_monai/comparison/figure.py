"""The figure of a comparison: quality over parameters, as in the MIASSR paper, or by name where all are of one size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from miassr_monai.evaluation.figures import COLOURS
from miassr_monai.evaluation.page import MEASURES
from miassr_monai.evaluation.summary import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_quality"]

MARKERS = "os^Dv"


def draw_quality(rows: Sequence[Record]) -> bytes:
    """Each measure of each network, as PNG: over its parameters or, where all have as many, by its name.

    What has no parameters is a line.

    Args:
        rows: see :func:`miassr_monai.comparison.comparison_rows`.
    """
    from matplotlib.figure import Figure

    measures = [name for name in MEASURES if any(name in row for row in rows)]
    figure = Figure(layout="constrained", dpi=120)
    sizes = {row["parameters"] for row in rows if "parameters" in row}
    draw = draw_by_name if len(sizes) == 1 else draw_by_size
    draw(figure, rows, measures)
    for axis, measure in zip(figure.axes, measures, strict=True):
        title, _, best = MEASURES[measure]
        axis.set_title(f"{title}, {best} is best", fontsize="medium")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def draw_by_size(figure: Figure, rows: Sequence[Record], measures: Sequence[str]) -> None:
    """Each measure over the parameters, with a legend."""
    figure.set_size_inches(4.2 * len(measures), 4.6)
    networks = [row for row in rows if "parameters" in row]
    for axis, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        # Several networks may have the same place.
        for row, (marker, colour) in zip(networks, product(MARKERS, COLOURS[1:]), strict=False):
            if measure in row:
                style = {"color": colour, "alpha": 0.8, "label": escaped(row["network"])}
                axis.plot(row["parameters"] / 1e6, row[measure], marker, **style)
        for row in rows:
            if "parameters" not in row and measure in row:
                axis.axhline(row[measure], color=COLOURS[0], linestyle="--", label=escaped(row["network"]))
        axis.set(xscale="log", xlabel="parameters (millions)")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="minor", labelsize=7)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=min(5, len(labels)))


def draw_by_name(figure: Figure, rows: Sequence[Record], measures: Sequence[str]) -> None:
    """Each measure along a row for each network."""
    networks = [row for row in rows if "parameters" in row]
    figure.set_size_inches(1.8 + 2.9 * len(measures), 1.4 + 0.27 * len(networks))
    axes = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axis, measure in zip(axes, measures, strict=True):
        for place, row in enumerate(networks):
            if measure in row:
                axis.plot(row[measure], place, MARKERS[0], color=COLOURS[1])
        for row in rows:
            if "parameters" not in row and measure in row:
                axis.axvline(row[measure], color=COLOURS[0], linestyle="--", label=escaped(row["network"]))
    axes[0].set_yticks(range(len(networks)), [escaped(row["network"]) for row in networks])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))


def escaped(name: str) -> str:
    """Between two dollars Matplotlib sets mathematics."""
    return name.replace("$", r"\$")
