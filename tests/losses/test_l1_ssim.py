import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from miassr_monai.losses import L1SSIMLoss


@pytest.fixture
def images():
    torch.manual_seed(0)
    truth = torch.rand(2, 1, 24, 31)
    return (truth + 0.1 * torch.randn_like(truth)).clip(0, 1), truth


def test_value_is_that_of_scikit_image(images):
    similarities = []
    for prediction, truth in zip(*(image[:, 0].double().numpy() for image in images), strict=True):
        _, similarity = structural_similarity(
            prediction, truth, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
        )
        # Only where the window is within the image, as in MONAI.
        similarities.append(similarity[5:-5, 5:-5].mean())
    expected = (images[0] - images[1]).abs().mean().item() + 0.3 * (1 - np.mean(similarities))
    assert L1SSIMLoss(0.3)(*images).item() == pytest.approx(expected, rel=1e-4)


def test_without_weight_it_is_l1(images):
    torch.testing.assert_close(L1SSIMLoss(0)(*images), (images[0] - images[1]).abs().mean())


def test_equal_images_have_no_loss(images):
    assert abs(L1SSIMLoss()(images[1], images[1].clone()).item()) < 1e-6


def test_an_error_costs_more_where_there_is_little_contrast():
    torch.manual_seed(0)
    truth = 0.5 + torch.cat([0.3 * torch.randn(1, 1, 32, 32), 0.03 * torch.randn(1, 1, 32, 32)], 3)
    error = 0.02 * torch.randn(1, 1, 32, 32)
    nothing = torch.zeros_like(error)
    strong, faint = torch.cat([error, nothing], 3), torch.cat([nothing, error], 3)
    loss = L1SSIMLoss()
    assert loss(truth + faint, truth) > 1.5 * loss(truth + strong, truth)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"must not be negative, got -0\.1"):
        L1SSIMLoss(-0.1)
