import ignite.distributed as idist
import pytest
from torch.utils.data import SequentialSampler

from miassr_monai.data import RankSampler


def share_of(rank, processes, length, batch_size, monkeypatch):
    monkeypatch.setattr(idist, "get_rank", lambda: rank)
    monkeypatch.setattr(idist, "get_world_size", lambda: processes)
    sampler = RankSampler(SequentialSampler(range(length)), batch_size)
    places = list(sampler)
    assert len(sampler) == len(places)
    return places


def test_the_shares_of_a_batch_are_the_batch_and_what_is_no_whole_batch_is_nobody_s(monkeypatch):
    shares = [share_of(rank, 3, 14, 6, monkeypatch) for rank in range(3)]
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    assert share_of(0, 1, 12, 4, monkeypatch) == list(range(12))


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="a batch of 4 volumes cannot be shared among 3 processes: give a batch_size"):
        share_of(0, 3, 8, 4, monkeypatch)
