import pytest
import torch
import torch.nn.functional as F

from miassr_monai.networks import Critic


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small_critic(in_channels=1):
    return Critic(in_channels, width=4, dense_channels=8)


def evaluate(critic, x, negative_slope):
    weights = critic.state_dict()
    for layer, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 2]):
        name = f"features.{2 * layer}"
        x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=1)
        x = torch.where(x > 0, x, negative_slope * x)
    x = F.adaptive_avg_pool2d(x, 6).flatten(1)
    x = F.leaky_relu(F.linear(x, weights["head.1.weight"], weights["head.1.bias"]), negative_slope)
    return F.linear(x, weights["head.3.weight"], weights["head.3.bias"])


def test_published_critic_has_23_560_641_parameters():
    with torch.device("meta"):
        critic = Critic()
    assert sum(p.numel() for p in critic.parameters()) == 23_560_641


@pytest.mark.parametrize("negative_slope", [0.2, 0.05])
@pytest.mark.parametrize("size", [(96, 96), (40, 64), (37, 37)])
def test_scores_are_those_of_the_explicit_evaluation(size, negative_slope):
    critic = Critic(2, width=3, dense_channels=7, negative_slope=negative_slope).double()
    x = torch.rand(2, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(critic(x), evaluate(critic, x, negative_slope), rtol=0, atol=1e-12)


def test_channels_double_at_each_stride_of_one():
    critic = Critic(width=4, dense_channels=8)
    assert [layer.out_channels for layer in critic.features[::2]] == [4, 4, 8, 8, 16, 16, 32, 32]


def test_score_of_the_published_size_does_not_depend_on_pooling():
    critic = small_critic()
    x = torch.rand(1, 1, 96, 96)
    pooled = critic(x)
    critic.pool = torch.nn.Identity()
    torch.testing.assert_close(critic(x), pooled, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [(24, 24), (37, 37), (96, 96), (40, 64), (24, 95)])
def test_images_of_any_size_get_one_score(size):
    scores = small_critic(3)(torch.rand(2, 3, *size))
    assert scores.shape == (2, 1)
    assert scores[0] != scores[1]


def test_scores_of_a_batch_are_those_of_its_images():
    critic = small_critic()
    x = torch.rand(3, 1, 32, 28)
    scores = torch.cat([critic(one) for one in x.split(1)])
    torch.testing.assert_close(critic(x), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 23, 96), (1, 1, 96, 23), (1, 2, 96, 96), (1, 96, 96), (1, 1, 24, 24, 24)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 1, H, W\)"):
        small_critic()(torch.zeros(shape))
