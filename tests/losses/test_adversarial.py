import pytest
import torch

from miassr_monai.losses import RelativisticPairingGANLoss, WassersteinGPLoss

SHAPE = (3, 2, 4, 5)


@pytest.fixture
def images(random_images):
    return random_images(*SHAPE), random_images(*SHAPE, seed=2)


@pytest.mark.parametrize("interval", [1, 2, 5])
@pytest.mark.parametrize("first", [1, 4, 1000])
def test_lazy_penalty_has_the_closed_form_s_mean_loss_and_gradient_over_an_interval(
    interval, first, images, direction, linear_critic
):
    c, (real, fake) = direction(SHAPE, 1.5, requires_grad=True), images
    loss_function = WassersteinGPLoss(7.0, penalty_interval=interval)
    iterations = range(first, first + interval)
    losses = [loss_function.critic_loss(linear_critic(c), real, fake, i)["critic_loss"] for i in iterations]
    mean = sum(losses) / interval
    difference = fake.mean(0) - real.mean(0)
    assert mean.item() == pytest.approx((c * difference).sum().item() + 7 * 0.25, rel=1e-12)
    expected = difference + 7 * 2 * (1.5 - 1) * c.detach() / 1.5
    torch.testing.assert_close(torch.autograd.grad(mean, c)[0], expected, rtol=1e-12, atol=1e-14)


def test_penalty_is_evaluated_at_the_multiples_of_the_interval_only(images, direction, linear_critic):
    c, (real, fake) = direction(SHAPE, 1.5), images
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    order = ((c * (real - fake)).sum((1, 2, 3)) > 0).double().mean().item()
    loss_function = WassersteinGPLoss(7.0, penalty_interval=3)
    for iteration in (6, 1, 2, 3, 4, 5, 6, 7):
        losses = loss_function.critic_loss(linear_critic(c), real, fake, iteration)
        expected = {"critic_loss": wasserstein, "critic_adversarial": wasserstein, "critic_order": order}
        if iteration in (3, 6):
            expected |= {"critic_loss": wasserstein + 3 * 7 * 0.25, "penalty": 0.25}
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-12)


def test_the_order_is_the_share_of_pairs_whose_real_image_has_the_higher_score():
    real, fake = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([[0.5], [2.0], [3.5], [3.9]])
    assert WassersteinGPLoss().critic_loss(lambda x: x, real, fake, 1)["critic_order"] == 0.5


@pytest.mark.parametrize("options", [{"penalty_interval": 2}, {"penalty_weight": 0}])
def test_an_iteration_without_penalty_calls_the_critic_for_real_and_fake_only_and_draws_nothing(options, images):
    calls = []

    def critic(x):
        calls.append(x)
        return x.flatten(1).sum(1, keepdim=True)

    before = torch.get_rng_state()
    WassersteinGPLoss(**options).critic_loss(critic, *images, 1)
    torch.testing.assert_close(calls, list(images), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_an_iteration_the_penalty_is_evaluated_with_its_plain_weight(images, direction, linear_critic):
    c, (real, fake) = direction(SHAPE, 1.5), images
    losses = WassersteinGPLoss(7.0, penalty_interval=4).critic_loss(linear_critic(c), real, fake)
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    assert losses["critic_loss"].item() == pytest.approx(wasserstein + 7 * 0.25, rel=1e-12)


def test_critic_loss_leaves_the_generator_alone(random_images, quadratic_critic):
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    fake = weight * random_images(2, 1, 4, 4)
    loss = WassersteinGPLoss().critic_loss(quadratic_critic(weight), random_images(2, 1, 4, 4), fake)["critic_loss"]
    assert torch.autograd.grad(loss, fake, allow_unused=True) == (None,)


@pytest.mark.parametrize("loss", [WassersteinGPLoss, RelativisticPairingGANLoss])
def test_penalties_that_cannot_be_are_refused(loss):
    with pytest.raises(ValueError, match=r"penalty_weight must not be negative, got -0\.1"):
        loss(-0.1)
    for interval in (0, -4, 2.5):
        with pytest.raises(ValueError, match=f"must be a whole number of at least 1, got {interval}"):
            loss(penalty_interval=interval)
