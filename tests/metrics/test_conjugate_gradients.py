import numpy as np
import torch

from miassr_monai.degradations import sparse_view_ct_degradation
from miassr_monai.metrics import conjugate_gradients


def test_it_is_the_nearest_solution():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(5, 9, dtype=torch.float64, generator=generator)
    constant = torch.rand(5, dtype=torch.float64, generator=generator)
    image = torch.rand(9, dtype=torch.float64, generator=generator)
    measured = torch.rand(5, dtype=torch.float64, generator=generator)
    made = conjugate_gradients(measured, image, lambda x: matrix @ x + constant, iterations=5)
    # The change of the least length, by the pseudo-inverse.
    change = np.linalg.pinv(matrix.numpy()) @ (measured - constant - matrix @ image).numpy()
    np.testing.assert_allclose(made.numpy(), image.numpy() + change, rtol=0, atol=1e-6)


def test_what_agrees_stays_as_it_is():
    image = torch.rand(3, 4)
    assert torch.equal(conjugate_gradients(image[::2] + 1, image, lambda x: x[::2] + 1), image)


def test_a_ct_image_comes_to_agree_with_its_projections_and_nearer_to_the_truth():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
    truth = ((x**2 + (y / 0.8) ** 2) < 0.7).float() - 0.5 * (((x - 0.2) ** 2 + y**2) < 0.05).float()

    def degrade(image):
        return sparse_view_ct_degradation(image, 1.0, views=40)

    def error(image, reference):
        return float((image - reference).square().mean().sqrt())

    measured, blurred = degrade(truth), sparse_view_ct_degradation(truth, 1.0, views=40, filter_name="hann")
    made = conjugate_gradients(measured, blurred, degrade)
    assert error(degrade(made), measured) < 0.15 * error(degrade(blurred), measured)
    assert error(made, truth) < 0.9 * error(blurred, truth)
    landweber = blurred
    for _ in range(8):
        landweber = landweber + measured - degrade(landweber)
    assert error(degrade(landweber), measured) > error(degrade(blurred), measured)
