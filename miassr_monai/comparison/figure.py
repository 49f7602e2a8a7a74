"""The figure of a comparison: quality over parameters, as in the MIASSR paper."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product

from miassr_monai.evaluation.figures import COLOURS
from miassr_monai.evaluation.page import MEASURES
from miassr_monai.evaluation.summary import Record

__all__ = ["draw_quality"]

MARKERS = "os^Dv"


def draw_quality(rows: Sequence[Record]) -> bytes:
    """Each measure of each network over its parameters, and as a line what has none, as PNG.

    Args:
        rows: see :func:`miassr_monai.comparison.comparison_rows`.
    """
    from matplotlib.figure import Figure

    measures = [name for name in MEASURES if any(name in row for row in rows)]
    networks = [row for row in rows if "parameters" in row]
    figure = Figure(figsize=(4.2 * len(measures), 4.6), layout="constrained", dpi=120)
    for axis, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        # Several networks may have the same place.
        for row, (marker, colour) in zip(networks, product(MARKERS, COLOURS[1:]), strict=False):
            if measure in row:
                style = {"color": colour, "alpha": 0.8, "label": escaped(row["network"])}
                axis.plot(row["parameters"] / 1e6, row[measure], marker, **style)
        for row in rows:
            if "parameters" not in row and measure in row:
                axis.axhline(row[measure], color=COLOURS[0], linestyle="--", label=escaped(row["network"]))
        title, _, best = MEASURES[measure]
        axis.set(xscale="log", xlabel="parameters (millions)", title=f"{title}, {best} is best")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="x", which="minor", labelsize=7)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=min(5, len(labels)))
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def escaped(name: str) -> str:
    """Between two dollars Matplotlib sets mathematics."""
    return name.replace("$", r"\$")
