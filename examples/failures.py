"""What the model does to images that are not like those it was trained on.

    pip install miassr-monai[sample]
    python examples/failures.py --picture failures.png

A slice of the MNI152 template, and the Shepp-Logan phantom as an image that is no brain at all, are made coarser by
keeping the centre of k-space and super-resolved again: as they are, coarser than any training image, with noise, and
after a filter that sharpens. Printed is the PSNR against the truth; below bicubic's, the model does harm.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from monai.metrics import PSNRMetric
from monai.transforms import CenterSpatialCrop
from skimage.data import shepp_logan_phantom

from miassr_monai.data import load_datalist, load_volume, write_sample
from miassr_monai.degradations import kspace_degradation
from miassr_monai.handlers import draw_panel
from miassr_monai.networks import Bicubic
from miassr_monai.prediction import load_model
from miassr_monai.transforms import GaussianBlur, ScaleToUnitRange

SCALE = 3.0
# Of the noise, in a range of intensities of 1.
NOISE = 0.05
# Pixels of the truth that are shown along each axis.
SHOWN = 96


def make_cases(brain: torch.Tensor, generator: torch.Generator) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """LR image and truth of each case.

    Args:
        brain: slice ``(1, 1, H, W)`` of 1 mm with values in [0, 1].
        generator: of the noise.
    """
    phantom = torch.from_numpy(shepp_logan_phantom()).float()[None, None]
    truths = {"as trained": brain, "2 mm instead of 1": F.avg_pool2d(brain, 2), "a phantom": F.avg_pool2d(phantom, 2)}
    cases = {name: (kspace_degradation(truth, SCALE), truth) for name, truth in truths.items()}
    coarse, _ = cases["as trained"]
    noise = NOISE * torch.randn(coarse.shape, generator=generator)
    sharpened = 2 * coarse - GaussianBlur(1.0)(coarse[0])[None]
    return {**cases, "noise": (coarse + noise, brain), "sharpened before": (sharpened, brain)}


def middle(image: torch.Tensor, size: int) -> torch.Tensor:
    """The middle ``(size, size)`` of an image ``(1, 1, H, W)``."""
    return CenterSpatialCrop(size)(image[0])[0]


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    """Super-resolve each case, print a table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    parser.add_argument("--picture", type=Path, help="PNG file to write")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        (item, *_) = load_datalist(write_sample(Path(folder) / "sample"), "test")
        volume = ScaleToUnitRange()(load_volume(item["image"])).as_tensor()
    brain = volume[None, ..., volume.shape[-1] // 2]
    networks = {"bicubic": Bicubic(), "model": load_model(args.model, "cpu").network}
    psnr = PSNRMetric(max_val=1.0)
    rows = []
    print(f"{'case':<20}" + "".join(f"{name:>10}" for name in networks))
    for case, (coarse, truth) in make_cases(brain, torch.Generator().manual_seed(0)).items():
        fine = {name: network(coarse, scale=SCALE).clamp(0, 1) for name, network in networks.items()}
        height, width = fine["model"].shape[2:]
        truth = truth[..., :height, :width]
        print(f"{case:<20}" + "".join(f"{psnr(image, truth).item():>10.2f}" for image in fine.values()))
        shown = {name: middle(image, SHOWN) for name, image in {**fine, "label": truth}.items()}
        rows.append((case, {"image": middle(coarse, round(SHOWN / SCALE)), **shown}))
    if args.picture:
        draw_panel(rows, list(networks), args.picture)


if __name__ == "__main__":
    main()
