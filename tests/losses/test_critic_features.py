import pytest
import torch
import torch.nn.functional as F

from miassr_monai.losses import CriticFeatureLoss
from miassr_monai.networks import Critic


@pytest.fixture
def critic():
    torch.manual_seed(0)
    return Critic(2, width=2).double()


@pytest.fixture
def images():
    return torch.rand(2, 3, 2, 20, 17, dtype=torch.float64)


@torch.no_grad()
def evaluate(critic, prediction, target):
    """The loss by the critic's weights alone."""
    weights = critic.state_dict()
    ratios = []
    for index in range(8):
        layer = f"features.{2 * index}"
        prediction, target = (
            F.leaky_relu(F.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], 1 + index % 2, 1), 0.2)
            for x in (prediction, target)
        )
        ratios.append((prediction - target).abs().sum() / target.abs().sum())
    return sum(ratios) / 8


def test_values_are_those_of_the_explicit_evaluation(critic, images):
    loss = CriticFeatureLoss(critic)(*images)
    torch.testing.assert_close(loss, evaluate(critic, *images), rtol=1e-12, atol=0)
    assert loss > 0


def test_equal_images_have_no_loss(critic, images):
    assert CriticFeatureLoss(critic)(images[0], images[0].clone()) == 0


def test_the_scale_of_the_features_does_not_matter(critic, images):
    before = CriticFeatureLoss(critic)(*images)
    with torch.no_grad():
        for parameter in critic.features[0].parameters():
            parameter *= 8
        for layer in critic.features[2::2]:
            layer.bias *= 8
    torch.testing.assert_close(CriticFeatureLoss(critic)(*images), before, rtol=1e-12, atol=0)


def test_only_the_prediction_has_a_gradient(critic, images):
    prediction, target = (image.clone().requires_grad_() for image in images)
    CriticFeatureLoss(critic.requires_grad_(False))(prediction, target).backward()
    assert prediction.grad.abs().min() > 0
    assert target.grad is None


def test_the_loss_follows_the_critic_that_is_trained_but_does_not_list_it(critic, images):
    loss = CriticFeatureLoss(critic)
    assert not list(loss.parameters())
    before = loss(*images)
    with torch.no_grad():
        critic.features[0].weight.neg_()
    assert loss(*images) != before
