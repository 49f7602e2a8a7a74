import math

import ignite.distributed as idist
import pytest
import torch

from miassr_monai.engines import usable


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        *[(loss, True) for loss in (0, 5, -5, 8, -8)],
        *[(loss, False) for loss in (8.001, -8.001, math.nan, math.inf, -math.inf)],
    ],
)
def test_a_loss_is_usable_when_its_magnitude_is_at_most_the_limit(loss, expected):
    assert usable(torch.tensor(float(loss), requires_grad=True), limit=8) is expected


@pytest.mark.parametrize(("here", "elsewhere"), [(1.0, 0.0), (math.nan, 1.0), (1.0, 1.0)])
def test_a_loss_is_usable_only_if_it_is_in_every_process(monkeypatch, here, elsewhere):
    reduce = {"MIN": min, "MAX": max, "SUM": lambda *values: sum(values)}
    monkeypatch.setattr(idist, "all_reduce", lambda value, op="SUM": reduce[op](value, elsewhere))
    assert usable(torch.tensor(here), limit=8) is (here == elsewhere == 1.0)
