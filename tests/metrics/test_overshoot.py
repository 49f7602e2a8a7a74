import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from miassr_monai.metrics import overshoot


def test_what_is_within_the_neighbours_range_is_no_overshoot():
    coarse = torch.rand(2, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    fine = coarse.repeat_interleave(3, 3)
    assert overshoot(coarse, fine, (1.0, 1.0, 3.0))["share"] == 0.0
    assert overshoot(coarse, fine, (1.0, 1.0, 3.0))["largest"] <= 0.0


def test_a_single_slice_in_the_order_of_dicom_is_within_its_own_range():
    coarse = torch.rand(1, 9, 8, generator=torch.Generator().manual_seed(0)).permute(2, 1, 0)[None]
    assert overshoot(coarse, coarse, (1.0, 1.0, 1.0)) == {"share": 0.0, "largest": 0.0}


def test_share_and_largest_are_those_of_filters_by_scipy():
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 25, 6, 4, generator=generator)
    fine = 1.4 * torch.rand(2, 50, 6, 12, generator=generator) - 0.2
    excess = []
    for small, large in zip(coarse.numpy(), fine.numpy(), strict=True):
        high, low = (f(small, 3, mode="nearest").repeat(2, 0).repeat(3, 2) for f in (maximum_filter, minimum_filter))
        excess.append(torch.from_numpy((large - high).clip(0) + (low - large).clip(0)))
    expected = torch.stack(excess)
    found = overshoot(coarse, fine, (2.0, 1.0, 3.0))
    assert found["share"] == pytest.approx((expected > 0.02).float().mean().item(), abs=1e-6)
    assert found["largest"] == pytest.approx(expected.max().item(), abs=1e-6)
    assert 0.05 < found["share"] < 0.9
