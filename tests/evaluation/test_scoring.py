import math

import numpy as np
import pytest
import torch

from miassr_monai.degradations import paper_degradation
from miassr_monai.evaluation.scoring import ScoredVolume
from miassr_monai.metrics import SLICE_MEASURES, foreground_mask, slice_consistency, slice_scores


def random_slices(n, seed, size=(20, 18)):
    return torch.rand(n, 1, *size, generator=torch.Generator().manual_seed(seed))


def average_blocks(image, scale):
    """Degradation of volumes: means of blocks, and its scale is one for each axis."""
    assert len(scale) == 3
    for axis, s in zip((-3, -2, -1), map(int, scale), strict=True):
        image = image.unflatten(axis, (-1, s)).mean(axis)
    return image


@pytest.mark.parametrize("scale", [2.0, (1.0, 2.5)])
def test_the_scores_of_slices_are_those_of_a_direct_call(scale, monkeypatch):
    # Chunks of two slices, the last of them cut short.
    monkeypatch.setattr("miassr_monai.evaluation.scoring.CHUNK", 2)
    truth, fine = random_slices(5, 0), random_slices(5, 1)
    image = paper_degradation(truth, scale)
    volume = ScoredVolume({"image": image, "label": truth, "mine": fine}, ["mine"], scale, paper_degradation)
    found = list(volume.scores("mine"))
    expected = slice_scores(fine, truth, foreground_mask(truth), scale)
    expected["consistency"] = slice_consistency(fine, image, scale, paper_degradation)
    assert [list(row) for row in found] == [list(SLICE_MEASURES)] * 5
    for measure, values in expected.items():
        np.testing.assert_allclose([row[measure] for row in found], values, rtol=1e-6, err_msg=measure)


@pytest.mark.parametrize("scale", [2.0, (1.0, 2.0, 4.0)])
def test_a_volume_is_scored_by_its_slices_that_show_something(scale):
    truth, fine = random_slices(8, 0), random_slices(8, 1)
    # Nothing is in the second and in the last.
    truth[1], truth[7] = 0.25, 0
    scales = (2.0, 2.0, 2.0) if scale == 2.0 else scale
    label, mine = (images.movedim(0, -1).unsqueeze(0) for images in (truth, fine))
    image = average_blocks(label, scales)
    output = {"image": image, "label": label, "mine": mine}
    volume = ScoredVolume(output, ["mine"], scale, average_blocks, step=2)
    kept = [0, 3, 5]
    found = list(volume.scores("mine"))
    assert len(found) == 3
    torch.testing.assert_close(volume.slices["truth"], truth[kept], rtol=0, atol=0)
    torch.testing.assert_close(volume.slices["mine"], fine[kept], rtol=0, atol=0)
    expected = slice_scores(fine[kept], truth[kept], foreground_mask(truth[kept]), scales[:2])
    # The volume's: across the slices there is no other.
    expected["consistency"] = (average_blocks(mine, scales) - image).square().mean().sqrt().expand(3)
    for measure, values in expected.items():
        np.testing.assert_allclose([row[measure] for row in found], values, rtol=1e-5, err_msg=measure)
    # Of the LR slices those in which the middles of these lie.
    across = [[0, 1, 2], [0, 0, 1]][scale != 2.0]
    torch.testing.assert_close(volume.inputs, image[0].movedim(-1, 0)[across], rtol=0, atol=0)


def choose(psnr, sizes):
    """Which slices are shown, given the PSNR of each method and the number of pixels of the foreground."""
    n = len(sizes)
    keys = ["image", "label", *psnr]
    output = {
        key: torch.full((n, 1, 6, 6), 0.125 * i) + torch.arange(n).view(-1, 1, 1, 1) / 64 for i, key in enumerate(keys)
    }
    volume = ScoredVolume(output, list(psnr), 2.0, paper_degradation)
    volume.mask = torch.stack([torch.arange(36).view(1, 6, 6) < size for size in sizes])
    rows = [
        {"method": method, "psnr": value, "volume": "v", "contrast": "t1", "scale": "2"}
        for method, values in psnr.items()
        for value in values
    ]
    return volume.pictures(rows)


def test_the_middle_slice_is_shown_and_the_one_with_the_least_gain_over_bicubic():
    psnr = {"bicubic": [30.0, 31.0, 32.0, 28.0, 20.0], "mine": [31.0, 33.0, 34.0, 28.5, 25.0]}
    typical, worst = choose(psnr, [10] * 5)
    assert (typical["kind"], typical["slice"], typical["gain"]) == ("typical", 2, 2.0)
    assert (worst["kind"], worst["slice"], worst["gain"]) == ("worst", 3, 0.5)
    assert worst["psnr"] == {"bicubic": 28.0, "mine": 28.5}
    levels = {name: image.unique().item() for name, image in worst["images"].items()}
    start = 3 / 64
    assert list(levels) == ["input", "bicubic", "mine", "truth"]
    assert levels == {"input": start, "bicubic": start + 0.25, "mine": start + 0.375, "truth": start + 0.125}
    assert (worst["volume"], worst["contrast"], worst["scale"]) == ("v", "t1", "2")


def test_slices_that_hardly_show_anything_or_have_no_error_are_not_the_worst():
    psnr = {"bicubic": [30.0, 30, 30, 30, math.inf], "mine": [10.0, 33, 31, 32, math.inf]}
    # The mean is 10, and the first slice has less than half of it.
    assert choose(psnr, [4, 12, 5, 12, 17])[1]["slice"] == 2
    assert choose(psnr, [5, 12, 4, 12, 17])[1]["slice"] == 0
    perfect = {"bicubic": [math.inf] * 2, "mine": [math.inf] * 2}
    assert [picture["kind"] for picture in choose(perfect, [4, 4])] == ["typical"]


def test_without_bicubic_the_worst_slice_is_that_of_the_lowest_psnr():
    assert choose({"first": [9.0, 50, 60], "mine": [30.0, 31, 29]}, [1] * 3)[1]["slice"] == 2
    assert choose({"mine": [30.0, 1, 29], "bicubic": [30.0, 31, 29]}, [1] * 3)[1]["slice"] == 2
