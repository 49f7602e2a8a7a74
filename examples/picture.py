"""Draw a slice at several scales: input, bicubic interpolation, the model, the truth, and where they differ.

pip install miassr-monai[sample]
python examples/picture.py picture.png
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from miassr_monai.data import load_datalist, load_volume, write_sample
from miassr_monai.degradations import paper_degradation
from miassr_monai.handlers import draw_panel
from miassr_monai.networks import Bicubic
from miassr_monai.prediction import load_model
from miassr_monai.transforms import ScaleToUnitRange

SCALES = (2.0, 3.0, 4.0)
# The part that is shown: rows, columns.
CROP = slice(24, 120), slice(84, 180)


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    """Degrade the sample's test slice, super-resolve it, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="PNG file to write")
    parser.add_argument("--model", help="bundle folder or weights; default: the built-in bundle")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        (item, *_) = load_datalist(write_sample(Path(folder) / "sample"), "test")
        volume = ScaleToUnitRange()(load_volume(item["image"])).as_tensor()
    truth = volume[None, ..., volume.shape[-1] // 2]
    networks = {"bicubic": Bicubic(), "model": load_model(args.model, "cpu").network}
    examples = []
    for scale in SCALES:
        coarse = paper_degradation(truth, scale)
        fine = {name: network(coarse, scale=scale)[0, 0][CROP] for name, network in networks.items()}
        part = coarse[0, 0][tuple(slice(int(s.start / scale), int(s.stop / scale)) for s in CROP)]
        examples.append((f"scale {scale:g}", {"image": part, **fine, "label": truth[0, 0][CROP]}))
    draw_panel(examples, list(networks), args.path)


if __name__ == "__main__":
    main()
