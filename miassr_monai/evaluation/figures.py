"""Curves and pictures for the page, as text that can stand in it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import torch

from miassr_monai.evaluation.summary import MEAN_SCALE, Record

__all__ = ["ERROR_LIMIT", "draw_curves", "draw_error", "draw_image"]

# The error that the map's last colour stands for, in units of the data range.
ERROR_LIMIT = 0.1
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#767676", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def draw_curves(summary: Sequence[Record], measures: Sequence[tuple[str, str]]) -> str:
    """Each measure against the scale, a line a method with its 95 % interval, as SVG.

    Args:
        summary: records of one degradation, see :func:`miassr_monai.evaluation.summarize`.
        measures: names and titles.
    """
    import matplotlib
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(row["method"] for row in summary))
    figure = Figure(figsize=(4.6 * len(measures), 3.3), layout="constrained")
    for axis, (measure, title) in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for method, colour in zip(methods, COLOURS * len(methods), strict=False):
            rows = [
                row
                for row in summary
                if (row["method"], row["measure"]) == (method, measure) and row["scale"] != MEAN_SCALE
            ]
            scales, means = [row["scale"] for row in rows], [row["mean"] for row in rows]
            # Between two dollars Matplotlib sets mathematics.
            axis.plot(scales, means, "o-", color=colour, markersize=4, label=method.replace("$", r"\$"))
            if not any(math.isnan(row["lower"]) for row in rows):
                axis.fill_between(
                    scales, [r["lower"] for r in rows], [r["upper"] for r in rows], color=colour, alpha=0.15, lw=0
                )
        axis.set(xlabel="scale", title=title, xticks=scales)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    text = io.StringIO()
    # Reproducible names and text that stays text.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


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
