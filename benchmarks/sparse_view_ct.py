"""Radon transform and filtered back-projection of a slice against scikit-image's and against rotation by PyTorch.

python benchmarks/sparse_view_ct.py
"""

from __future__ import annotations

import argparse
import math
from functools import partial

import numpy as np
import skimage.transform
import torch
from skimage.data import shepp_logan_phantom
from timing import interleave, machine
from torch.nn import functional

from miassr_monai.degradations import filtered_back_projection, half_turn, radon


def rotated(image: torch.Tensor, angles: tuple[float, ...]) -> torch.Tensor:
    """The Radon transform as it is often written: rotate the image by ``grid_sample`` for each angle, and sum."""
    angle = torch.tensor(angles)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros_like(angle)
    # Rows are counted downwards.
    turns = torch.stack([cosine, sine, zero, -sine, cosine, zero], 1).view(-1, 1, 2, 3)
    shape = [1, 1, *image.shape]
    projections = []
    for turn in turns:
        grid = functional.affine_grid(turn, shape, align_corners=False)
        projections.append(functional.grid_sample(image[None, None], grid, align_corners=False)[0, 0].sum(0))
    return torch.stack(projections)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="pixels along each axis")
    parser.add_argument("--angles", type=int, nargs="+", default=[45, 180, 720])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    phantom = skimage.transform.resize(shepp_logan_phantom(), (args.size, args.size), anti_aliasing=True)
    image = torch.from_numpy(phantom).float()
    print(machine())
    print(f"{'angles':>6}{'':4}{'step':<24}{'scikit-image':>14}{'rotation':>12}{'here':>10}{'times':>8}")
    for count in args.angles:
        angles = half_turn(count)
        degrees = np.degrees(angles)
        sinogram = radon(image, angles)
        theirs = skimage.transform.radon(phantom.astype(np.float32), degrees)
        work = {
            "projection": {
                "scikit-image": partial(skimage.transform.radon, phantom.astype(np.float32), degrees),
                "rotation": partial(rotated, image, angles),
                "here": partial(radon, image, angles),
            },
            "back-projection": {
                "scikit-image": partial(skimage.transform.iradon, theirs, degrees),
                "here": partial(filtered_back_projection, sinogram, angles, image.shape),
            },
        }
        made = filtered_back_projection(sinogram, angles, image.shape)
        errors = {"here": made.numpy(), "scikit-image": skimage.transform.iradon(theirs, degrees)}
        for step, ways in work.items():
            seconds = {name: value["min"] for name, value in interleave(ways, args.rounds).items()}
            cells = [
                f"{1e3 * seconds[name]:.0f} ms" if name in seconds else ""
                for name in ("scikit-image", "rotation", "here")
            ]
            print(
                f"{count:>6}{'':4}{step:<24}{cells[0]:>14}{cells[1]:>12}{cells[2]:>10}"
                f"{seconds['scikit-image'] / seconds['here']:>7.0f}x",
                flush=True,
            )
        inside = np.hypot(*np.indices(phantom.shape) - args.size / 2) < args.size / 2 - 1
        for name, value in errors.items():
            print(f"        error of the phantom, {name}: {math.sqrt(np.mean((value - phantom)[inside] ** 2)):.4f}")


if __name__ == "__main__":
    main()
