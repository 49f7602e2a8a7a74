import copy

import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer

from miassr_monai.handlers import ClipGradient, DiscardLoss

RATE = 0.5


def make_batch(seed, factor=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand(4, 3, generator=generator),
        "label": factor * torch.rand(4, 1, generator=generator),
    }


def product_loss(prediction, target):
    """Its gradient by weights and bias is the same wherever they are."""
    return (prediction * target).sum()


def gradient(batch):
    """By weights and then by bias."""
    image, label = (batch[key].numpy().astype(np.float64) for key in ("image", "label"))
    return np.append((label * image).sum(0), label.sum())


def train(batches, max_norm=None, handlers=()):
    """The parameters before and after each step of gradient descent."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    clip = [] if max_norm is None else [ClipGradient(network, max_norm)]
    steps = [flat(network)]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=copy.deepcopy(batches),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE),
        loss_function=product_loss,
        train_handlers=[*handlers, *clip],
        postprocessing=lambda output: steps.append(flat(network)) or output,
        decollate=False,
    )
    trainer.run()
    return np.diff(steps, axis=0)


def flat(network):
    return np.append(*(parameter.detach().double().numpy().ravel() for parameter in network.parameters()))


def test_a_larger_gradient_is_scaled_to_the_norm_and_keeps_its_direction():
    batches = [make_batch(seed, factor) for seed, factor in ((0, 1.0), (1, 100.0), (2, 3.0))]
    for taken, batch in zip(train(batches, max_norm=0.3), batches, strict=True):
        full = gradient(batch)
        # Weights and bias together: neither is clipped on its own.
        assert np.linalg.norm(full) > 0.3
        np.testing.assert_allclose(taken, -RATE * 0.3 * full / np.linalg.norm(full), rtol=0, atol=1e-6)
        assert np.linalg.norm(taken) == pytest.approx(RATE * 0.3, rel=1e-5)


def test_a_smaller_gradient_is_left_as_it_is():
    batches = [make_batch(seed) for seed in range(3)]
    norms = [np.linalg.norm(gradient(batch)) for batch in batches]
    taken = train(batches, max_norm=1.01 * max(norms))
    np.testing.assert_array_equal(taken, train(batches))
    np.testing.assert_allclose(taken, [-RATE * gradient(batch) for batch in batches], rtol=0, atol=1e-6)


def test_only_the_steps_that_are_too_large_are_made_smaller():
    batches = [make_batch(0), make_batch(1, 50.0), make_batch(2)]
    limit = 1.5 * max(np.linalg.norm(gradient(batches[i])) for i in (0, 2))
    taken = train(batches, limit)
    expected = np.array([-RATE * gradient(batch) for batch in batches])
    expected[1] *= limit / np.linalg.norm(gradient(batches[1]))
    np.testing.assert_allclose(taken, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_step_that_is_discarded_has_nothing_to_clip(value):
    bad = make_batch(1)
    bad["label"][0] = value
    taken = train([make_batch(0), bad, make_batch(2)], 0.3, [DiscardLoss()])
    assert np.isfinite(taken).all()
    assert np.linalg.norm(taken, axis=1) == pytest.approx([RATE * 0.3, 0, RATE * 0.3], rel=1e-5)
