import pytest
import torch

from miassr_monai.degradations import half_turn, radon, sparse_view_ct_degradation
from miassr_monai.metrics import projections_error


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_error_is_that_of_the_line_integrals_at_the_angles(axis):
    generator = torch.Generator().manual_seed(0)
    coarse, fine = (torch.rand(1, 3, 24, 20, dtype=torch.float64, generator=generator) for _ in range(2))
    # From a window of 400 units, in which 0 stands for 1040 units more than air has.
    first, second = (radon((image * 400 + 1040) / 1000, half_turn(7)) for image in (coarse, fine))
    truth = float((second - first).norm() / first.norm())
    parameters = {"views": 7, "window": (40, 440), "filter_name": "hann"}
    volumes = (volume.movedim(1, axis + 1) for volume in (coarse, fine))
    assert projections_error(*volumes, axis, parameters) == pytest.approx(truth, rel=1e-6)


def test_the_truth_agrees_with_the_projections_of_its_own_degradation():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 96)] * 2, indexing="ij")
    truth = (0.5 - 0.5 * torch.tanh(8 * (x**2 + (y / 0.8) ** 2 - 0.6)))[None, ..., None]
    for views, error in ((30, 0.03), (75, 0.005)):
        coarse = sparse_view_ct_degradation(truth[..., 0], 1.0, views=views)[..., None]
        found = projections_error(coarse, truth, 2, {"views": views})
        assert found < error and found < 0.2 * projections_error(coarse, 0.9 * truth, 2, {"views": views})
