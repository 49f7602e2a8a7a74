"""What a comparison trains and evaluates: overlays of the bundle's configurations, by name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

from miassr_monai.bundle import INTERPOLATIONS, default_bundle
from miassr_monai.configuration import check_values
from miassr_monai.evaluation.evaluation import RESERVED
from miassr_monai.evaluation.methods import check_scale, evaluated_scale
from miassr_monai.networks import Generator
from miassr_monai.prediction import TrainedModel
from miassr_monai.workflow import check_keys

__all__ = ["OVERLAYS", "Plan", "built_in_plans", "check_plan", "config_files", "read_plan"]

# The key of an overlay that names others, which go before it.
OVERLAYS = "overlays"
# A name is that of a folder, of a method in the report, and of metrics.
NAME = re.compile(r"\w[\w ,.=+-]*")
BUILT_IN = "compare_"
# Keys of a training that name a file it starts from or needs.
FILES = ("initial_weights", "initial_critic_weights", "vgg_path")
Overlay = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to train, and how to evaluate it.

    Each overlay is as the bundle's, ``{"key": value}``, and may name some of the bundle's, or other files, that go
    before it: ``{"overlays": ["release"], "key": value}``.

    Attributes:
        training: overlay of ``train.json`` for all networks.
        networks: by name, overlay of a network over that.
        evaluation: overlay of ``evaluate.json``.
    """

    training: Overlay
    networks: Mapping[str, Overlay]
    evaluation: Overlay

    def overlays(self, name: str) -> tuple[list[str], dict[str, Any]]:
        """Files that a network's training is configured by before its own settings, and these."""
        own = self.networks[name]
        named = [*self.training.get(OVERLAYS, ()), *own.get(OVERLAYS, ())]
        return config_files("train", named), without_overlays({**self.training, **own})

    def evaluation_overlays(self) -> tuple[list[str], dict[str, Any]]:
        """Files that the evaluation is configured by before the plan's own settings, and these."""
        return config_files("evaluate", self.evaluation.get(OVERLAYS, ())), without_overlays(self.evaluation)

    def with_settings(self, settings: Mapping[str, Any]) -> Plan:
        """The plan with other values: each in the training or the evaluation, or in both, by where its key is.

        Raises:
            ValueError: when there is no such key.
        """
        training, evaluation = dict(self.training), dict(self.evaluation)
        known = {
            "train": (training, config_files("train", training.get(OVERLAYS, ()))),
            "evaluate": (evaluation, config_files("evaluate", evaluation.get(OVERLAYS, ()))),
        }
        parsers = {kind: ConfigParser(ConfigParser.load_config_files(files)) for kind, (_, files) in known.items()}
        for key, value in settings.items():
            places = [kind for kind, parser in parsers.items() if key in parser]
            if not places:
                check_keys([key], known["train"][1])
            for kind in places:
                known[kind][0][key] = value
        return replace(self, training=training, evaluation=evaluation)

    def only(self, names: Iterable[str]) -> Plan:
        """The plan with some of its networks.

        Raises:
            ValueError: when it has no network of such a name.
        """
        if missing := [name for name in names if name not in self.networks]:
            raise ValueError(f"the plan has no network {missing[0]!r}: take some of {', '.join(self.networks)}.")
        return replace(self, networks={name: self.networks[name] for name in names})


def without_overlays(overlay: Overlay) -> dict[str, Any]:
    """The settings of an overlay itself."""
    return {key: value for key, value in overlay.items() if key != OVERLAYS}


def config_files(first: str, overlays: Sequence[str]) -> list[str]:
    """Paths of a configuration of the bundle and of overlays, which are paths or names of the bundle's.

    Raises:
        FileNotFoundError: when there is no such file.
    """
    folder = default_bundle() / "configs"
    paths = []
    for name in (first, *overlays):
        path = Path(name) if name.endswith(".json") else folder / f"{name}.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no overlay {path}: give the name of one in {folder}, or a path.")
        paths.append(str(path.absolute()))
    return paths


def built_in_plans() -> dict[str, Path]:
    """The plans that come with the package: ``compare_trunks.json`` as ``trunks``."""
    paths = sorted((default_bundle() / "configs").glob(f"{BUILT_IN}*.json"))
    return {path.stem.removeprefix(BUILT_IN): path for path in paths}


def read_plan(source: str | os.PathLike) -> Plan:
    """Read a plan: a JSON file, or one of :func:`built_in_plans` by its name.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when the file holds something else.
    """
    built_in = built_in_plans()
    path = built_in[source] if source in built_in else Path(source)  # type: ignore[index]
    if not path.is_file():
        raise FileNotFoundError(f"there is no plan {path}: give a file, or one of {', '.join(built_in)}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): correct it.") from error
    parts = {"training", "networks", "evaluation"}
    if not isinstance(content, dict) or not {"networks"} <= set(content) <= parts:
        raise ValueError(f"{path} is no plan, which has the keys networks, training and evaluation: correct it.")
    plan = Plan(*(content.get(part, {}) for part in ("training", "networks", "evaluation")))
    overlays = [content, plan.training, plan.evaluation, *getattr(plan.networks, "values", list)()]
    if not plan.networks or not all(isinstance(overlay, dict) for overlay in [*overlays, plan.networks]):
        raise ValueError(f"{path} needs at least one network, and names with values for each: correct it.")
    return plan


def check_plan(plan: Plan) -> dict[str, int]:
    """Check all that can be known before anything is trained, so that no hours are lost.

    Returns:
        The parameters of each network.

    Raises:
        ValueError: when a name, a key or a value is not accepted, or a network cannot do a scale of the evaluation.
    """
    files, settings = plan.evaluation_overlays()
    check_keys([key.lstrip("+") for key in settings], files)
    evaluation = merged(files, settings)
    check_values(evaluation)
    scales = evaluation.get_parsed_content("scales")
    sizes = {}
    for name in plan.networks:
        if not NAME.fullmatch(name) or name in {*RESERVED, *INTERPOLATIONS}:
            raise ValueError(f"a network cannot be called {name!r}: rename it, with letters, digits, blanks and ,.=+-")
        try:
            network, largest = make_network(*plan.overlays(name))
            model = TrainedModel(network, name)
            for scale in scales:
                check_scale({name: model}, evaluated_scale(scale, network.spatial_dims))
            check_scale({name: model}, largest)
        except ValueError as error:
            raise ValueError(f"the network {name!r} of the plan: {error}") from error
        sizes[name] = sum(parameter.numel() for parameter in network.parameters())
    return sizes


def merged(files: Sequence[str], settings: Overlay) -> ConfigParser:
    """A configuration with an overlay that is not in a file."""
    parser = ConfigParser(ConfigParser.load_config_files(files))
    for key, value in settings.items():
        merge_kv(parser, key, value)
    return parser


def make_network(files: Sequence[str], settings: Overlay) -> tuple[Generator, float]:
    """The network of a training, without memory for its weights, and the largest scale that it is trained at.

    Raises:
        ValueError: when it cannot be made, or a file that the training needs is missing.
    """
    check_keys([key.lstrip("+") for key in settings], files)
    parser = merged(files, settings)
    check_values(parser)
    for key in FILES:
        path = parser.get_parsed_content(key)
        if path is not None and not Path(path).is_file():
            raise ValueError(f"there is no file {path}: correct {key}.")
    try:
        with torch.device("meta"):
            network = parser.get_parsed_content("network_def")
    # MONAI wraps what goes wrong in an error that only says where.
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ValueError(f"it cannot be made: {cause}") from error
    return network, float(parser.get_parsed_content("scale_high"))
