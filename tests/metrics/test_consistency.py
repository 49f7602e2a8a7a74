from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from miassr_monai.degradations import paper_degradation, parse_degradation, psf_degradation
from miassr_monai.metrics import back_project, consistency_rmse, degrade_again

AXES = pytest.mark.parametrize("axis", [0, 1, 2])
AXES_OR_NONE = pytest.mark.parametrize("axis", [0, 1, 2, None])


def keep_every(image, scale):
    """Degradation that keeps the first pixel of each block: a whole scale only."""
    return image[(..., *[slice(None, None, int(s)) for s in scale])]


def volumes(factors, shape=(2, 6, 8, 4), seed=0):
    """Random coarse volume, and a random fine one of its size times the factors."""
    generator = torch.Generator().manual_seed(seed)
    fine_shape = [shape[0], *(int(n * f) for n, f in zip(shape[1:], factors, strict=True))]
    return torch.rand(shape, generator=generator), torch.rand(fine_shape, generator=generator)


def place(axis, pair):
    """Factors of a plane, with 1 across it, or with 2 along the last axis of a volume without slices."""
    factors = list(pair)
    factors.insert(*((axis, 1.0) if axis is not None else (2, 2.0)))
    return factors


@AXES_OR_NONE
def test_a_fine_image_that_holds_the_coarse_one_is_consistent(axis):
    factors = place(axis, (2.0, 3.0))
    coarse, fine = volumes(factors)
    every = tuple(slice(None, None, int(f)) for f in factors)
    fine[(slice(None), *every)] = coarse
    assert consistency_rmse(coarse, fine, factors, axis, keep_every) == 0.0
    torch.testing.assert_close(degrade_again(fine, factors, axis, keep_every), coarse, rtol=0, atol=0)


@AXES_OR_NONE
def test_the_rmse_is_that_of_a_computation_by_hand(axis):
    factors = place(axis, (2.0, 3.0))
    coarse, fine = volumes(factors)
    kept = fine[(slice(None), *(slice(None, None, int(f)) for f in factors))]
    truth = np.sqrt(np.mean((coarse.numpy().astype(np.float64) - kept.numpy()) ** 2))
    assert consistency_rmse(coarse, fine, factors, axis, keep_every) == pytest.approx(truth, rel=1e-6)


def test_only_the_samples_that_the_fine_image_fills_count():
    # 5 samples at scale 2.5 are 12, which fill 4 LR samples.
    coarse, fine = torch.ones(1, 5, 5, 1), torch.zeros(1, 12, 12, 1)
    coarse[:, 4], coarse[:, :, 4] = 100.0, 100.0
    assert degrade_again(fine, (2.5, 2.5, 1.0), 2, psf_degradation).shape == (1, 4, 4, 1)
    assert consistency_rmse(coarse, fine, (2.5, 2.5, 1.0), 2, psf_degradation) == pytest.approx(1.0, rel=1e-6)


@AXES
def test_across_the_slices_cubic_interpolation_is_sampled(axis):
    factors = [1.0, 1.0, 1.0]
    factors[axis] = 2.0
    _, fine = volumes(factors)
    # Keys' kernel with a = -0.75 half-way between samples, which is where the centres of every second LR sample lie.
    taps = np.array([-0.09375, 0.59375, 0.59375, -0.09375])
    lines = np.moveaxis(fine.numpy().astype(np.float64), axis + 1, -1)
    padded = np.pad(lines, [(0, 0)] * 3 + [(1, 1)], mode="edge")
    truth = sum(tap * padded[..., i : i + lines.shape[-1] - 1 : 2] for i, tap in enumerate(taps))
    again = degrade_again(fine, factors, axis, keep_every).movedim(axis + 1, -1)
    np.testing.assert_allclose(again.numpy(), truth, rtol=0, atol=1e-6)


@AXES
def test_across_the_slices_it_is_what_slices_see_if_that_is_given(axis):
    factors = [1.0, 1.0, 1.0]
    factors[axis] = 4.0
    coarse, fine = volumes(factors)
    box = parse_degradation("slice_profile:profile=box")
    truth = fine.movedim(axis + 1, -1).unflatten(-1, (-1, 4)).double().mean(-1).movedim(-1, axis + 1)
    again = degrade_again(fine, factors, axis, keep_every, box)
    torch.testing.assert_close(again.double(), truth, rtol=0, atol=1e-6)
    rmse = (coarse - truth).square().mean().sqrt().item()
    assert consistency_rmse(coarse, fine, factors, axis, keep_every, box) == pytest.approx(rmse, rel=1e-6)
    back_project(coarse, fine, factors, axis, keep_every, box)
    assert consistency_rmse(coarse, fine, factors, axis, keep_every, box) < 0.1 * rmse


def test_in_plane_the_papers_degradation_blurs_the_sampled_slice():
    fine = torch.rand(1, 9, 12, 1, generator=torch.Generator().manual_seed(1))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    # At scale 3 the centre of an LR pixel is that of the middle one of three HR pixels.
    sampled = fine[0, 1::3, 1::3, 0].numpy().astype(np.float64)
    inner = convolve(sampled, kernel, mode="constant")[1:-1, 1:-1]
    again = degrade_again(fine, (3.0, 3.0, 1.0), 2, paper_degradation)[0, :, :, 0]
    np.testing.assert_allclose(again[1:-1, 1:-1].numpy(), inner, rtol=0, atol=1e-6)


@pytest.mark.parametrize("degradation", [paper_degradation, psf_degradation])
@pytest.mark.parametrize("factors, axis", [((2.0, 2.0, 1.0), 2), ((2.5, 1.5, 1.0), 2), ((1.0, 2.0, 2.0), 0)])
def test_back_projection_makes_an_image_consistent(degradation, factors, axis):
    truth = torch.rand(1, 30, 24, 20, generator=torch.Generator().manual_seed(2))
    coarse = degrade_again(truth, factors, axis, degradation)
    shape = [int(n * f) for n, f in zip(coarse.shape[1:], factors, strict=True)]
    fine = torch.zeros(1, *shape)
    errors = [consistency_rmse(coarse, fine, factors, axis, degradation)]
    for _ in range(4):
        assert back_project(coarse, fine, factors, axis, degradation, iterations=1) is fine
        errors.append(consistency_rmse(coarse, fine, factors, axis, degradation))
    assert all(after < 0.95 * before for before, after in pairwise(errors))
    assert errors[-1] < 0.25 * errors[0]
    at_once = back_project(coarse, torch.zeros(1, *shape), factors, axis, degradation)
    torch.testing.assert_close(at_once, fine, rtol=0, atol=0)


@AXES_OR_NONE
def test_back_projection_goes_through_all_three_axes(axis):
    factors = [2.0, 2.0, 2.0]
    truth = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(3))
    coarse = degrade_again(truth, factors, axis, psf_degradation)
    fine = torch.zeros_like(truth)
    before = consistency_rmse(coarse, fine, factors, axis, psf_degradation)
    back_project(coarse, fine, factors, axis, psf_degradation)
    assert consistency_rmse(coarse, fine, factors, axis, psf_degradation) < 0.2 * before


@AXES_OR_NONE
def test_back_projection_leaves_a_consistent_image_alone(axis):
    factors = place(axis, (2.0, 3.0))
    coarse, fine = volumes(factors)
    fine[(slice(None), *(slice(None, None, int(f)) for f in factors))] = coarse
    before = fine.clone()
    back_project(coarse, fine, factors, axis, keep_every)
    torch.testing.assert_close(fine, before, rtol=0, atol=0)


def test_back_projection_spreads_a_residual_over_its_own_pixels():
    coarse, fine = torch.zeros(1, 6, 6, 1), torch.zeros(1, 12, 12, 1)
    coarse[0, 3, 2, 0] = 1.0
    back_project(coarse, fine, (2.0, 2.0, 1.0), 2, psf_degradation, iterations=1)
    rows, columns = torch.nonzero(fine[0, :, :, 0] == fine.max(), as_tuple=True)
    assert set(rows.tolist()) == {6, 7} and set(columns.tolist()) == {4, 5}
