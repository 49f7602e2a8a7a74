"""Does super-resolution show a small lesion that is there, and none that is not?

    pip install miassr-monai[sample]
    python examples/lesions.py --json lesions.json --picture lesions.png

Discs, brighter than their surroundings, are put into slices of the MNI152 template at random places in the brain. The
slices with and without them are degraded and super-resolved; the difference of the two results is what became of the
disc:

- contrast: its peak, relative to the disc's;
- mass: its sum, relative to the disc's, 1 if nothing is lost or made up;
- spread: how much of it, in absolute values, lies more than two LR pixels outside the disc, relative to the disc.

For what is not there: a flat image and one of noise alone. Flat should stay flat; noise should not become structure,
which the ratio of the standard deviations of output and input shows (interpolation makes it less than 1).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from miassr_monai.data import load_datalist, load_volume, write_sample
from miassr_monai.degradations import kspace_degradation
from miassr_monai.metrics import foreground_mask
from miassr_monai.networks import Bicubic
from miassr_monai.prediction import load_model
from miassr_monai.transforms import ScaleToUnitRange

SCALES = (2.0, 3.0, 4.0)
DIAMETERS = (2.0, 4.0, 8.0)
CONTRAST = 0.3
NOISE = 0.02
# Pixels that a disc stays away from the border of the image.
MARGIN = 30
# Pixels shown on each side of a disc.
SHOWN = 24


def disc(size: Sequence[int], row: float, column: float, diameter: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A disc ``(H, W)`` with an edge of one pixel, and the distance of each pixel from its edge."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")
    outside = ((rows - row) ** 2 + (columns - column) ** 2).sqrt() - diameter / 2
    return (0.5 - outside).clamp(0, 1), outside


def around(image: torch.Tensor, row: float, column: float, scale: float) -> torch.Tensor:
    """The part of an image, coarser by ``scale``, around a pixel of the fine grid."""
    rows, columns = (slice(int((at - SHOWN) / scale), int((at + SHOWN) / scale)) for at in (row, column))
    return image[rows, columns]


def fate(networks: dict, slices: torch.Tensor, scale: float, diameter: float, generator: torch.Generator) -> dict:
    """Contrast, mass and spread of a disc in each slice ``(N, 1, H, W)``, by method; and pictures of the middle one."""
    found = {name: {"contrast": [], "mass": [], "spread": []} for name in networks}
    mask = foreground_mask(slices)[:, 0]
    mask[:, :MARGIN] = mask[:, -MARGIN:] = mask[..., :MARGIN] = mask[..., -MARGIN:] = False
    pictures = {}
    for index, image in enumerate(slices):
        places = mask[index].nonzero()
        row, column = (places[torch.randint(len(places), (), generator=generator)] + 0.0).tolist()
        shape, outside = disc(image.shape[1:], row, column, diameter)
        with_disc = image + CONTRAST * shape
        both = torch.stack([image, with_disc])
        coarse = kspace_degradation(both, scale)
        for name, network in networks.items():
            fine = network(coarse, scale=scale)[:, 0]
            change = fine[1] - fine[0]
            height, width = change.shape
            there, distance = CONTRAST * shape[:height, :width], outside[:height, :width]
            found[name]["contrast"].append((change[distance < 0].max() / CONTRAST).item())
            found[name]["mass"].append((change.sum() / there.sum()).item())
            found[name]["spread"].append((change[distance > 2 * scale].abs().sum() / there.sum()).item())
            if index == len(slices) // 2:
                pictures[name] = around(fine[1], row, column, 1.0)
        if index == len(slices) // 2:
            low, high = around(coarse[1, 0], row, column, scale), around(with_disc[0], row, column, 1.0)
            pictures = {"input": low, **pictures, "truth": high}
    return {"scores": found, "pictures": pictures}


def nothing_there(networks: dict, scale: float, generator: torch.Generator) -> dict[str, dict[str, float]]:
    """What becomes of a flat image and of noise, by method."""
    flat = torch.full((1, 1, 64, 64), 0.5)
    noise = flat + NOISE * torch.randn(flat.shape, generator=generator)
    results = {}
    for name, network in networks.items():
        deviation = (network(flat, scale=scale) - 0.5).abs().max().item()
        ratio = (network(noise, scale=scale).std() / noise.std()).item()
        results[name] = {"flat_deviation": deviation, "noise_ratio": ratio}
    return results


def draw(cases: dict[float, dict[str, torch.Tensor]], path: Path) -> None:
    """A row of pictures a diameter."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 2.9 * len(cases)), layout="constrained")
    axes = figure.subplots(len(cases), len(next(iter(cases.values()))), squeeze=False)
    for row, (diameter, images) in zip(axes, cases.items(), strict=True):
        for axis, (name, image) in zip(row, images.items(), strict=True):
            axis.imshow(image.T.numpy(), cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
            axis.set(title=name, xticks=[], yticks=[])
        row[0].set_ylabel(f"disc of {diameter:g} pixels")
    figure.savefig(path, dpi=90)


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    parser.add_argument("--dataset_dir", help="data set with a section 'test'; default: the sample data")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--picture", type=Path, help="file for a picture at scale 3")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        (item, *_) = load_datalist(args.dataset_dir or write_sample(Path(folder) / "sample"), "test")
        # Discs shall stay within [0, 1].
        slices = (1 - CONTRAST) * ScaleToUnitRange()(load_volume(item["image"])).as_tensor().movedim(-1, 0)
    networks = {"bicubic": Bicubic(), "model": load_model(args.model, "cpu").network}
    generator = torch.Generator().manual_seed(0)
    results, cases = [], {}
    print(f"{'scale':<7}{'disc':>5}" + "".join(f"{f'{n}: contrast':>20}{'mass':>7}{'spread':>8}" for n in networks))
    for scale in SCALES:
        for diameter in DIAMETERS:
            outcome = fate(networks, slices, scale, diameter, generator)
            means = {
                name: {measure: statistics.fmean(values) for measure, values in scores.items()}
                for name, scores in outcome["scores"].items()
            }
            results.append({"scale": scale, "diameter": diameter, **means})
            cells = "".join(f"{m['contrast']:>20.2f}{m['mass']:>7.2f}{m['spread']:>8.2f}" for m in means.values())
            print(f"{scale:<7g}{diameter:>5g}{cells}")
            if scale == 3.0:
                cases[diameter] = outcome["pictures"]
    print(f"\n{'scale':<7}" + "".join(f"{f'{n}: flat':>16}{'noise':>8}" for n in networks))
    for scale in SCALES:
        means = nothing_there(networks, scale, generator)
        results.append({"scale": scale, **means})
        print(f"{scale:<7g}" + "".join(f"{m['flat_deviation']:>16.4f}{m['noise_ratio']:>8.2f}" for m in means.values()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.picture:
        draw(cases, args.picture)


if __name__ == "__main__":
    main()
