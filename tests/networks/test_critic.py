from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from miassr_monai.losses import gradient_penalty
from miassr_monai.networks import Critic


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=[None, 8], ids=["pooled", "dense"])
def dense_channels(request):
    return request.param


def last_map(weights, x, negative_slope):
    for layer, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 2]):
        name = f"features.{2 * layer}"
        convolution = F.conv2d if x.dim() == 4 else F.conv3d
        x = convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=1)
        x = torch.where(x > 0, x, negative_slope * x)
    return x


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 1_171_937), ({"width": 64, "dense_channels": 1024}, 23_560_641)],
    ids=["default", "paper"],
)
def test_parameters_are_as_many_as_documented(options, count):
    with torch.device("meta"):
        critic = Critic(**options)
    assert sum(p.numel() for p in critic.parameters()) == count
    assert f"{count:,}" in Critic.__doc__


def test_published_critic_has_its_keys_and_shapes():
    with torch.device("meta"):
        critic = Critic(width=64, dense_channels=1024)
    channels = [1, 64, 64, 128, 128, 256, 256, 512, 512]
    expected = {}
    for layer, (before, after) in enumerate(pairwise(channels)):
        expected |= {f"features.{2 * layer}.weight": (after, before, 3, 3), f"features.{2 * layer}.bias": (after,)}
    expected |= {"head.1.weight": (1024, 512 * 6 * 6), "head.1.bias": (1024,)}
    expected |= {"head.3.weight": (1, 1024), "head.3.bias": (1,)}
    assert {name: tuple(value.shape) for name, value in critic.state_dict().items()} == expected


@pytest.mark.parametrize("negative_slope", [0.2, 0.05])
@pytest.mark.parametrize("size", [(96, 96), (40, 64), (37, 37)])
def test_dense_scores_are_those_of_the_explicit_evaluation(size, negative_slope):
    critic = Critic(2, width=3, dense_channels=7, negative_slope=negative_slope).double()
    x = torch.rand(2, 2, *size, dtype=torch.float64)
    weights = critic.state_dict()
    pooled = F.adaptive_avg_pool2d(last_map(weights, x, negative_slope), 6).flatten(1)
    hidden = F.leaky_relu(F.linear(pooled, weights["head.1.weight"], weights["head.1.bias"]), negative_slope)
    expected = F.linear(hidden, weights["head.3.weight"], weights["head.3.bias"])
    torch.testing.assert_close(critic(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("negative_slope", [0.2, 0.05])
@pytest.mark.parametrize("size", [(96, 96), (40, 64), (37, 37), (16, 50)])
def test_pooled_scores_are_the_means_of_the_scores_of_all_positions(size, negative_slope):
    critic = Critic(2, width=3, negative_slope=negative_slope).double()
    x = torch.rand(2, 2, *size, dtype=torch.float64)
    features = last_map(critic.state_dict(), x, negative_slope)
    assert features.shape == (2, 24, *(-(-n // 16) for n in size))
    weight, bias = critic.head[-1].weight, critic.head[-1].bias
    scores = [features[..., i, j] @ weight[0] + bias for i in range(features.size(2)) for j in range(features.size(3))]
    torch.testing.assert_close(critic(x), torch.stack(scores).mean(0)[:, None], rtol=0, atol=1e-12)


def test_a_position_of_the_last_map_sees_61_x_61_pixels():
    x = torch.rand(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    features = Critic(width=4).double().features(x)
    (gradient,) = torch.autograd.grad(features[0, :, 4, 4].sum(), x)
    rows, columns = gradient[0, 0].nonzero(as_tuple=True)
    assert (rows.unique().numel(), columns.unique().numel()) == (61, 61)


@pytest.mark.parametrize("size", [(20, 33, 17), (24, 24, 30)])
def test_scores_of_volumes_are_those_of_the_explicit_evaluation(size, dense_channels):
    if dense_channels and min(size) < 24:
        size = tuple(n + 8 for n in size)
    critic = Critic(2, spatial_dims=3, width=2, dense_channels=dense_channels).double()
    x = torch.rand(2, 2, *size, dtype=torch.float64)
    features = last_map(critic.state_dict(), x, 0.2)
    pooled = F.adaptive_avg_pool3d(features, 6).flatten(1) if dense_channels else features.mean((2, 3, 4))
    torch.testing.assert_close(critic(x), critic.head[1:](pooled), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 2, H, W, D\) with H, W and D at least"):
        critic(x[..., :15])


def test_channels_double_at_each_stride_of_one():
    critic = Critic(width=4)
    assert [layer.out_channels for layer in critic.features[::2]] == [4, 4, 8, 8, 16, 16, 32, 32]


def test_score_of_the_published_size_does_not_depend_on_pooling():
    critic = Critic(width=4, dense_channels=8)
    x = torch.rand(1, 1, 96, 96)
    pooled = critic(x)
    critic.pool = torch.nn.Identity()
    torch.testing.assert_close(critic(x), pooled, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [(24, 24), (37, 37), (96, 96), (40, 64), (24, 95)])
def test_images_of_any_size_get_one_score(size, dense_channels):
    scores = Critic(3, width=4, dense_channels=dense_channels)(torch.rand(2, 3, *size))
    assert scores.shape == (2, 1)
    assert scores[0] != scores[1]


def test_scores_of_a_batch_are_those_of_its_images(dense_channels):
    critic = Critic(width=4, dense_channels=dense_channels)
    x = torch.rand(3, 1, 32, 28)
    scores = torch.cat([critic(one) for one in x.split(1)])
    torch.testing.assert_close(critic(x), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 2, 96, 96), (1, 96, 96), (1, 1, 24, 24, 24)])
def test_images_that_do_not_fit_are_refused(shape, dense_channels):
    with pytest.raises(ValueError, match=r"needs images of shape \(N, 1, H, W\)"):
        Critic(width=4, dense_channels=dense_channels)(torch.zeros(shape))


@pytest.mark.parametrize("other", [0, 72])
@pytest.mark.parametrize(("options", "smallest"), [({}, 16), ({"dense_channels": 8}, 24)], ids=["pooled", "dense"])
def test_images_below_the_smallest_size_are_refused(options, smallest, other):
    critic = Critic(width=4, **options)
    assert critic(torch.zeros(1, 1, smallest, smallest + other)).shape == (1, 1)
    for size in ((smallest - 1, smallest + other), (smallest + other, smallest - 1)):
        with pytest.raises(ValueError, match=rf"H and W at least {smallest}, got \[1, 1, {size[0]}, {size[1]}\]"):
            critic(torch.zeros(1, 1, *size))


def test_bfloat16_is_close_and_spares_the_first_convolution_and_the_head(dense_channels):
    exact, fast = (Critic(width=8, dense_channels=dense_channels, amp=amp) for amp in (False, True))
    fast.load_state_dict(exact.state_dict())
    images = 1 - 1e-3 * torch.rand(4, 1, 48, 48)
    wanted, maps = exact.maps(images), fast.maps(images)
    torch.testing.assert_close(maps[0], wanted[0], rtol=0, atol=0)
    for one, other in zip(maps[1:], wanted[1:], strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() / other.norm() < 0.01
    torch.testing.assert_close(fast(images), exact.head(exact.pool(maps[-1])), rtol=0, atol=0)


def test_batch_norm_follows_all_convolutions_but_the_first():
    critic = Critic(2, width=3, batch_norm=True).double()
    weights = critic.state_dict()
    x = images = torch.rand(4, 2, 33, 40, dtype=torch.float64)
    for layer, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 2]):
        name = f"features.{2 * layer}" + (".0" if layer else "")
        x = F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride=stride, padding=1)
        if layer:
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
            x = (x - mean) / (variance + 1e-5).sqrt()
        x = torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close(critic.maps(images)[-1], x, rtol=1e-10, atol=1e-12)


def test_gradient_penalty_in_bfloat16_is_close():
    penalties = []
    for amp in (False, True):
        torch.manual_seed(0)
        critic = Critic(width=8, amp=amp)
        with torch.no_grad():
            critic.head[1].weight *= 3e3
        penalty = gradient_penalty(critic, torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32))
        penalty.backward()
        penalties.append((penalty, critic.features[2].weight.grad))
    (wanted, gradient), (penalty, fast_gradient) = penalties
    assert wanted > 0.1
    torch.testing.assert_close(penalty, wanted, rtol=0.02, atol=0)
    assert 0 < (fast_gradient - gradient).norm() / gradient.norm() < 0.03
