import pytest
import torch

from miassr_monai.losses import gradient_penalty, zero_centred_penalty

SHAPES = pytest.mark.parametrize("shape", [(4, 1, 5, 6), (2, 3, 4, 4), (3, 2, 3, 4, 5)])


@SHAPES
@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
def test_penalties_of_a_linear_critic_are_those_of_its_slope(shape, length, direction, linear_critic, random_images):
    critic = linear_critic(direction(shape, length))
    penalty = gradient_penalty(critic, random_images(*shape), random_images(*shape, seed=2))
    torch.testing.assert_close(penalty, torch.tensor((length - 1) ** 2, dtype=torch.float64), rtol=0, atol=1e-14)
    penalty = zero_centred_penalty(critic, random_images(*shape))
    torch.testing.assert_close(penalty, torch.tensor(length**2, dtype=torch.float64), rtol=1e-14, atol=0)


@SHAPES
def test_penalties_take_each_image_s_own_slope(shape, quadratic_critic, random_images):
    x, a = random_images(*shape), 0.7
    slopes = [a * image.square().sum().sqrt().item() for image in x]
    expected = sum((slope - 1) ** 2 for slope in slopes) / len(slopes)
    assert gradient_penalty(quadratic_critic(a), x, x).item() == pytest.approx(expected, rel=1e-13)
    expected = sum(slope**2 for slope in slopes) / len(slopes)
    assert zero_centred_penalty(quadratic_critic(a), x).item() == pytest.approx(expected, rel=1e-13)


def test_penalties_pass_their_gradient_on_to_the_critic(direction, linear_critic, random_images):
    c = direction((2, 1, 4, 4), 2.5, requires_grad=True)
    penalty = gradient_penalty(linear_critic(c), random_images(2, 1, 4, 4), random_images(2, 1, 4, 4, seed=2))
    (gradient,) = torch.autograd.grad(penalty, c)
    torch.testing.assert_close(gradient, 2 * (2.5 - 1) * c.detach() / 2.5, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(zero_centred_penalty(linear_critic(c), random_images(2, 1, 4, 4)), c)
    torch.testing.assert_close(gradient, 2 * c.detach(), rtol=1e-12, atol=0)


def test_a_flat_critic_has_a_penalty_of_one_and_finite_gradients(linear_critic):
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


def test_penalties_leave_the_generator_alone(quadratic_critic, random_images):
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    fake, critic = weight * random_images(2, 1, 4, 4), quadratic_critic(weight)
    for penalty in (gradient_penalty(critic, fake, fake), zero_centred_penalty(critic, fake)):
        assert torch.autograd.grad(penalty, fake, allow_unused=True) == (None,)
