import pytest
import torch
from torch import nn

from miassr_monai.losses import JointLoss

PREDICTION = torch.tensor([1.0, 5.0]).view(1, 1, 1, 2)
TARGET = torch.tensor([2.0, 2.0]).view(1, 1, 1, 2)
CRITIC = torch.tensor([3.0, 8.0]).view(1, 1, 1, 2)


def adversarial(critic, real, fake):
    return 10 * (critic * fake).sum() - real.sum()


def perceptual(prediction, target):
    return 2 * prediction.sum() - target.sum()


@pytest.fixture
def inputs():
    return [x.clone().requires_grad_() for x in (PREDICTION, TARGET, CRITIC)]


def test_loss_is_the_weighted_sum_of_its_unweighted_terms(inputs):
    joint = JointLoss(adversarial, perceptual, pixel_weight=3, adversarial_weight=5, perceptual_weight=7)
    losses = {name: loss.item() for name, loss in joint(*inputs).items()}
    assert losses == {"loss": 3 * 2 + 5 * 426 + 7 * 8, "l1": 2, "adversarial": 426, "perceptual": 8}


def test_gradient_is_the_weighted_sum_of_its_terms_gradients(inputs):
    joint = JointLoss(adversarial, perceptual, pixel_weight=3, adversarial_weight=5, perceptual_weight=7)
    joint(*inputs)["loss"].backward()
    assert inputs[0].grad.flatten().tolist() == [-3 / 2 + 5 * 30 + 14, 3 / 2 + 5 * 80 + 14]
    assert inputs[2].grad.flatten().tolist() == [50, 250]


def test_default_weights_are_those_of_the_paper(inputs):
    loss = JointLoss(adversarial, perceptual)(*inputs)["loss"].item()
    assert loss == pytest.approx(2 + 0.001 * 426 + 0.006 * 8, rel=1e-6)


def test_without_a_perceptual_loss_its_term_is_left_out(inputs):
    losses = JointLoss(adversarial, None, pixel_weight=3, adversarial_weight=5, perceptual_weight=0)(*inputs)
    assert {name: loss.item() for name, loss in losses.items()} == {"loss": 2136, "l1": 2, "adversarial": 426}


@pytest.mark.parametrize("options", [{"perceptual_weight": 1e-9}, {}])
def test_a_perceptual_weight_without_a_perceptual_loss_is_refused(options):
    with pytest.raises(ValueError, match="but there is no perceptual loss: set it to 0"):
        JointLoss(adversarial, None, **options)


@pytest.mark.parametrize("name", ["pixel_weight", "adversarial_weight", "perceptual_weight"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match="must not be negative"):
        JointLoss(adversarial, perceptual, **{name: -1e-9})


def test_the_perceptual_network_moves_with_the_loss():
    network = nn.Conv2d(1, 1, 1)
    JointLoss(adversarial, network).double()
    assert network.weight.dtype == torch.float64
