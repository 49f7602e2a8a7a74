"""A picture of what was done to an image."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from nibabel.orientations import aff2axcodes

from miassr_monai.files import whole_file
from miassr_monai.resampling import bicubic_upscale

__all__ = ["draw_preview"]

# Width over height above which a slice is a strip.
STRIP = 2
# The most channels that are drawn.
MOST_CHANNELS = 6
# What the title of a panel needs, in inches.
TITLE_WIDTH, TITLE_HEIGHT = 2.2, 0.35
LETTERS_PER_INCH = 13


def draw_preview(coarse: MetaTensor, fine: MetaTensor, report: dict[str, Any], path: str | os.PathLike) -> None:
    """Draw the middle slice: the input's voxels, bicubic interpolation of them, and the result, of each channel.

    Args:
        coarse: the input ``(C, h, w)`` or ``(C, h, w, d)``, of which the first six channels are drawn that are there.
        fine: the result.
        report: of the super-resolution.
        path: PNG file to write, whole or not at all.

    Raises:
        OSError: when the file cannot be written.
    """
    from matplotlib.figure import Figure

    axis, scales = report["slice_axis"], report["scale"]
    before, after = coarse.as_tensor(), fine.as_tensor()
    if before.ndim == 4:
        middle = before.size(axis + 1) // 2
        before, after = before.select(axis + 1, middle), after.select(axis + 1, int((middle + 0.5) * scales[axis]))
    in_plane = tuple(s for a, s in enumerate(scales) if a != axis)
    # Of the model "bicubic" there are two panels, too.
    images = {"input": before, "bicubic": bicubic_upscale(before, in_plane)} | {report["model"]["name"]: after}
    if report["input"]["spacing_known"]:
        # What is upright in RAS is so in the LPS of DICOM, too.
        points = [code for a, code in enumerate(aff2axcodes(coarse.affine.numpy())) if a != axis]
        flipped = [a + 1 for a, code in enumerate(points) if code in ("L", "P", "I")]
        images = {title: image.flip(flipped) for title, image in images.items()}
    else:
        # Pictures have their rows first, from above.
        images = {title: image.flip(1).mT for title, image in images.items()}
    before = images["input"]
    channels = [number for number in range(len(before)) if number not in report["missing_channels"]][:MOST_CHANNELS]
    panels = [(title, number, image[number]) for number in channels for title, image in images.items()]
    steps = [step for a, step in enumerate(report["input"]["spacing"]) if a != axis]
    width, height = (step * n for step, n in zip(steps, before.shape[1:], strict=True))
    # A wide strip gets the whole width, and what is compared lies below.
    layout = (len(panels), 1) if width > STRIP * height else (len(channels), len(images))
    inches = (8 if layout[1] == 1 else 4) / max(width, height)
    panel = (max(inches * width, TITLE_WIDTH), inches * height + TITLE_HEIGHT)
    figure = Figure(figsize=(layout[1] * panel[0], layout[0] * panel[1]), layout="constrained")
    for axes, (title, number, image) in zip(np.ravel(figure.subplots(*layout)), panels, strict=True):
        rows, columns = (step * n / m for step, n, m in zip(steps, before.shape[1:], image.shape, strict=True))
        low, high = report["intensity_ranges"][number]
        axes.imshow(
            image.T.numpy(),
            cmap="gray",
            vmin=low,
            vmax=high,
            origin="lower",
            interpolation="nearest",
            aspect=columns / rows,
        )
        which = "" if len(channels) == 1 else f", channel {number}"
        text = f"{title}{which}, {image.shape[0]} x {image.shape[1]}"
        axes.set_title(textwrap.fill(text, int(LETTERS_PER_INCH * panel[0])), fontsize=10)
        axes.set_axis_off()
    with whole_file(Path(path)) as partial:
        figure.savefig(partial, dpi=150, format="png", bbox_inches="tight", pad_inches=0.1)
