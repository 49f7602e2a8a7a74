import matplotlib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from PIL import Image

from miassr_monai.handlers import ImagePanel, draw_panel


def flat(value, size=(20, 20)):
    return torch.full(size, float(value))


def colour(name, value):
    """8-bit colour of a value in [0, 1]."""
    return matplotlib.colormaps[name](float(value), bytes=True)[:3]


def places(path, wanted):
    """Rows and columns of the pixels of a picture that have a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return np.nonzero((pixels == wanted).all(-1))


def centre(path, wanted):
    """Where the middle of the area of a colour is."""
    found = places(path, wanted)
    assert len(found[0]) > 2000, f"there is no area of the colour {wanted}"
    return tuple(np.median(found, axis=1))


@pytest.mark.parametrize(("error", "shown"), [(0, 0), (0.05, 0.5), (-0.05, 0.5), (0.09, 0.9), (0.1, 1), (-0.4, 1)])
def test_the_map_shows_the_absolute_error_from_zero_to_a_tenth(tmp_path, error, shown):
    images = {"image": flat(0.5), "label": flat(0.5), "model": flat(0.5 + error)}
    draw_panel([(2.0, images)], ["model"], tmp_path / "panel.png")
    rows, columns = places(tmp_path / "panel.png", colour("magma", shown))
    inner = (columns < columns.max() - 5) if shown in (0, 1) else slice(None)
    assert len(rows[inner]) > 30_000
