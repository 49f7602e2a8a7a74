"""Scores of several methods on a data set, gathered part by part."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.utils import CommonKeys

import miassr_monai
from miassr_monai.data import ScaleGridDataset, check_disjoint, files_of, slices_collate, subject_of, volume_collate
from miassr_monai.degradations import named_degradations
from miassr_monai.evaluation.distances import FeatureDistance
from miassr_monai.evaluation.failures import sentence_of, unforeseen
from miassr_monai.evaluation.methods import check_scale, evaluated_scale, spatial_dims_of
from miassr_monai.evaluation.names import channel_names, volume_names
from miassr_monai.evaluation.report import make_report, write_report
from miassr_monai.evaluation.scoring import ScoredVolume, of_channel
from miassr_monai.evaluation.summary import MEAN_SCALE, Record
from miassr_monai.files import save_atomically
from miassr_monai.geometry import Scale, format_scale, upright
from miassr_monai.prediction import TrainedModel

__all__ = ["Evaluation"]

logger = logging.getLogger(__name__)

# What stands beside the methods in an output and in pictures.
RESERVED = {CommonKeys.IMAGE, CommonKeys.LABEL, "input", "truth"}


class Evaluation:
    """Compare methods by the volumes of a data set, at several scales and under several degradations.

    Attach it to an evaluator whose data are those of :meth:`remaining`, batched by :meth:`collate`. The scores of each
    volume, degradation and scale are kept in ``output_dir/parts`` until the report is written, so that an evaluation
    that was killed goes on where it stood when it is run again; one that differs in anything starts anew. A volume that
    cannot be evaluated is left out, and the report says so. The channels of an image are scored each as a volume of its
    own; one that is missing is not.

    Args:
        output_dir: folder of the report.
        datalist: items with the key ``image``, and, where known, ``subject`` and ``contrast``, one or one for each
            channel.
        models: what to compare, by name; the last is the one that the report is about. Whether slices or volumes are
            degraded and super-resolved follows from the networks' ``spatial_dims``.
        scales: HR samples per LR sample, one number for all axes that the networks see, or one for each.
        degradations: texts such as ``psf:fwhm=0.8``, see :func:`miassr_monai.degradations.parse_degradation`; the first
            is the one that most of the report is about. Noise is the same each time, and not in the consistency.
        training: items that the models were trained on, none of whose subjects may be tested.
        distances: distances between sets of images, and why there are no others; see :func:`feature_distances`.
        picture_scales: which scales to show; 2, 4 and those that are unequal along the axes unless given.
        slice_step: take every so many slices only; volumes are super-resolved whole all the same.
        protocol: what else was set, for the report; whatever changes results belongs here.

    Raises:
        ValueError: when there is nothing to compare, a method has the name of something else or cannot do a scale, or a
            subject was trained on.

    Attributes:
        failed: volumes that were left out, and why.
        report: see :func:`make_report`, once it is written.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        datalist: Sequence[Mapping[str, Any]],
        models: Mapping[str, TrainedModel],
        scales: Sequence[Scale],
        degradations: Sequence[str],
        *,
        training: Sequence[Mapping[str, Any]] = (),
        distances: tuple[Mapping[str, FeatureDistance], Mapping[str, str]] = ({}, {}),
        picture_scales: Sequence[Scale] | None = None,
        slice_step: int = 1,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        for what, given in (("volumes", datalist), ("methods", models), ("scales", scales)):
            if not given:
                raise ValueError(f"there are no {what} to evaluate: give at least one.")
        if not degradations:
            raise ValueError("there are no degradations to evaluate by: give at least one.")
        if taken := sorted(RESERVED & set(models)):
            raise ValueError(f"a method cannot be called {taken[0]!r}, which is what stands beside it: rename it.")
        if slice_step < 1:
            raise ValueError(f"slice_step must be at least 1, got {slice_step}.")
        check_disjoint(training, datalist)
        self.output_dir = Path(output_dir)
        self.items = list(datalist)
        self.models = dict(models)
        self.spatial_dims = spatial_dims_of(models)
        chosen = dict.fromkeys(evaluated_scale(scale, self.spatial_dims) for scale in scales)
        # Numbers come in their order, and before others.
        self.scales = sorted(chosen, key=lambda scale: scale if isinstance(scale, float) else math.inf)
        for scale in self.scales:
            check_scale(models, scale)
        self.degradations = named_degradations(degradations)
        self.distances, self.left_out = dict(distances[0]), dict(distances[1])
        if picture_scales is None:
            picture_scales = [2.0, 4.0, *(scale for scale in self.scales if not isinstance(scale, float))]
        self.picture_scales = [scale for scale in self.scales if scale in picture_scales] or self.scales[-1:]
        self.slice_step = slice_step
        self.volumes = volume_names(self.items)
        self.failed: dict[str, str] = {}
        self.report: dict[str, Any] = {}
        # A file of nobody known is a subject of its own.
        self.subjects = [subject_of(item) or name for item, name in zip(self.items, self.volumes, strict=True)]
        self.protocol = {
            "volumes": self.volumes,
            "subjects": sorted(set(self.subjects)),
            "volumes_trained_on": len(training) or None,
            "scales": [format_scale(scale) for scale in self.scales],
            "degradations": list(self.degradations),
            "slice_step": slice_step,
            **(protocol or {}),
        }
        self.parts = self.output_dir / "parts" / self.fingerprint()

    def fingerprint(self) -> str:
        """Hash of all that the scores depend on."""
        files = [(item["image"], *map(file_state, files_of(item))) for item in self.items]
        models = [
            (name, model.name, model.sha256 or weights_hash(model.network)) for name, model in self.models.items()
        ]
        versions = miassr_monai.__version__, torch.__version__
        content = [self.protocol, files, models, sorted(self.distances), self.picture_scales, versions]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]

    def part(self, index: int, degradation: str, scale: Scale) -> Path:
        """File for what was found of a volume."""
        # A degradation's name may have parameters, which not every file system takes.
        number = list(self.degradations).index(degradation)
        return self.parts / f"{index:04d}_{number}_x{format_scale(scale)}.pt"

    def remaining(self, volumes: Dataset, share: Collection[int] | None = None) -> ScaleGridDataset:
        """What is still to be evaluated of the volumes of the datalist, or of some of these by their places in it.

        Of all, the last part is always done again: an engine does not run on nothing.
        """
        last = (len(self.items) - 1, list(self.degradations)[-1], self.scales[-1]) if share is None else None
        return ScaleGridDataset(
            volumes,
            self.scales,
            list(self.degradations),
            skip=lambda index, *place: (
                (share is not None and index not in share)
                or ((index, *place) != last and self.part(index, *place).is_file())
            ),
            keep_errors=True,
        )

    def collate(self, batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """``collate_fn`` of the data loader: a batch of the slices of one volume, or of the volume."""
        if self.spatial_dims == 3:
            return volume_collate(batch)
        collated = slices_collate(batch)
        if CommonKeys.IMAGE in collated:
            collated[CommonKeys.IMAGE] = collated[CommonKeys.IMAGE][:: self.slice_step]
        return collated

    def attach(self, engine: Engine) -> None:
        """Score every iteration, and write the report at the end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.record)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def record(self, engine: Engine) -> None:
        """Score the slices of one volume by one degradation at one scale."""
        batch, output = engine.state.batch, engine.state.output
        place = batch["index"], batch["degradation"], batch["scale"]
        try:
            if "error" in output:
                raise output["error"]
            found = self.score(*place, output, batch.get("grid_scale", batch["scale"]))
        except Exception as error:
            self.leave_out(self.volumes[place[0]], error)
            return
        save_atomically(found, self.part(*place))

    def score(
        self, index: int, degradation: str, scale: Scale, output: Mapping[str, torch.Tensor], grid_scale: Scale
    ) -> dict[str, Any]:
        """What is found of a volume: its scores, features and pictures, channel by channel.

        ``grid_scale`` is the true one between the input's and the truth's grid, which :class:`PaperProtocol` rounds.
        """
        wanted = degradation == next(iter(self.degradations)) and scale in self.picture_scales
        found: dict[str, Any] = {"rows": [], "features": {name: [] for name in self.distances}, "pictures": []}
        channels = output[CommonKeys.LABEL].size(1)
        for number, (name, contrast) in enumerate(channel_names(self.volumes[index], self.items[index], channels)):
            if name is None:
                continue
            place = {
                "volume": name,
                "subject": self.subjects[index],
                "contrast": contrast,
                "degradation": degradation,
                "scale": format_scale(scale),
            }
            volume = ScoredVolume(
                of_channel(output, number),
                list(self.models),
                grid_scale,
                self.degradations[degradation].noiseless,
                self.slice_step,
            )
            rows = [
                {**place, "slice": row, "method": method, **scores}
                for method in self.models
                for row, scores in enumerate(volume.scores(method))
            ]
            found["rows"] += rows
            for measure, distance in self.distances.items():
                found["features"][measure].append(volume.features(distance))
            for picture in volume.pictures(rows) if wanted else []:
                axcodes = self.protocol.get("axcodes", "RAS")
                images = {name: upright(image, axcodes) for name, image in picture["images"].items()}
                found["pictures"].append({**picture, "images": images})
        return found

    def leave_out(self, volume: str, error: Exception) -> None:
        """Note that a volume cannot be evaluated; it is left out at all scales, so that these can be compared."""
        if volume not in self.failed:
            self.failed[volume] = sentence_of(error)
            level, traceback = (logging.ERROR, error) if unforeseen(error) else (logging.WARNING, None)
            logger.log(level, f"{volume} is left out: {self.failed[volume]}", exc_info=traceback)

    def finish(self, engine: Engine) -> None:
        """Write the report, put its means into the engine's metrics, and remove the parts.

        Raises:
            ValueError: when no volume could be evaluated.
        """
        if len(self.failed) == len(self.items):
            volume, reason = next(iter(self.failed.items()))
            raise ValueError(f"none of the {len(self.items)} volumes could be evaluated; {volume}: {reason}")
        scores = pd.DataFrame([row for part in self.load() for row in part["rows"]])
        self.report = make_report(
            scores,
            models=self.models,
            distances=self.measure_distances(),
            left_out=self.left_out,
            failed=self.failed,
            protocol=self.protocol,
        )
        pictures = [picture for part in self.load() for picture in part["pictures"]]
        write_report(self.output_dir, self.report, scores, pictures)
        for record in self.report["summary"]:
            if record["degradation"] == self.report["degradation"]:
                scale = record["scale"] if record["scale"] == MEAN_SCALE else f"x{record['scale']}"
                engine.state.metrics[f"{record['method']}_{record['measure']}_{scale}"] = record["mean"]
        # Those of evaluations that were given up, too, but nothing that somebody else put there.
        for folder in self.parts.parent.glob("[0-9a-f]" * len(self.parts.name)):
            shutil.rmtree(folder)
        if not any(self.parts.parent.iterdir()):
            self.parts.parent.rmdir()

    def load(self, degradation: str | None = None, scale: Scale | None = None) -> Iterator[dict[str, Any]]:
        """The parts, or those of one degradation and scale, one after the other."""
        for index, volume in enumerate(self.volumes):
            if volume in self.failed:
                continue
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
                    channels = [channel for part in parts for channel in part[name]]
                    truth = join([channel["truth"] for channel in channels])
                    for method in self.models:
                        features = join([channel[method] for channel in channels])
                        try:
                            value = distance.distance(truth, features)
                        except ValueError as error:
                            value, self.left_out[name] = math.nan, str(error)
                        place = {"degradation": degradation, "scale": format_scale(scale), "method": method}
                        records.append({**place, "measure": name, "value": value, "slices": len(truth)})
        return records


class Scoring:
    """Handler that scores what an evaluator makes without a report, which another process writes of all.

    Args:
        evaluation: whose scores these are.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def attach(self, engine: Engine) -> None:
        """Score every iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.evaluation.record)


def join(parts: Sequence[torch.Tensor | np.ndarray]) -> np.ndarray:
    """Features of all volumes that have any."""
    return np.concatenate([part for part in parts if len(part)] or [np.empty((0, 0))])


def weights_hash(network: torch.nn.Module) -> str:
    """Hash of the weights of a network that is not from a file."""
    digest = hashlib.sha256()
    for name, values in network.state_dict().items():
        digest.update(f"{name} {values.shape}".encode() + values.cpu().double().numpy().tobytes())
    return digest.hexdigest()


def file_state(path: str) -> tuple[int, float] | tuple[()]:
    """Size and time of a file; nothing of one that is not there."""
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_size, state.st_mtime
