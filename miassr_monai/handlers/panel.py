"""Pictures of input, results, truth and error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist
import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from miassr_monai.data import as_slices
from miassr_monai.files import whole_file
from miassr_monai.geometry import Scale, format_scale, upright

__all__ = ["ImagePanel", "draw_panel"]

# The error that the map's last colour stands for, in units of the data range.
ERROR_SCALE = 0.1


def draw_panel(
    examples: Sequence[tuple[str, Mapping[str, torch.Tensor]]], methods: Sequence[str], path: str | os.PathLike
) -> None:
    """Draw a PNG with one row an example: input, each method, truth, and each method's error at a common colour scale.

    Args:
        examples: name of the row, such as its scale, and images ``(H, W)``, by name: ``image`` (LR), ``label`` (truth)
            and the methods.
        methods: which of the images are results.
        path: file to write.
    """
    from matplotlib.figure import Figure

    columns = [CommonKeys.IMAGE, *methods, CommonKeys.LABEL]
    titles = ["input", *methods, "truth", *(f"error of {method}" for method in methods)]
    figure = Figure(figsize=(2.6 * len(titles) + 0.6, 2.75 * len(examples) + 0.3), layout="constrained")
    axes = figure.subplots(len(examples), len(titles), squeeze=False)
    for row, (label, images) in zip(axes, examples, strict=True):
        truth = images[CommonKeys.LABEL]
        # All cover the same field of view, also an input whose axes have unequal scales.
        extent = (0, truth.shape[0], 0, truth.shape[1])
        # Radiological view: the patient's front is up.
        for axis, key in zip(row, columns, strict=False):
            axis.imshow(
                images[key].T.numpy(), "gray", vmin=0, vmax=1, origin="lower", interpolation="nearest", extent=extent
            )
        for axis, method in zip(row[len(columns) :], methods, strict=True):
            error = (images[method] - truth).abs()
            shown = axis.imshow(
                error.T.numpy(), cmap="magma", vmin=0, vmax=ERROR_SCALE, origin="lower", interpolation="nearest"
            )
            decibel = -10 * torch.log10(F.mse_loss(images[method], truth)).item()
            axis.set_xlabel(f"{decibel:.1f} dB")
        row[0].set_ylabel(label)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.colorbar(shown, ax=axes, shrink=0.6, label="absolute error (data range 1)")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100)


class ImagePanel:
    """Draw the middle slice of the first volume at some scales after each run of an evaluator.

    Args:
        path: PNG file, written anew each time.
        methods: keys of the engine's output that hold predictions.
        scales: the scales to show, in this order, or fewer where the evaluation has not all of them; its first three
            where it has none.
        axcodes: where the axes of the slices point.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        methods: Sequence[str] = (CommonKeys.PRED,),
        scales: Sequence[Scale] = (2.0, 3.0, 4.0),
        axcodes: str = "RAS",
    ) -> None:
        self.path = Path(path)
        self.methods = list(methods)
        self.axcodes = axcodes
        self.scales = [format_scale(scale) for scale in scales]
        self.examples: dict[str, dict[str, torch.Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect slices during the run and draw at its end."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.EPOCH_STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.draw)

    def start(self) -> None:
        """Forget the slices of an earlier run."""
        self.examples = {}

    def collect(self, engine: Engine) -> None:
        """Keep the middle slice if there is none of its scale yet."""
        scale = format_scale(engine.state.batch["scale"])
        if scale not in self.examples:
            output = engine.state.output
            names = [CommonKeys.IMAGE, CommonKeys.LABEL, *self.methods]
            slices = {name: as_slices(output[name]) for name in names}
            middle = {name: s[len(s) // 2, 0].detach().float().cpu() for name, s in slices.items()}
            self.examples[scale] = {name: upright(image, self.axcodes) for name, image in middle.items()}

    def draw(self) -> None:
        """Draw what was collected."""
        shown = [scale for scale in self.scales if scale in self.examples] or list(self.examples)[:3]
        self.examples = {scale: self.examples[scale] for scale in shown}
        examples = [(f"scale {scale}", images) for scale, images in self.examples.items()]
        if examples:
            draw_panel(examples, self.methods, self.path)
