import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from miassr_monai.comparison import draw_quality
from miassr_monai.evaluation.figures import COLOURS

ROWS = [
    {"network": "bicubic", "psnr": 30.0},
    {"network": "small and $good$", "parameters": 1e6, "psnr": 36.0, "ssim": 0.9},
    {"network": "large and bad", "parameters": 9e6, "psnr": 31.0, "ssim": 0.5},
]


@pytest.fixture(scope="module")
def picture():
    return matplotlib.image.imread(io.BytesIO(draw_quality(ROWS)))[..., :3]


def middle(picture, colour, columns):
    """Mean row and column of what has about a marker's colour in a part of the picture."""
    wanted = 0.8 * np.array(to_rgb(colour)) + 0.2
    found = np.abs(picture[: int(0.8 * len(picture)), columns] - wanted).max(-1) < 0.03
    return np.argwhere(found).mean(0)


@pytest.mark.parametrize("half", [0, 1], ids=["psnr", "ssim"])
def test_the_better_network_is_higher_and_the_larger_one_further_right(picture, half):
    width = picture.shape[1] // 2
    columns = slice(half * width, (half + 1) * width)
    good, bad = (middle(picture, colour, columns) for colour in COLOURS[1:3])
    assert good[0] < bad[0] - 100 and good[1] < bad[1] - 100


def test_what_has_no_parameters_is_a_line_through_its_measure_alone(picture):
    grey = np.abs(picture - to_rgb(COLOURS[0])).max(-1) < 0.03
    width = picture.shape[1] // 2
    lines = [grey[: int(0.8 * len(picture)), part].sum(1).max() for part in (slice(width), slice(width, None))]
    assert lines[0] > 200 and lines[1] < 50


def test_networks_of_one_size_are_drawn_by_name_the_better_one_further_right():
    rows = [{"network": "bicubic", "psnr": 30.0}]
    rows += [{"network": name, "parameters": 1e6, "psnr": psnr} for name, psnr in (("a", 36.0), ("b", 31.0))]
    image = matplotlib.image.imread(io.BytesIO(draw_quality(rows)))[..., :3]
    dots = np.argwhere(np.abs(image - to_rgb(COLOURS[1])).max(-1) < 0.03)
    upper, lower = (dots[part].mean(0) for part in (dots[:, 0] < dots.mean(0)[0], dots[:, 0] > dots.mean(0)[0]))
    line = (np.abs(image - to_rgb(COLOURS[0])).max(-1) < 0.03).sum(0).argmax()
    # The first is above the second, and six times as far to the right of the line.
    assert lower[0] - upper[0] > 50
    assert (upper[1] - line) / (lower[1] - line) == pytest.approx(6, rel=0.03)
