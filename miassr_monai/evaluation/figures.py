"""Curves and pictures for the page, as text that can stand in it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from miassr_monai.evaluation.summary import MEAN_SCALE, Record
from miassr_monai.geometry import parse_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ERROR_LIMIT", "draw_curves", "draw_error", "draw_image"]

# The error that the map's last colour stands for, in units of the data range.
ERROR_LIMIT = 0.1
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#767676", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def draw_curves(summary: Sequence[Record], measures: Sequence[tuple[str, str]]) -> str:
    """Each measure by scale, with its 95 % interval, as SVG: a line a method, and beside it, where axes have unequal
    scales, a mark for each.

    Args:
        summary: records of one degradation, see :func:`miassr_monai.evaluation.summarize`.
        measures: names and titles.
    """
    import matplotlib
    from matplotlib.figure import Figure

    texts = [text for text in dict.fromkeys(row["scale"] for row in summary) if text != MEAN_SCALE]
    equal = {text: scale for text in texts if isinstance(scale := parse_scale(text), float)}
    unequal = [text for text in texts if text not in equal]
    # An axes for each kind of scale that there is, as wide as it has scales.
    kinds = [kind for kind in (list(equal), unequal) if kind]
    shares = [2 + len(kind) for kind in kinds]
    figure = Figure(figsize=((3.4 + 0.2 * len(texts)) * len(measures), 3.6), layout="constrained")
    for part, (measure, title) in zip(figure.subfigures(1, len(measures), squeeze=False)[0], measures, strict=True):
        axes = part.subplots(1, len(kinds), sharey=True, squeeze=False, width_ratios=shares)[0]
        for axis, kind in zip(axes, kinds, strict=True):
            rows = [row for row in summary if row["measure"] == measure and row["scale"] in kind]
            if kind is unequal:
                draw_marks(axis, rows, kind)
            else:
                draw_lines(axis, rows, equal)
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        part.suptitle(title)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))
    text = io.StringIO()
    # Reproducible names and text that stays text.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def by_colour(rows: Sequence[Record]) -> Iterator[tuple[str, str, list[Record]]]:
    """Label, colour and records of each method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for method, colour in zip(methods, COLOURS * len(methods), strict=False):
        # Between two dollars Matplotlib sets mathematics.
        yield method.replace("$", r"\$"), colour, [row for row in rows if row["method"] == method]


def draw_lines(axis: Axes, rows: Sequence[Record], scales: Mapping[str, float]) -> None:
    """A measure against the scale, which is the same along all axes."""
    for label, colour, records in by_colour(rows):
        records = sorted(records, key=lambda row: scales[row["scale"]])
        places = [scales[row["scale"]] for row in records]
        axis.plot(places, [row["mean"] for row in records], "o-", color=colour, markersize=4, label=label)
        if not any(math.isnan(row["lower"]) for row in records):
            bounds = [row["lower"] for row in records], [row["upper"] for row in records]
            axis.fill_between(places, *bounds, color=colour, alpha=0.15, lw=0)
    axis.set(xlabel="scale", xticks=sorted(scales.values()), xticklabels=sorted(scales, key=lambda text: scales[text]))


def draw_marks(axis: Axes, rows: Sequence[Record], scales: Sequence[str]) -> None:
    """A measure at scales that are no numbers: methods side by side, which no line joins."""
    groups = list(by_colour(rows))
    for number, (label, colour, records) in enumerate(groups):
        shift = 0.5 * ((number + 0.5) / len(groups) - 0.5)
        places = [scales.index(row["scale"]) + shift for row in records]
        means = [row["mean"] for row in records]
        axis.plot(places, means, "o", color=colour, markersize=4, label=label)
        if not any(math.isnan(row["lower"]) for row in records):
            bounds = [row["lower"] for row in records], [row["upper"] for row in records]
            axis.vlines(places, *bounds, color=colour, alpha=0.5, lw=2)
    axis.set(
        xlabel="scale along each axis", xticks=range(len(scales)), xticklabels=scales, xlim=(-0.5, len(scales) - 0.5)
    )


def encode(image: torch.Tensor, colours: str, limit: float) -> str:
    """PNG of an image ``(H, W)`` as a ``data:`` address; the patient's front is up, as radiologists have it."""
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(content, image.float().T.numpy(), cmap=colours, vmin=0, vmax=limit, origin="lower", format="png")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def draw_image(image: torch.Tensor) -> str:
    """A slice ``(H, W)`` in grey, 0 to 1."""
    return encode(image, "gray", 1.0)


def draw_error(image: torch.Tensor, truth: torch.Tensor) -> str:
    """The absolute error of a slice ``(H, W)``, 0 to :data:`ERROR_LIMIT`."""
    return encode((image.float() - truth.float()).abs(), "magma", ERROR_LIMIT)
