import pytest
import torch

from miassr_monai.transforms import RandomDegradation


def named(name, calls):
    def degrade(image, scale):
        calls.append(name)
        return image + scale

    return degrade


def test_each_is_drawn_as_often_as_its_weight_says():
    torch.manual_seed(0)
    calls = []
    degradation = RandomDegradation([named(name, calls) for name in "abc"], [3, 2, 1])
    for _ in range(3000):
        degradation(torch.zeros(1), 2.0)
    shares = [calls.count(name) / 3000 for name in "abc"]
    assert shares == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=0.03)


def test_image_and_scale_reach_the_degradation_and_its_result_comes_back():
    assert RandomDegradation([named("a", [])])(torch.ones(2), 1.5).tolist() == [2.5, 2.5]


def test_the_draw_follows_torchs_seed():
    calls = []
    degradation = RandomDegradation([named(name, calls) for name in "abcd"])
    for _ in range(2):
        torch.manual_seed(3)
        for _ in range(20):
            degradation(torch.zeros(1), 2.0)
    assert calls[:20] == calls[20:] and len(set(calls)) == 4


@pytest.mark.parametrize(("count", "weights"), [(0, None), (2, [1.0]), (2, [1.0, 0.0]), (1, [-1.0])])
def test_weights_that_do_not_fit_are_refused(count, weights):
    with pytest.raises(ValueError, match="need as many weights above 0"):
        RandomDegradation([torch.add] * count, weights)
