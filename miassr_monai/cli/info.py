"""``miassr info``: what a model is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from miassr_monai.bundle import INTERPOLATIONS, UNTRAINED, built_in_models, file_hash, find_model, named_models

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("info", help="show the model: scales, training spacing, licence")
    parser.add_argument(
        "--model", metavar="PATH", help=f"bundle folder, weights, or a name: {named_models()}; default: built in"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """``miassr info``: what the model is and what it was made for."""
    if args.model in INTERPOLATIONS:
        print(f"{args.model} interpolation, which has no weights and is for any scale, spacing and modality")
        return 0
    if args.model == UNTRAINED:
        print("a small network without weights, which a scan teaches: miassr upscale --model none --adapt")
        return 0
    path, metadata = find_model(args.model)
    from miassr_monai.networks import load_network

    network = load_network(path)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    kind = "slices" if network.spatial_dims == 2 else "volumes"
    scales = "each axis with its own scale" if network.anisotropic else "all axes with one scale"
    trained = metadata.get("trained_for", {})
    unknown = "unknown"

    def interval(values: Sequence[float] | None, unit: str = "") -> str:
        return unknown if values is None else f"{values[0]:g} to {values[1]:g}{unit}"

    alone = f", along one axis {interval(trained['one_axis_scales'])}" if "one_axis_scales" in trained else ""
    rows = {
        "model": metadata.get("name", path.name),
        "version": metadata.get("version", unknown),
        "file": f"{path} ({path.stat().st_size / 2**20:.1f} MiB)",
        "sha256": file_hash(path),
        "network": f"{type(network).__name__} with trunk {type(network.trunk).__name__}, {parameters:,} parameters",
        "input": f"{kind} of {network.in_channels} channel{'s' if network.in_channels > 1 else ''}, {scales}",
        "scales": interval(trained.get("scales")) + alone,
        "spacing made": interval(trained.get("spacing_mm"), " mm"),
        "modalities": ", ".join(trained.get("modalities", [unknown])),
        "planes": ", ".join(trained.get("planes", [unknown])),
        "degradations": ", ".join(trained.get("degradations", [unknown])),
        "noise": interval(trained.get("noise"), " of the range of intensities"),
        "licence": trained.get("license", unknown),
        "intended use": metadata.get("intended_use", "research only, not for diagnosis"),
    }
    if args.model is None:
        rows["others"] = ", ".join(f"--model {name}" for name in built_in_models()) or "none"
    for name, value in rows.items():
        print(f"{name:<14}{value}")
    return 0
