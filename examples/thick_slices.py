"""Draw a brain of thick slices: as it is, by cubic spline, by the model, by the model adapted to it, and the truth.

pip install miassr-monai[sample]
python examples/thick_slices.py thick_slices.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.utils import optional_import

from miassr_monai.adaptation import Adaptation
from miassr_monai.evaluation.thick_slices import ThickSlices, cubic_spline, thick_methods
from miassr_monai.files import whole_file
from miassr_monai.resampling import nearest_upscale
from miassr_monai.transforms import ScaleToUnitRange

# The part of the template that is used: 64 mm of its left and the middle, the whole head otherwise.
SLAB = slice(66, 130), slice(20, 216), slice(0, 175)
PLANES = {"sagittal": (0, 36), "coronal": (1, 110)}


def load_template() -> MetaTensor:
    """The slab of the MNI152 template at 1 mm, ``(1, h, w, d)`` in [0, 1]."""
    datasets, found = optional_import("nilearn.datasets")
    if not found:
        raise ImportError("the sample data comes with nilearn: `pip install miassr-monai[sample]`.")
    template = datasets.load_mni152_template(resolution=1)
    volume = torch.as_tensor(template.get_fdata(dtype="float32"))[SLAB][None]
    return ScaleToUnitRange()(MetaTensor(volume, affine=torch.as_tensor(template.affine)))


def draw(volumes: dict[str, torch.Tensor], path: Path) -> None:
    """Draw a slice of each plane of each volume."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(volumes), 7), layout="constrained")
    rows = figure.subplots(len(PLANES), len(volumes))
    for panels, (axis, place) in zip(rows, PLANES.values(), strict=True):
        for panel, (title, volume) in zip(panels, volumes.items(), strict=True):
            panel.imshow(volume[0].select(axis, place).T, cmap="gray", origin="lower", vmin=0, vmax=1)
            panel.set_title(title)
            panel.set_axis_off()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=80, format="png")


def main(arguments: list[str] | None = None) -> None:
    """Make thick slices of the template, make it isotropic again, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="PNG file to write")
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    parser.add_argument("--thickness", type=float, default=5.0, metavar="MM", help="default: 5")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="of adaptation; default: 5")
    args = parser.parse_args(arguments)
    truth = load_template()
    thick, scales = ThickSlices(args.thickness).see(truth)
    methods = thick_methods({"model": args.model}, adaptation=Adaptation(minutes=args.minutes), amp=True)
    volumes = {f"slices of {args.thickness:g} mm": nearest_upscale(thick.as_tensor(), scales)}
    volumes["cubic spline"] = cubic_spline(thick, scales)
    for name in ("model", "model, adapted"):
        volumes[name] = methods[name](thick, scales)
    whole = truth.as_tensor()[..., : volumes["model"].shape[-1]]
    for name, volume in volumes.items():
        print(f"{name}: {-10 * torch.log10((volume - whole).square().mean()).item():.2f} dB")
    draw({**volumes, "truth": whole}, args.path)


if __name__ == "__main__":
    main()
