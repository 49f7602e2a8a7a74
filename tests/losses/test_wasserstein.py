import pytest
import torch
from torch import nn

from miassr_monai.losses import WassersteinClippingLoss, WassersteinGPLoss

SHAPE = (3, 2, 4, 5)


@pytest.mark.parametrize("loss", [WassersteinClippingLoss(), WassersteinGPLoss(7.0)])
def test_losses_are_the_difference_of_mean_scores_and_the_weighted_penalty(
    loss, direction, linear_critic, random_images
):
    c, real, fake = direction(SHAPE, 1.5), random_images(*SHAPE), random_images(*SHAPE, seed=2)
    values = {name: value.item() for name, value in loss.critic_loss(linear_critic(c), real, fake).items()}
    wasserstein = (c * (fake.mean(0) - real.mean(0))).sum().item()
    expected = {"critic_loss": wasserstein, "critic_adversarial": wasserstein}
    if isinstance(loss, WassersteinGPLoss):
        expected |= {"critic_loss": wasserstein + 7 * 0.25, "penalty": 0.25}
    assert {name: values[name] for name in values if name != "critic_order"} == pytest.approx(expected, rel=1e-12)
    assert loss(linear_critic(c), real, fake).item() == pytest.approx(-(c * fake.mean(0)).sum().item(), rel=1e-12)


def test_gradient_of_the_critic_loss_is_that_of_the_closed_form(direction, linear_critic, random_images):
    c, real, fake = direction(SHAPE, 1.5, requires_grad=True), random_images(*SHAPE), random_images(*SHAPE, seed=2)
    loss = WassersteinGPLoss().critic_loss(linear_critic(c), real, fake)["critic_loss"]
    (gradient,) = torch.autograd.grad(loss, c)
    expected = fake.mean(0) - real.mean(0) + 10 * 2 * (1.5 - 1) * c.detach() / 1.5
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


def test_parameters_of_the_critic_are_clipped():
    critic = nn.Linear(3, 1)
    critic.load_state_dict({"weight": torch.tensor([[0.3, -0.05, 0.1]]), "bias": torch.tensor([-7.0])})
    WassersteinClippingLoss(0.1).constrain(critic)
    torch.testing.assert_close(critic.weight.data, torch.tensor([[0.1, -0.05, 0.1]]), rtol=0, atol=0)
    assert critic.bias.item() == pytest.approx(-0.1)
    before = critic.weight.clone()
    WassersteinGPLoss().constrain(critic)
    assert torch.equal(critic.weight, before)


@pytest.mark.parametrize("limit", [0, -0.01, float("nan")])
def test_limits_that_leave_nothing_are_refused(limit):
    with pytest.raises(ValueError, match=f"must be above 0, got {limit}"):
        WassersteinClippingLoss(limit)
