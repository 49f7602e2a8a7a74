import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.interpolate import RegularGridInterpolator

from miassr_monai import Predictor
from miassr_monai.prediction.labels import upscale_labels

SIZE = (5, 6, 4)


def label_map(dtype=torch.int16, seed=0):
    values = torch.tensor([-3, 0, 7, 1000])
    index = torch.randint(0, 4, (1, *SIZE), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(values[index].to(dtype), affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))


def positions(size, scale):
    """Where the fine voxels lie on the coarse grid."""
    return (np.arange(int(np.floor(size * scale + 1e-9))) + 0.5) / scale - 0.5


@pytest.mark.parametrize("scale", [(2.0, 2.0, 1.0), (1.7, 2.37, 3.0), (4.0, 1.0, 1.5)])
def test_the_nearest_label_is_that_of_the_voxel_in_which_a_point_lies(scale):
    labels = label_map()
    fine = upscale_labels(labels, scale=scale)
    assert fine.dtype == torch.int16
    places = [np.floor(positions(n, s) + 0.5 + 1e-9).astype(int) for n, s in zip(SIZE, scale, strict=True)]
    np.testing.assert_array_equal(fine[0], labels[0].numpy()[np.ix_(*places)])
    image = MetaTensor(torch.rand(labels.shape), affine=labels.affine)
    torch.testing.assert_close(fine.affine, Predictor("bicubic")(image, scale=scale).affine)


@pytest.mark.parametrize("scale", [(2.0, 2.0, 1.0), (1.7, 2.37, 3.0)])
def test_the_largest_indicator_wins(scale):
    labels = label_map()
    points = [np.clip(positions(n, s), 0, n - 1) for n, s in zip(SIZE, scale, strict=True)]
    grid = np.stack(np.meshgrid(*points, indexing="ij"), -1)
    values = np.unique(labels)
    shares = [RegularGridInterpolator([range(n) for n in SIZE], labels[0].numpy() == v)(grid) for v in values]
    # Where two are the largest but for rounding, either may win.
    best = np.sort(shares, 0)
    clear = best[-1] - best[-2] > 1e-6
    assert clear.mean() > 0.9
    fine = upscale_labels(labels, scale=scale, one_hot=True)[0].numpy()
    np.testing.assert_array_equal(fine[clear], values[np.argmax(shares, 0)][clear])
    assert set(np.unique(fine)) <= set(values)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bool])
@pytest.mark.parametrize("one_hot", [False, True])
def test_any_type_is_kept_and_two_channels_and_axes_are_taken(dtype, one_hot):
    labels = MetaTensor(torch.randint(0, 2, (2, 5, 6), generator=torch.Generator().manual_seed(0)).to(dtype))
    fine = upscale_labels(labels, scale=3, one_hot=one_hot)
    assert fine.shape == (2, 15, 18) and fine.dtype == dtype
    # At a whole odd scale the middle one of each voxel's samples lies at its centre.
    assert torch.equal(fine.as_tensor()[:, 1::3, 1::3], labels.as_tensor())


def test_a_ball_has_a_smoother_edge_where_indicators_are_interpolated():
    def ball(n):
        axes = [(torch.arange(n) + 0.5) / n - 0.5] * 3
        return (sum(a**2 for a in torch.meshgrid(*axes, indexing="ij")) < 0.4**2)[None]

    truth = ball(48)
    wrong = [
        (upscale_labels(MetaTensor(ball(16)), scale=(3, 3, 3), one_hot=one_hot).as_tensor() != truth).float().mean()
        for one_hot in (False, True)
    ]
    assert wrong[1] < 0.75 * wrong[0] < 0.05


def test_no_label_is_made_where_all_are_one():
    for one_hot, value in itertools.product((False, True), (-5.5, 0.0)):
        labels = MetaTensor(torch.full((1, *SIZE), value))
        assert upscale_labels(labels, scale=2, one_hot=one_hot).unique().tolist() == [value]
