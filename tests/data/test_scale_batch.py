import math

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from scipy import stats

from miassr_monai.data import RandomScaleCollate, ScaleGridDataset, slices_collate


def draw(collate, n):
    return np.array([collate([{"image": torch.zeros(1)}])["scale"] for _ in range(n)])


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (2.5, 3.0)])
def test_scales_are_uniform_multiples_of_a_ten_thousandth(low, high):
    torch.manual_seed(0)
    scales = draw(RandomScaleCollate(low, high), 1500)
    assert (scales > low).all() and (scales <= high).all()
    np.testing.assert_array_equal(scales, np.round(scales * 10_000) / 10_000)
    assert len(np.unique(scales)) > 1000
    assert stats.kstest(scales, stats.uniform(low, high - low).cdf).pvalue > 0.05


def test_the_range_holds_its_upper_end_and_not_its_lower():
    torch.manual_seed(0)
    assert set(draw(RandomScaleCollate(1.0, 1.0003), 60)) == {1.0001, 1.0002, 1.0003}
    assert set(draw(RandomScaleCollate(3.9999, 4.0), 5)) == {4.0}


def test_the_default_range_is_1_to_4():
    torch.manual_seed(0)
    scales = draw(RandomScaleCollate(), 1000)
    assert 1 < scales.min() < 1.02
    assert 3.98 < scales.max() <= 4


def test_the_draw_follows_torchs_seed():
    torch.manual_seed(5)
    first, second = draw(RandomScaleCollate(), 4), draw(RandomScaleCollate(), 4)
    torch.manual_seed(5)
    np.testing.assert_array_equal(draw(RandomScaleCollate(), 4), first)
    assert (first != second).all()


def test_anisotropic_draws_are_half_equal_a_quarter_free_and_a_quarter_along_one_axis():
    torch.manual_seed(0)
    rows, columns = draw(RandomScaleCollate(1.5, 4.0, anisotropic=True), 4000).T
    equal, one = rows == columns, (rows == 1) | (columns == 1)
    for share, expected in ((equal, 0.5), (one, 0.25), (~equal & ~one, 0.25), (rows == 1, 0.125)):
        assert share.mean() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    for scales in (rows[rows > 1], columns[columns > 1]):
        assert stats.kstest(scales, stats.uniform(1.5, 2.5).cdf).pvalue > 0.01


def test_samples_and_lists_of_samples_become_one_flat_batch():
    images = [torch.rand(1, 3, 4) for _ in range(5)]
    samples = [{"image": image, "index": i} for i, image in enumerate(images)]
    for batch in (samples, [samples[:3], samples[3:]], [samples[:1], samples[1:]]):
        collated = RandomScaleCollate()(batch)
        torch.testing.assert_close(collated["image"], torch.stack(images), rtol=0, atol=0)
        assert collated["index"].tolist() == [0, 1, 2, 3, 4]
        assert isinstance(collated["scale"], float)


def test_a_loader_draws_one_scale_for_each_batch():
    data = Dataset([{"image": torch.full((1, 2), float(i))} for i in range(6)])
    batches = list(DataLoader(data, batch_size=2, collate_fn=RandomScaleCollate()))
    assert [batch["image"][:, 0, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5]]
    assert len({batch["scale"] for batch in batches}) == 3


@pytest.mark.parametrize(("low", "high"), [(0.5, 4), (math.nan, 4), (0, 4)])
def test_a_lower_end_below_1_is_refused(low, high):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        RandomScaleCollate(low, high)


@pytest.mark.parametrize(("low", "high"), [(2.0, 2.0), (3.0, 2.0), (1.0, math.nan)])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(ValueError, match="scale"):
        RandomScaleCollate(low, high)


@pytest.mark.parametrize(("low", "high"), [(1.0, math.inf), (1.0, 2000.0), (1.0, 1.00001)])
def test_a_range_that_can_give_no_scale_is_refused_at_once(low, high):
    with pytest.raises(ValueError, match="scale"):
        RandomScaleCollate(low, high)


def test_the_grid_has_every_scale_of_an_item_before_the_next_item():
    data = Dataset([{"image": "a", "scale": None}, {"image": "b"}])
    grid = ScaleGridDataset(data, (2, 2.5, 3.7))
    assert len(grid) == 6
    expected = [(image, scale) for image in "ab" for scale in (2, 2.5, 3.7)]
    assert [(item["image"], item["scale"]) for item in (grid[i] for i in range(6))] == expected
    assert grid[-1] == {"image": "b", "scale": 3.7}
    assert data[1] == {"image": "b"}


def test_the_grid_ends_where_its_length_says():
    with pytest.raises(IndexError):
        ScaleGridDataset(Dataset([{"image": "a"}]), [2.0, 3.0])[2]


@pytest.mark.parametrize("scale", [0.5, math.nan, math.inf])
def test_impossible_scales_are_refused_in_the_grid(scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        ScaleGridDataset(Dataset([{"image": "a"}]), [2.0, scale])


def test_the_slices_of_a_volume_become_a_batch():
    volume = torch.rand(2, 3, 4, 5)
    batch = slices_collate([{"image": MetaTensor(volume, meta={"filename_or_obj": "sub/a.nii"}), "scale": 2.5}])
    assert type(batch["image"]) is torch.Tensor
    assert batch["image"].shape == (5, 2, 3, 4)
    for index in range(5):
        torch.testing.assert_close(batch["image"][index], volume[..., index], rtol=0, atol=0)
    assert (batch["scale"], batch["name"]) == (2.5, "sub/a.nii")


def test_a_volume_without_a_file_is_named_volume():
    assert slices_collate([{"image": MetaTensor(torch.rand(1, 2, 2, 2)), "scale": 2.0}])["name"] == "volume"


def test_a_loader_hands_out_each_volume_at_each_scale():
    data = Dataset([{"image": MetaTensor(torch.full((1, 2, 2, n), float(n)))} for n in (3, 4)])
    batches = list(DataLoader(ScaleGridDataset(data, [2.0, 2.3]), batch_size=1, collate_fn=slices_collate))
    assert [(len(b["image"]), b["image"].mean().item(), b["scale"]) for b in batches] == [
        (3, 3.0, 2.0),
        (3, 3.0, 2.3),
        (4, 4.0, 2.0),
        (4, 4.0, 2.3),
    ]


@pytest.mark.parametrize("n", [0, 2])
def test_a_batch_of_slices_is_of_one_volume(n):
    with pytest.raises(ValueError, match=f"batch_size is {n}: set it to 1"):
        slices_collate([{"image": MetaTensor(torch.rand(1, 2, 2, 2)), "scale": 2.0}] * n)
