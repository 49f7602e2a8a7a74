import math

import pytest
import torch

from miassr_monai.losses import VanillaGANLoss

REAL, FAKE = [[2.0], [-1.0], [0.5]], [[-0.3], [1.5], [0.0]]


def scores(images):
    return images.flatten(1)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_losses_are_the_cross_entropies_of_the_first_gan():
    real, fake = (torch.tensor(x, dtype=torch.float64) for x in (REAL, FAKE))
    losses = VanillaGANLoss().critic_loss(scores, real, fake)
    expected = -mean(math.log(sigmoid(r)) for (r,) in REAL) - mean(math.log(1 - sigmoid(f)) for (f,) in FAKE)
    values = [losses[name].item() for name in ("critic_loss", "critic_adversarial")]
    assert values == pytest.approx([expected, expected], rel=1e-12)
    expected = -mean(math.log(sigmoid(f)) for (f,) in FAKE)
    assert VanillaGANLoss()(scores, real, fake).item() == pytest.approx(expected, rel=1e-12)


def test_the_generator_s_gradient_does_not_vanish_where_the_critic_is_sure():
    fake = torch.tensor([[-80.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(VanillaGANLoss()(scores, fake, fake), fake)
    assert gradient.item() == pytest.approx(-1)
