import torch

from miassr_monai.processes import number_of_processes, own_device, own_rank, own_share


def test_one_process_has_everything(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (own_rank(), number_of_processes(), own_share("abc")) == (0, 1, ["a", "b", "c"])


def test_each_item_is_one_process_s_and_each_process_has_a_gpu(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(own_share(range(7)))
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert own_device() == torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device() == torch.device("cpu")
