import pytest
import torch

from miassr_monai.losses import WassersteinGPLoss, gradient_penalty

SHAPES = pytest.mark.parametrize("shape", [(4, 1, 5, 6), (2, 3, 4, 4), (3, 2, 3, 4, 5)])


def random_images(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def direction(shape, length, requires_grad=False):
    c = torch.randn(shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return (length * c / c.norm()).requires_grad_(requires_grad)


def linear_critic(c):
    return lambda x: (x * c).flatten(1).sum(1, keepdim=True)


def quadratic_critic(a):
    return lambda x: a / 2 * x.square().flatten(1).sum(1, keepdim=True)


@SHAPES
@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_that_of_its_slope(shape, length):
    c = direction(shape, length)
    penalty = gradient_penalty(linear_critic(c), random_images(*shape), random_images(*shape, seed=2))
    torch.testing.assert_close(penalty, torch.tensor((length - 1) ** 2, dtype=torch.float64), rtol=0, atol=1e-14)


@SHAPES
def test_penalty_takes_each_image_s_own_slope(shape):
    x, a = random_images(*shape), 0.7
    penalty = gradient_penalty(quadratic_critic(a), x, x)
    slopes = [a * image.square().sum().sqrt().item() for image in x]
    expected = sum((slope - 1) ** 2 for slope in slopes) / len(slopes)
    assert penalty.item() == pytest.approx(expected, rel=1e-13)


def test_penalty_passes_its_gradient_on_to_the_critic():
    c = direction((2, 1, 4, 4), 2.5, requires_grad=True)
    penalty = gradient_penalty(linear_critic(c), random_images(2, 1, 4, 4), random_images(2, 1, 4, 4, seed=2))
    (gradient,) = torch.autograd.grad(penalty, c)
    torch.testing.assert_close(gradient, 2 * (2.5 - 1) * c.detach() / 2.5, rtol=1e-12, atol=0)


def test_a_flat_critic_has_a_penalty_of_one_and_finite_gradients():
    c = torch.zeros(1, 4, 4, requires_grad=True)
    penalty = gradient_penalty(linear_critic(c), torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4))
    assert penalty.item() == 1
    assert torch.autograd.grad(penalty, c)[0].isfinite().all()


def test_penalty_is_taken_at_uniformly_random_points_between_real_and_fake():
    points = []

    def critic(x):
        points.append(x.detach())
        return x.flatten(1).sum(1, keepdim=True)

    torch.manual_seed(0)
    n = 4000
    gradient_penalty(critic, torch.full((n, 1, 2, 2), 3.0), torch.full((n, 1, 2, 2), 5.0))
    (place,) = ((x.flatten(1) - 3) / 2 for x in points)
    torch.testing.assert_close(place, place[:, :1].expand(-1, 4), rtol=0, atol=0)
    steps = (torch.arange(n) + 0.5) / n
    torch.testing.assert_close(place[:, 0].sort().values, steps, rtol=0, atol=1.7 / n**0.5)


def test_critic_loss_is_the_difference_of_mean_scores_and_the_weighted_penalty():
    shape = (3, 2, 4, 5)
    c, real, fake = direction(shape, 1.5), random_images(*shape), random_images(*shape, seed=2)
    losses = WassersteinGPLoss(penalty_weight=7.0).critic_loss(linear_critic(c), real, fake)
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    values = {name: loss.item() for name, loss in losses.items()}
    expected = {"critic_loss": wasserstein + 7 * 0.25, "wasserstein": wasserstein, "penalty": 0.25}
    assert values == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_critic_loss_is_that_of_the_closed_form():
    shape = (3, 1, 4, 5)
    c, real, fake = direction(shape, 1.5, requires_grad=True), random_images(*shape), random_images(*shape, seed=2)
    loss = WassersteinGPLoss().critic_loss(linear_critic(c), real, fake)["critic_loss"]
    (gradient,) = torch.autograd.grad(loss, c)
    expected = fake.mean(0) - real.mean(0) + 10 * 2 * (1.5 - 1) * c.detach() / 1.5
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("interval", [1, 2, 5])
@pytest.mark.parametrize("first", [1, 4, 1000])
def test_lazy_penalty_has_the_closed_form_s_mean_loss_and_gradient_over_an_interval(interval, first):
    shape = (3, 1, 4, 5)
    c, real, fake = direction(shape, 1.5, requires_grad=True), random_images(*shape), random_images(*shape, seed=2)
    loss_function = WassersteinGPLoss(7.0, penalty_interval=interval)
    iterations = range(first, first + interval)
    losses = [loss_function.critic_loss(linear_critic(c), real, fake, i)["critic_loss"] for i in iterations]
    mean = sum(losses) / interval
    difference = fake.mean(0) - real.mean(0)
    assert mean.item() == pytest.approx((c * difference).sum().item() + 7 * 0.25, rel=1e-12)
    expected = difference + 7 * 2 * (1.5 - 1) * c.detach() / 1.5
    torch.testing.assert_close(torch.autograd.grad(mean, c)[0], expected, rtol=1e-12, atol=1e-14)


def test_penalty_is_evaluated_at_the_multiples_of_the_interval_only():
    shape = (3, 2, 4, 5)
    c, real, fake = direction(shape, 1.5), random_images(*shape), random_images(*shape, seed=2)
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    loss_function = WassersteinGPLoss(7.0, penalty_interval=3)
    for iteration in (6, 1, 2, 3, 4, 5, 6, 7):
        losses = loss_function.critic_loss(linear_critic(c), real, fake, iteration)
        expected = {"critic_loss": wasserstein, "wasserstein": wasserstein}
        if iteration in (3, 6):
            expected = {"critic_loss": wasserstein + 3 * 7 * 0.25, "wasserstein": wasserstein, "penalty": 0.25}
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-12)


def test_an_iteration_without_penalty_calls_the_critic_for_real_and_fake_only_and_draws_nothing():
    calls = []

    def critic(x):
        calls.append(x)
        return x.flatten(1).sum(1, keepdim=True)

    before = torch.get_rng_state()
    real, fake = random_images(2, 1, 4, 4), random_images(2, 1, 4, 4, seed=2)
    WassersteinGPLoss(penalty_interval=2).critic_loss(critic, real, fake, 1)
    torch.testing.assert_close(calls, [fake, real], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_an_iteration_the_penalty_is_evaluated_with_its_plain_weight():
    shape = (3, 2, 4, 5)
    c, real, fake = direction(shape, 1.5), random_images(*shape), random_images(*shape, seed=2)
    losses = WassersteinGPLoss(7.0, penalty_interval=4).critic_loss(linear_critic(c), real, fake)
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    assert losses["critic_loss"].item() == pytest.approx(wasserstein + 7 * 0.25, rel=1e-12)


def test_critic_loss_leaves_the_generator_alone():
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    fake = weight * random_images(2, 1, 4, 4)
    losses = WassersteinGPLoss().critic_loss(quadratic_critic(weight), random_images(2, 1, 4, 4, seed=2), fake)
    assert torch.autograd.grad(losses["penalty"], fake, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(losses["critic_loss"], fake, allow_unused=True) == (None,)


def test_generator_loss_is_the_negative_mean_score():
    scores = torch.tensor([[1.0], [4.0], [-2.0], [5.0]], requires_grad=True)
    loss = WassersteinGPLoss()(scores)
    loss.backward()
    assert loss.item() == -2.0
    torch.testing.assert_close(scores.grad, torch.full((4, 1), -0.25), rtol=0, atol=0)


def test_negative_penalty_weights_are_refused():
    with pytest.raises(ValueError, match=r"penalty_weight must not be negative, got -0\.1"):
        WassersteinGPLoss(-0.1)


@pytest.mark.parametrize("interval", [0, -4, 2.5])
def test_penalty_intervals_that_are_no_count_are_refused(interval):
    with pytest.raises(ValueError, match=f"penalty_interval must be a whole number of at least 1, got {interval}"):
        WassersteinGPLoss(penalty_interval=interval)
