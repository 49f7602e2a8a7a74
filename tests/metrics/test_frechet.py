import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.fid import get_fid_score
from scipy.linalg import sqrtm

from miassr_monai.metrics import frechet_distance


def samples(count, mean, covariance, seed=0):
    """Samples whose mean and unbiased covariance are ``mean`` and ``covariance``, and not only nearly so."""
    x = np.random.default_rng(seed).standard_normal((count, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def covariance(size, seed):
    root = np.random.default_rng(seed).standard_normal((size, size))
    return root @ root.T + 0.1 * np.eye(size)


def by_square_root(a, b):
    """The definition, by a square root of the product of the covariances."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * root)


def test_gaussians_with_the_same_axes_have_the_distance_of_their_means_and_standard_deviations():
    first, second = np.array([0.5, 2.0, 3.0]), np.array([1.5, 0.1, 3.0])
    a = samples(20, np.array([1.0, -2.0, 5.0]), np.diag(first**2))
    b = samples(13, np.array([0.0, 4.0, 5.0]), np.diag(second**2), seed=1)
    assert frechet_distance(a, b) == pytest.approx(1 + 36 + np.sum((first - second) ** 2), rel=1e-12)


def test_gaussians_of_two_axes_have_the_distance_of_the_closed_form():
    # Of a 2 x 2 matrix, tr(M^(1/2)) = sqrt(tr(M) + 2 sqrt(det M)).
    first, second = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = first @ second
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    a, b = samples(9, np.zeros(2), first), samples(30, np.array([3.0, 4.0]), second, seed=1)
    assert frechet_distance(a, b) == pytest.approx(25 + np.trace(first + second) - 2 * root, rel=1e-12)


@pytest.mark.parametrize("counts", [(40, 60), (60, 9), (200, 200)])
def test_the_distance_is_that_of_a_matrix_square_root(counts):
    mean = np.arange(8.0)
    a, b = samples(counts[0], mean, covariance(8, 1)), samples(counts[1], mean[::-1], covariance(8, 2), seed=3)
    assert frechet_distance(a, b) == pytest.approx(by_square_root(a, b), rel=1e-9)


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated")
def test_the_distance_is_monai_s():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(50, 6, generator=generator), 2 * torch.rand(70, 6, generator=generator)
    try:
        expected = get_fid_score(a, b).item()
    except TypeError:
        pytest.skip("MONAI calls a square root of SciPy that is no longer there")
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("counts", [(5, 7), (5, 40), (2, 2)])
def test_fewer_samples_than_features_give_the_distance_within_the_space_that_they_span(counts):
    # The samples lie in 12 of 30 axes: turning the space does not change distances, nor do axes without values.
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((n, 12)) for n in counts)
    turn = np.linalg.qr(generator.standard_normal((30, 30)))[0][:12]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-12)


def test_sets_on_lines_have_the_distance_of_the_lines():
    # Variance 2 along an axis and 8 along another: nothing is common to them, and the trace of the root is 0.
    a, b = torch.zeros(2, 50), torch.zeros(2, 50)
    a[0, 3], a[1, 3], b[0, 17], b[1, 17] = 1, -1, 2, -2
    assert frechet_distance(a, b) == pytest.approx(10, rel=1e-12)
    # Along the same axis it is (sqrt(8) - sqrt(2))^2.
    assert frechet_distance(a, 2 * a) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 90), (90, 4)])
def test_a_set_has_no_distance_to_itself(shape):
    a = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12 * shape[1])


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_distance_is_symmetric_and_follows_shift_and_scale(n, m, size, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.standard_normal((n, size)), 3 * generator.standard_normal((m, size))
    distance = frechet_distance(a, b)
    assert distance >= 0
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-9, abs=1e-12)
    assert frechet_distance(5 * a + 1, 5 * b + 1) == pytest.approx(25 * distance, rel=1e-9, abs=1e-9)
    # A set that is moved is away from itself by the squared length of the move.
    assert frechet_distance(a, a + 2) == pytest.approx(4 * size, rel=1e-9)


def test_float32_features_are_taken_in_float64():
    # In float32 the mean would drown the variance.
    a = (1e4 + torch.tensor([[-1.0], [1.0]])).float()
    assert frechet_distance(a, a + 3) == pytest.approx(9, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (6,), (2, 3, 1)])
def test_sets_of_another_shape_are_refused(shape):
    good = torch.rand(4, 3)
    with pytest.raises(ValueError, match=r"got a of shape .*: give \(N, F\) with an N of at least 2"):
        frechet_distance(torch.zeros(shape), good)
    with pytest.raises(ValueError, match="got b of shape"):
        frechet_distance(good, torch.zeros(shape))


def test_sets_with_different_features_are_refused():
    with pytest.raises(ValueError, match="got 3 and 4 features per sample"):
        frechet_distance(torch.rand(5, 3), torch.rand(5, 4))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value):
    bad = torch.rand(5, 3)
    bad[2, 1] = value
    with pytest.raises(ValueError, match="got b with values that are not finite"):
        frechet_distance(torch.rand(5, 3), bad)
