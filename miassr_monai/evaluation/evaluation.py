"""Scores of several methods on a data set, gathered part by part."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.utils import CommonKeys

import miassr_monai
from miassr_monai.data import ScaleGridDataset, check_disjoint, subject_of
from miassr_monai.evaluation.distances import FeatureDistance
from miassr_monai.evaluation.report import make_report, write_report
from miassr_monai.evaluation.summary import Record
from miassr_monai.files import save_atomically
from miassr_monai.metrics import foreground_mask, slice_scores
from miassr_monai.prediction import TrainedModel

__all__ = ["Evaluation"]

# Slices that are scored together; it bounds the memory.
CHUNK = 16
# What stands beside the methods in an output and in pictures.
RESERVED = {CommonKeys.IMAGE, CommonKeys.LABEL, "input", "truth"}


class Evaluation:
    """Compare methods by the volumes of a data set, at several scales and under several degradations.

    Attach it to an evaluator whose data are those of :meth:`remaining`. The scores of each volume, degradation and
    scale are kept in ``output_dir/parts`` until the report is written, so that an evaluation that was killed goes on
    where it stood when it is run again; one that differs in anything starts anew.

    Args:
        output_dir: folder of the report.
        datalist: items with the key ``image``, and, where known, ``subject`` and ``contrast``.
        models: what to compare, by name; the last is the one that the report is about.
        scales: HR samples per LR sample.
        degradations: by name; the first is the one that most of the report is about.
        training: items that the models were trained on, none of whose subjects may be tested.
        distances: distances between sets of images, and why there are no others; see :func:`feature_distances`.
        picture_scales: which scales to show.
        protocol: what else was set, for the report; whatever changes results belongs here.

    Raises:
        ValueError: when there is nothing to compare, a method has the name of something else, or a subject was trained
            on.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        datalist: Sequence[Mapping[str, str]],
        models: Mapping[str, TrainedModel],
        scales: Sequence[float],
        degradations: Mapping[str, Callable],
        *,
        training: Sequence[Mapping[str, str]] = (),
        distances: tuple[Mapping[str, FeatureDistance], Mapping[str, str]] = ({}, {}),
        picture_scales: Sequence[float] = (2.0, 4.0),
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        for what, given in (("volumes", datalist), ("methods", models), ("scales", scales)):
            if not given:
                raise ValueError(f"there are no {what} to evaluate: give at least one.")
        if not degradations:
            raise ValueError("there are no degradations to evaluate by: give at least one.")
        if taken := sorted(RESERVED & set(models)):
            raise ValueError(f"a method cannot be called {taken[0]!r}, which is what stands beside it: rename it.")
        check_disjoint(training, datalist)
        self.output_dir = Path(output_dir)
        self.items = list(datalist)
        self.models = dict(models)
        self.scales = list(dict.fromkeys(float(scale) for scale in scales))
        self.degradations = dict(degradations)
        self.distances, self.left_out = dict(distances[0]), dict(distances[1])
        self.picture_scales = [scale for scale in self.scales if scale in picture_scales] or self.scales[-1:]
        self.volumes = volume_names(self.items)
        # A file of nobody known is a subject of its own.
        self.subjects = [subject_of(item) or name for item, name in zip(self.items, self.volumes, strict=True)]
        self.protocol = {
            "volumes": self.volumes,
            "subjects": sorted(set(self.subjects)),
            "volumes_trained_on": len(training) or None,
            "scales": self.scales,
            "degradations": list(self.degradations),
            **(protocol or {}),
        }
        self.parts = self.output_dir / "parts" / self.fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that the scores depend on."""
        files = [
            (item["image"], os.stat(item["image"]).st_size, os.stat(item["image"]).st_mtime) for item in self.items
        ]
        models = [
            (name, model.name, model.sha256 or weights_hash(model.network)) for name, model in self.models.items()
        ]
        degradations = [getattr(degrade, "__qualname__", "") for degrade in self.degradations.values()]
        versions = miassr_monai.__version__, torch.__version__
        content = [self.protocol, files, models, degradations, sorted(self.distances), self.picture_scales, versions]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]

    def part(self, index: int, degradation: str, scale: float) -> Path:
        """File for what was found of a volume."""
        return self.parts / f"{index:04d}_{degradation}_x{scale:g}.pt"

    def remaining(self, volumes: Dataset) -> ScaleGridDataset:
        """What is still to be evaluated of the volumes of the datalist.

        The last part is always done again: an engine does not run on nothing.
        """
        last = len(self.items) - 1, list(self.degradations)[-1], self.scales[-1]
        return ScaleGridDataset(
            volumes,
            self.scales,
            list(self.degradations),
            skip=lambda *place: place != last and self.part(*place).is_file(),
        )

    def attach(self, engine: Engine) -> None:
        """Score every iteration, and write the report at the end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.record)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def record(self, engine: Engine) -> None:
        """Score the slices of one volume by one degradation at one scale."""
        batch, output = engine.state.batch, engine.state.output
        index, scale, degradation = batch["index"], batch["scale"], batch["degradation"]
        item, degrade = self.items[index], self.degradations[degradation]
        place = {
            "volume": self.volumes[index],
            "subject": self.subjects[index],
            "contrast": item.get("contrast"),
            "degradation": degradation,
            "scale": scale,
        }
        truth, image = output[CommonKeys.LABEL].float(), output[CommonKeys.IMAGE].float()
        mask = foreground_mask(truth)
        sets = {"truth": truth, **{method: output[method].float() for method in self.models}}
        rows = [
            {**place, "slice": index, "method": method, **scores}
            for method in self.models
            for index, scores in enumerate(score(sets[method], truth, image, scale, degrade, mask))
        ]
        features = {
            name: {key: extract(distance, images) for key, images in sets.items()}
            for name, distance in self.distances.items()
        }
        sizes = mask.sum((1, 2, 3)).tolist()
        pictures = self.pictures(rows, output, sizes) if self.wanted(degradation, scale) else []
        save_atomically(
            {"rows": rows, "features": features, "pictures": pictures}, self.part(index, degradation, scale)
        )

    def wanted(self, degradation: str, scale: float) -> bool:
        """Whether pictures are made."""
        return degradation == next(iter(self.degradations)) and scale in self.picture_scales

    def pictures(
        self, rows: Sequence[Record], output: Mapping[str, torch.Tensor], sizes: Sequence[int]
    ) -> list[Record]:
        """The middle slice, and the one that the last method does worst at, against bicubic if that is there.

        Slices with less than half of the mean foreground ``sizes`` are not looked at: hardly anything is in them.
        """
        method, slices = list(self.models)[-1], len(sizes)
        psnr = {name: [row["psnr"] for row in rows if row["method"] == name] for name in self.models}
        reference = psnr["bicubic"] if "bicubic" in psnr and method != "bicubic" else [0.0] * slices
        gains = [a - b for a, b in zip(psnr[method], reference, strict=True)]
        shown = [i for i in range(slices) if math.isfinite(gains[i]) and 2 * slices * sizes[i] >= sum(sizes)]
        middle = slices // 2
        chosen = {"typical": middle}
        if shown:
            chosen["worst"] = min(shown, key=lambda i: gains[i])
        names = {"input": CommonKeys.IMAGE, **{name: name for name in self.models}, "truth": CommonKeys.LABEL}
        return [
            {
                "kind": kind,
                "volume": rows[0]["volume"],
                "contrast": rows[0]["contrast"],
                "scale": rows[0]["scale"],
                "slice": place,
                "gain": gains[place],
                "psnr": {name: values[place] for name, values in psnr.items()},
                "images": {name: output[key][place, 0].detach().half().cpu() for name, key in names.items()},
            }
            for kind, place in chosen.items()
        ]

    def finish(self, engine: Engine) -> None:
        """Write the report, put its means into the engine's metrics, and remove the parts."""
        scores = pd.DataFrame([row for part in self.load() for row in part["rows"]])
        report = make_report(
            scores,
            models=self.models,
            distances=self.measure_distances(),
            left_out=self.left_out,
            protocol=self.protocol,
        )
        pictures = [picture for part in self.load() for picture in part["pictures"]]
        write_report(self.output_dir, report, scores, pictures)
        for record in report["summary"]:
            if record["degradation"] == report["degradation"]:
                scale = record["scale"] if isinstance(record["scale"], str) else f"x{record['scale']:g}"
                engine.state.metrics[f"{record['method']}_{record['measure']}_{scale}"] = record["mean"]
        # Those of evaluations that were given up, too, but nothing that somebody else put there.
        for folder in self.parts.parent.glob("[0-9a-f]" * len(self.parts.name)):
            shutil.rmtree(folder)
        if not any(self.parts.parent.iterdir()):
            self.parts.parent.rmdir()

    def load(self, degradation: str | None = None, scale: float | None = None) -> Iterator[dict[str, Any]]:
        """The parts, or those of one degradation and scale, one after the other."""
        for index in range(len(self.items)):
            for name in self.degradations if degradation is None else [degradation]:
                for factor in self.scales if scale is None else [scale]:
                    yield torch.load(self.part(index, name, factor), weights_only=True)

    def measure_distances(self) -> list[Record]:
        """Each distance of each method, by degradation and scale; NaN, and the reason in ``left_out``, where it cannot
        be had, as of too few slices."""
        records = []
        for degradation in self.degradations if self.distances else ():
            for scale in self.scales:
                parts = [part["features"] for part in self.load(degradation, scale)]
                for name, distance in self.distances.items():
                    truth = join([part[name]["truth"] for part in parts])
                    for method in self.models:
                        features = join([part[name][method] for part in parts])
                        try:
                            value = distance.distance(truth, features)
                        except ValueError as error:
                            value, self.left_out[name] = math.nan, str(error)
                        place = {"degradation": degradation, "scale": scale, "method": method}
                        records.append({**place, "measure": name, "value": value, "slices": len(truth)})
        return records


def score(
    prediction: torch.Tensor,
    truth: torch.Tensor,
    image: torch.Tensor,
    scale: float,
    degradation: Callable,
    mask: torch.Tensor,
) -> Iterator[dict[str, float]]:
    """The measures of each slice, see :func:`miassr_monai.metrics.slice_scores`, a few slices at a time."""
    for chunk in zip(*(images.split(CHUNK) for images in (prediction, truth, image, mask)), strict=True):
        scores = slice_scores(*chunk[:3], scale, degradation, chunk[3])
        for values in zip(*(column.tolist() for column in scores.values()), strict=True):
            yield dict(zip(scores, values, strict=True))


def extract(distance: FeatureDistance, images: torch.Tensor) -> torch.Tensor:
    """Features of slices, a few at a time; slices of one value in [0, 1], which have no texture, are left out."""
    images = images.clamp(0, 1)
    flat = images.flatten(1)
    varying = images[flat.amax(1) > flat.amin(1)]
    if len(varying) == 0:
        return torch.empty(0, 0)
    return torch.cat([torch.as_tensor(distance.extract(chunk)).cpu() for chunk in varying.split(CHUNK)])


def join(parts: Sequence[torch.Tensor]) -> np.ndarray:
    """Features of all volumes that have any."""
    return np.concatenate([part for part in parts if len(part)] or [np.empty((0, 0))])


def weights_hash(network: torch.nn.Module) -> str:
    """Hash of the weights of a network that is not from a file."""
    digest = hashlib.sha256()
    for name, values in network.state_dict().items():
        digest.update(f"{name} {values.shape}".encode() + values.cpu().double().numpy().tobytes())
    return digest.hexdigest()


def volume_names(items: Sequence[Mapping[str, str]]) -> list[str]:
    """Paths of the files below the folder that they have in common."""
    paths = [Path(item["image"]).absolute() for item in items]
    folder = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(folder).as_posix() for path in paths]
