import math
import weakref
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor
from scipy import stats

from miassr_monai.data import RandomScaleCollate, ScaleGridDataset, as_slices, slices_collate, volume_collate


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


def test_a_range_of_one_scale_has_that_one_alone():
    torch.manual_seed(0)
    assert set(draw(RandomScaleCollate(2.0, 2.0), 5)) == {2.0}
    draws = draw(RandomScaleCollate(2.0, 2.0, anisotropic=True), 40)
    assert {tuple(scales) for scales in draws} == {(2.0, 2.0), (1.0, 2.0), (2.0, 1.0)}


def test_a_scale_may_be_along_some_axes_alone():
    torch.manual_seed(0)
    rows, columns = draw(RandomScaleCollate(1.0, 4.0, axes=[1], anisotropic=True), 20).T
    assert (rows == 1).all() and (columns > 1).all() and len(set(columns)) > 10
    for scale in draw(RandomScaleCollate(2.0, 2.0, axes=[0, 2], spatial_dims=3), 3):
        assert tuple(scale) == (2, 1, 2)
    with pytest.raises(ValueError, match=r"along the axes 0 to 1 of a patch, got \[2\]"):
        RandomScaleCollate(axes=[2])


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


def test_a_scale_along_one_axis_only_may_be_larger_than_the_others():
    torch.manual_seed(0)
    draws = draw(RandomScaleCollate(1.0, 4.0, anisotropic=True, one_axis_high=8.0), 4000)
    along_one = (draws == 1).any(1)
    assert draws[~along_one].max() <= 4 and 7.9 < draws[along_one].max() <= 8
    assert (draws[along_one] > 4).any(1).mean() == pytest.approx(4 / 7, abs=0.06)
    with pytest.raises(ValueError, match=r"the largest scale along one axis, 1\.5, must not be below the least, 2"):
        RandomScaleCollate(2.0, 4.0, one_axis_high=1.5)


def test_anisotropic_draws_are_half_equal_a_quarter_free_and_a_quarter_along_one_axis():
    torch.manual_seed(0)
    rows, columns = draw(RandomScaleCollate(1.5, 4.0, anisotropic=True), 4000).T
    equal, one = rows == columns, (rows == 1) | (columns == 1)
    for share, expected in ((equal, 0.5), (one, 0.25), (~equal & ~one, 0.25), (rows == 1, 0.125)):
        assert share.mean() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    for scales in (rows[rows > 1], columns[columns > 1]):
        assert stats.kstest(scales, stats.uniform(1.5, 2.5).cdf).pvalue > 0.01


def test_volumes_have_three_scales_of_which_a_quarter_is_along_one_axis_alone():
    torch.manual_seed(0)
    scales = draw(RandomScaleCollate(1.5, 4.0, anisotropic=True, spatial_dims=3), 4000)
    equal, above = (np.ptp(scales, axis=1) == 0), (scales > 1).sum(1)
    single = [(above == 1) & (scales[:, axis] > 1) for axis in range(3)]
    for share, expected in ((equal, 1 / 2), (above == 3, 3 / 4), *((one, 1 / 12) for one in single)):
        assert share.mean() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    free = scales[~equal & (above == 3)]
    assert all((free[:, a] != free[:, b]).all() for a, b in ((0, 1), (0, 2), (1, 2)))


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


@pytest.mark.parametrize(("low", "high"), [(2.0001, 2.0), (3.0, 2.0), (1.0, math.nan)])
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
    assert grid[-1] == {"image": "b", "scale": 3.7, "index": 1}
    assert data[1] == {"image": "b"}


def test_the_grid_ends_where_its_length_says():
    with pytest.raises(IndexError):
        ScaleGridDataset(Dataset([{"image": "a"}]), [2.0, 3.0])[2]


def test_a_scale_of_the_grid_may_be_one_for_each_axis():
    grid = ScaleGridDataset(Dataset([{"image": "a"}]), [2.0, [1, 2], (1.0, 1.0, 4.0)], skip=lambda *place: False)
    assert [grid[i]["scale"] for i in range(3)] == [2.0, (1, 2), (1.0, 1.0, 4.0)]


def load_b_only(item):
    if item["image"] != "b":
        raise OSError(f"{item['image']} is broken")
    return item


def test_an_item_that_cannot_be_loaded_is_an_error_or_says_so():
    data = Dataset([{"image": name} for name in "abc"], load_b_only)
    with pytest.raises(RuntimeError):
        ScaleGridDataset(data, [2.0])[0]
    grid = ScaleGridDataset(data, [2.0, 3.0], ["psf"], keep_errors=True)
    for number, (index, scale) in enumerate(product(range(3), [2.0, 3.0])):
        for collate in (slices_collate, volume_collate):
            if index == 1:
                assert grid[number] == {"image": "b", "degradation": "psf", "scale": scale, "index": 1}
                continue
            batch = collate([grid[number]])
            assert "abc"[index] in str(batch.pop("error").__cause__ or batch)
            assert batch == {"degradation": "psf", "scale": scale, "index": index}


@pytest.mark.parametrize("scale", [0.5, math.nan, math.inf, (1.0, 0.5), [2.0, math.nan]])
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


def test_a_volume_becomes_a_batch_of_its_own():
    volume = torch.rand(2, 3, 4, 5)
    meta = {"filename_or_obj": "sub/a.nii"}
    batch = volume_collate([{"image": MetaTensor(volume, meta=meta), "scale": (1.0, 1.0, 4.0), "index": 7}])
    assert type(batch["image"]) is torch.Tensor
    torch.testing.assert_close(batch.pop("image"), volume[None], rtol=0, atol=0)
    assert batch == {"scale": (1.0, 1.0, 4.0), "name": "sub/a.nii", "index": 7}


def test_volumes_are_slices_across_their_last_axis():
    volumes = torch.rand(2, 3, 4, 5, 6)
    slices = as_slices(volumes)
    for volume, index in product(range(2), range(6)):
        torch.testing.assert_close(slices[6 * volume + index], volumes[volume, ..., index], rtol=0, atol=0)
    assert as_slices(slices) is slices


def test_a_volume_without_a_file_is_named_volume():
    for collate in (slices_collate, volume_collate):
        assert collate([{"image": MetaTensor(torch.rand(1, 2, 2, 2)), "scale": 2.0}])["name"] == "volume"


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


def numbered(count, height, width):
    """Patches whose pixels are all different: patch, row and column can be told from the value."""
    patches, rows, columns = torch.meshgrid(*map(torch.arange, (count, height, width)), indexing="ij")
    return [{"image": patch[None]} for patch in 1_000_000 * patches + 1000 * rows + columns]


def part_of(images):
    """First row and column, height and width of a contiguous part of :func:`numbered` patches."""
    count, _, height, width = images.shape
    row, column = divmod(int(images[0, 0, 0, 0]), 1000)
    whole = torch.stack([item["image"] for item in numbered(count, row + height, column + width)])
    torch.testing.assert_close(images, whole[:, :, row:, column:], rtol=0, atol=0)
    return row, column, height, width


def lr_pixels(size, scale):
    return math.floor(size / Fraction(scale).limit_denominator(10_000))


AWKWARD = st.integers(10_001, 80_000) | st.sampled_from(
    [10_001, 11_000, 13_333, 23_000, 27_000, 37_000, 39_999, 20_000]
)


@settings(deadline=None, max_examples=150)
@given(AWKWARD, st.integers(1, 90), st.integers(1, 90), st.integers(1, 30))
def test_a_patch_is_cropped_to_just_what_gives_the_wanted_lr_pixels(units, height, width, input_size):
    # A range that holds a single scale.
    collate = RandomScaleCollate((units - 1) / 10_000, units / 10_000, input_size=input_size)
    batch = collate(numbered(2, height, width))
    scale = batch["scale"]
    assert scale == units / 10_000
    row, column, *sizes = part_of(batch["image"])
    for first, size, whole in ((row, sizes[0], height), (column, sizes[1], width)):
        assert 0 <= first <= whole - size
        assert lr_pixels(size, scale) == min(lr_pixels(whole, scale), input_size)
        if lr_pixels(whole, scale) < input_size:
            assert size == whole
        elif size < whole:
            # Not a pixel more than that takes.
            assert lr_pixels(size - 1, scale) == input_size - 1


def test_each_axis_is_cropped_by_its_own_scale():
    torch.manual_seed(0)
    collate, kinds = RandomScaleCollate(1.5, 4.0, anisotropic=True, input_size=9), set()
    for _ in range(60):
        batch = collate(numbered(1, 40, 30))
        _, _, *sizes = part_of(batch["image"])
        for size, whole, scale in zip(sizes, (40, 30), batch["scale"], strict=True):
            assert lr_pixels(size, scale) == min(lr_pixels(whole, scale), 9)
            assert size == min(whole, math.ceil(9 * Fraction(scale).limit_denominator(10_000)))
        kinds.add((batch["scale"][0] == 1, batch["scale"][1] == 1, sizes[0] == sizes[1]))
    assert {(True, False, False), (False, True, False), (False, False, False)} <= kinds


def test_volumes_are_cropped_along_three_axes():
    torch.manual_seed(0)
    collate = RandomScaleCollate(1.5, 4.0, anisotropic=True, input_size=5, spatial_dims=3)
    for _ in range(20):
        batch = collate([{"image": torch.zeros(1, 30, 12, 25)}])
        for size, whole, scale in zip(batch["image"].shape[2:], (30, 12, 25), batch["scale"], strict=True):
            assert size == min(whole, math.ceil(5 * Fraction(scale).limit_denominator(10_000)))


def test_every_part_of_a_patch_is_taken_alike():
    torch.manual_seed(0)
    # 4 of 6 rows and of 7 columns.
    collate, counts = RandomScaleCollate(2.0, 2.0, input_size=2), np.zeros((3, 4))
    for _ in range(600):
        row, column, height, width = part_of(collate(numbered(1, 6, 7))["image"])
        assert (height, width) == (4, 4)
        counts[row, column] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.01


def test_an_image_and_its_label_are_cropped_alike_and_become_the_pair():
    torch.manual_seed(0)
    (image,) = numbered(1, 24, 30)
    sample = {"image": image["image"] + 0.5, "label": image["image"]}
    batch = RandomScaleCollate(2.0, 2.0, input_size=5, degradation=lambda x, s: x[..., ::2, ::2])([sample])
    assert batch["label"].shape == (1, 1, 10, 10)
    assert torch.equal(batch["image"], batch["label"][..., ::2, ::2] + 0.5)


def test_without_an_input_size_patches_stay_whole():
    assert part_of(RandomScaleCollate(1.0, 1.5)(numbered(3, 50, 40))["image"]) == (0, 0, 50, 40)


def test_the_draw_of_scales_and_parts_follows_torchs_seed():
    def draw_parts():
        torch.manual_seed(8)
        collate = RandomScaleCollate(input_size=4)
        batches = [collate(numbered(1, 32, 32)) for _ in range(5)]
        return [(batch["scale"], part_of(batch["image"])) for batch in batches]

    first = draw_parts()
    assert draw_parts() == first and len(set(first)) == 5


@pytest.mark.parametrize("input_size", [0, -3])
def test_an_input_size_without_a_pixel_is_refused(input_size):
    with pytest.raises(ValueError, match=f"at least one LR pixel, got an input_size of {input_size}"):
        RandomScaleCollate(input_size=input_size)


def test_the_grid_has_every_degradation_of_an_item_before_the_next_item():
    grid = ScaleGridDataset(Dataset([{"image": "a"}, {"image": "b"}]), [2.0, 3.0], ["psf", "paper"])
    expected = list(product([0, 1], ["psf", "paper"], [2.0, 3.0]))
    assert [
        (item["index"], item["degradation"], item["scale"]) for item in (grid[i] for i in range(len(grid)))
    ] == expected
    assert [grid[i]["image"] for i in range(len(grid))] == ["a"] * 4 + ["b"] * 4
    assert all("degradation" not in item for item in (ScaleGridDataset(grid.data, [2.0])[i] for i in range(2)))


@pytest.mark.parametrize("degradations", [(None,), ("psf", "paper")])
def test_what_is_to_be_skipped_is_left_out_and_nothing_else(degradations):
    data, asked = Dataset([{"image": name} for name in "abc"]), []
    left_out = {(1, degradations[-1], 2.0), (1, degradations[-1], 3.0), (2, degradations[0], 3.0)}

    def skip(*place):
        asked.append(place)
        return place in left_out

    grid = ScaleGridDataset(data, [2.0, 3.0], degradations, skip=skip)
    every = list(product(range(3), degradations, [2.0, 3.0]))
    assert asked == every
    items = [grid[i] for i in range(len(grid))]
    expected = [place for place in every if place not in left_out]
    assert [(item["index"], item.get("degradation"), item["scale"]) for item in items] == expected
    assert [item["image"] for item in items] == ["abc"[place[0]] for place in expected]
    with pytest.raises(IndexError):
        grid[len(expected)]


class Counted(Dataset):
    """Volumes that are made anew at each access; which, and how many older ones were alive then."""

    def __init__(self, count):
        super().__init__(list(range(count)))
        self.loaded, self.alive, self.made = [], [], []

    def __getitem__(self, index):
        self.alive.append(sum(reference() is not None for reference in self.made))
        self.loaded.append(index)
        image = MetaTensor(torch.full((1, 2, 2, 3), float(index)))
        self.made.append(weakref.ref(image))
        return {"image": image}


def test_each_volume_is_loaded_once_and_gone_before_the_next_comes():
    data = Counted(4)
    grid = ScaleGridDataset(data, [2.0, 2.5, 3.0], ["psf", "paper"], skip=lambda index, *_: index == 2)
    for i in range(len(grid)):
        # Nobody but the grid keeps it.
        assert grid[i]["image"].mean() == [0, 1, 3][i // 6]
    assert data.loaded == [0, 1, 3]
    assert data.alive == [0, 0, 0]
    assert (grid[0]["image"].mean(), grid[-1]["image"].mean(), data.loaded) == (0, 3, [0, 1, 3, 0, 3])


def test_what_the_grid_adds_to_an_item_is_not_in_the_next_one():
    grid = ScaleGridDataset(Dataset([{"image": "a"}]), [2.0, 3.0])
    first = grid[0]
    first["prediction"] = "mine"
    assert grid[1] == {"image": "a", "scale": 3.0, "index": 0}
    assert first["scale"] == 2.0


def test_a_batch_of_slices_says_which_volume_and_degradation_it_is_of():
    data = Dataset([{"image": MetaTensor(torch.full((1, 2, 2, 1), float(n)))} for n in range(2)])
    loader = DataLoader(ScaleGridDataset(data, [2.0], ["psf", "paper"]), batch_size=1, collate_fn=slices_collate)
    batches = [(b["image"].mean().item(), b["index"], b["degradation"], b["scale"]) for b in loader]
    assert batches == [(n, n, name, 2.0) for n in range(2) for name in ("psf", "paper")]
    assert "degradation" not in slices_collate([ScaleGridDataset(data, [2.0])[0]])
