"""Scores of one volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.utils import CommonKeys

from miassr_monai.data import as_slices
from miassr_monai.evaluation.distances import FeatureDistance
from miassr_monai.evaluation.summary import Record
from miassr_monai.geometry import nearest_fraction, scale_per_axis
from miassr_monai.metrics import SLICE_MEASURES, foreground_mask, slice_consistency, slice_scores

__all__ = ["ScoredVolume", "of_channel"]

# Slices that are scored together; it bounds the memory.
CHUNK = 16


class ScoredVolume:
    """Results of several methods on one volume, as slices ``(N, 1, H, W)``.

    Args:
        output: of an evaluator: ``image`` (LR), ``label`` (truth) and the result of each method; slices of one volume,
            or a batch of one volume, of which the slices are scored that show something.
        methods: the names of the methods; the last is the one that pictures are about.
        scale: HR samples per LR sample.
        degradation: what made the input of the truth, without noise.
        step: of a volume, take every so many slices.

    Attributes:
        slices: ``truth`` and the methods' results.
        inputs: the LR slices that belong to these.
        mask: the foreground.
    """

    def __init__(
        self,
        output: Mapping[str, torch.Tensor],
        methods: Sequence[str],
        scale: float | tuple[float, ...],
        degradation: Callable,
        step: int = 1,
    ) -> None:
        self.output = output
        self.methods = list(methods)
        self.scale = scale
        self.degradation = degradation
        keys = {"truth": CommonKeys.LABEL, **{method: method for method in methods}}
        self.slices = {name: as_slices(output[key]).float() for name, key in keys.items()}
        self.inputs = as_slices(output[CommonKeys.IMAGE]).float()
        self.kept: torch.Tensor | None = None
        if output[CommonKeys.LABEL].dim() == 5:
            flat = self.slices["truth"].flatten(1)
            self.kept = torch.nonzero(flat.amax(1) > flat.amin(1)).flatten()[::step]
            self.slices = {name: images[self.kept] for name, images in self.slices.items()}
            p, q = nearest_fraction(scale_per_axis(scale, 3)[2])
            self.inputs = self.inputs[(2 * self.kept + 1) * q // (2 * p)]
        self.mask = foreground_mask(self.slices["truth"])

    def consistency(self, method: str) -> list[float]:
        """Root mean squared difference of each LR slice, or of the LR volume, to the result degraded again."""
        image, fine = self.output[CommonKeys.IMAGE].float(), self.output[method].float()
        if self.kept is not None:
            scales = scale_per_axis(self.scale, 3)
            return slice_consistency(fine, image, scales, self.degradation).tolist() * len(self.kept)
        chunks = zip(fine.split(CHUNK), image.split(CHUNK), strict=True)
        return [value for chunk in chunks for value in slice_consistency(*chunk, self.scale, self.degradation).tolist()]

    def scores(self, method: str) -> Iterator[dict[str, float]]:
        """The measures of each slice of a method, a few slices at a time."""
        consistency = iter(self.consistency(method))
        rows, columns, *_ = (self.scale,) * 2 if isinstance(self.scale, float) else self.scale
        images = self.slices[method], self.slices["truth"], self.mask
        for fine, truth, mask in zip(*(part.split(CHUNK) for part in images), strict=True):
            scores = slice_scores(fine, truth, mask, (rows, columns))
            for values in zip(*(column.tolist() for column in scores.values()), strict=True):
                found = dict(zip(scores, values, strict=True), consistency=next(consistency))
                yield {measure: found[measure] for measure in SLICE_MEASURES}

    def features(self, distance: FeatureDistance) -> dict[str, torch.Tensor]:
        """What a distance compares of the truth and of each method."""
        return {name: extract(distance, images) for name, images in self.slices.items()}

    def pictures(self, rows: Sequence[Record]) -> list[Record]:
        """The middle slice, and the one that the last method does worst at, against bicubic if that is there.

        Slices with less than half of the mean foreground are not looked at: hardly anything is in them.

        Args:
            rows: the scores of all slices, with ``method``, ``volume``, ``contrast`` and ``scale``.
        """
        method, slices = self.methods[-1], len(self.mask)
        sizes = self.mask.sum((1, 2, 3)).tolist()
        psnr = {name: [row["psnr"] for row in rows if row["method"] == name] for name in self.methods}
        reference = psnr["bicubic"] if "bicubic" in psnr and method != "bicubic" else [0.0] * slices
        gains = [a - b for a, b in zip(psnr[method], reference, strict=True)]
        shown = [i for i in range(slices) if math.isfinite(gains[i]) and 2 * slices * sizes[i] >= sum(sizes)]
        chosen = {"typical": slices // 2}
        if shown:
            chosen["worst"] = min(shown, key=lambda i: gains[i])
        truth, *others = self.slices
        images: dict[str, Any] = {"input": self.inputs, **{k: self.slices[k] for k in (*others, truth)}}
        return [
            {
                "kind": kind,
                "volume": rows[0]["volume"],
                "contrast": rows[0]["contrast"],
                "scale": rows[0]["scale"],
                "slice": place,
                "gain": gains[place],
                "psnr": {name: values[place] for name, values in psnr.items()},
                "images": {name: image[place, 0].detach().half().cpu() for name, image in images.items()},
            }
            for kind, place in chosen.items()
        ]


def of_channel(output: Mapping[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """The part of an evaluator's output that is about one channel."""
    return {name: images[:, number : number + 1] for name, images in output.items() if torch.is_tensor(images)}


def extract(distance: FeatureDistance, images: torch.Tensor) -> torch.Tensor:
    """Features of slices, a few at a time; slices of one value in [0, 1], which have no texture, are left out."""
    images = images.clamp(0, 1)
    flat = images.flatten(1)
    varying = images[flat.amax(1) > flat.amin(1)]
    if len(varying) == 0:
        return torch.empty(0, 0)
    return torch.cat([torch.as_tensor(distance.extract(chunk)).cpu() for chunk in varying.split(CHUNK)])
