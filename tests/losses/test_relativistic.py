import math

import pytest
import torch

from miassr_monai.losses import RelativisticAverageGANLoss, RelativisticPairingGANLoss

REAL, FAKE = (2.0, -1.0, 0.5), (-0.3, 1.5, 0.0)


def scores(images):
    return 1 * images.flatten(1)


def columns():
    return (torch.tensor(x, dtype=torch.float64).unsqueeze(1) for x in (REAL, FAKE))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_ragan_compares_with_the_average_of_the_other_kind():
    real, fake = columns()
    loss = RelativisticAverageGANLoss()
    critic = -mean(math.log(sigmoid(r - mean(FAKE))) for r in REAL)
    critic -= mean(math.log(1 - sigmoid(f - mean(REAL))) for f in FAKE)
    generator = -mean(math.log(1 - sigmoid(r - mean(FAKE))) for r in REAL)
    generator -= mean(math.log(sigmoid(f - mean(REAL))) for f in FAKE)
    assert loss.critic_loss(scores, real, fake)["critic_loss"].item() == pytest.approx(critic, rel=1e-12)
    assert loss(scores, real, fake).item() == pytest.approx(generator, rel=1e-12)


def test_r3gan_compares_pairs():
    real, fake = columns()
    loss = RelativisticPairingGANLoss(penalty_weight=0)
    critic = -mean(math.log(sigmoid(r - f)) for r, f in zip(REAL, FAKE, strict=True))
    generator = -mean(math.log(sigmoid(f - r)) for r, f in zip(REAL, FAKE, strict=True))
    assert loss.critic_loss(scores, real, fake)["critic_loss"].item() == pytest.approx(critic, rel=1e-12)
    assert loss(scores, real, fake).item() == pytest.approx(generator, rel=1e-12)


def test_r3gan_pays_half_gamma_for_the_squared_slopes_at_real_and_at_fake_images(quadratic_critic, random_images):
    real, fake = random_images(4, 1, 5, 6), 3 * random_images(4, 1, 5, 6, seed=2)
    loss = RelativisticPairingGANLoss(penalty_weight=0.8)
    losses = loss.critic_loss(quadratic_critic(0.7), real, fake)
    r1, r2 = (mean(0.49 * image.square().sum().item() for image in images) for images in (real, fake))
    assert losses["penalty"].item() == pytest.approx((r1 + r2) / 2, rel=1e-12)
    expected = losses["critic_adversarial"].item() + 0.8 / 2 * (r1 + r2)
    assert losses["critic_loss"].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", [RelativisticAverageGANLoss(), RelativisticPairingGANLoss()])
def test_the_generator_learns_by_its_own_images_alone(loss):
    real, fake = (x.requires_grad_() for x in columns())
    value = loss(scores, real, fake)
    assert torch.autograd.grad(value, real, retain_graph=True, allow_unused=True) == (None,)
    assert (torch.autograd.grad(value, fake)[0] < 0).all()
