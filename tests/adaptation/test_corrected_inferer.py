import pytest
import torch

from miassr_monai.adaptation import CorrectedInferer
from miassr_monai.degradations import parse_degradation
from miassr_monai.inferers import SuperResolutionInferer
from miassr_monai.resampling import bicubic_upscale

BOX = parse_degradation("slice_profile:profile=box")


class Interpolation(torch.nn.Module):
    """Bicubic interpolation of as much of an image as a weight says."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, image, scale):
        return self.weight * bicubic_upscale(image, scale)


def images():
    return torch.rand(3, 2, 5, 12, generator=torch.Generator().manual_seed(0))


def test_results_give_their_images_again_where_those_of_the_network_do_not():
    coarse, scale = images(), (1.0, 4.0)
    errors = []
    for inferer in (SuperResolutionInferer(), CorrectedInferer(BOX)):
        fine = inferer(coarse, Interpolation(), scale=scale)
        assert fine.shape == (3, 2, 5, 48)
        # The mean of four samples is what a box-shaped slice sees.
        errors.append((fine.unflatten(-1, (12, 4)).mean(-1) - coarse).square().mean().sqrt().item())
    assert errors[0] > 0.15 and errors[1] < 0.01


def test_gradients_go_through_the_correction():
    # What the images tell is corrected whatever the weight: there is nothing to be learnt about their mean.
    flat = torch.full((1, 1, 4, 16), 0.5)
    gradients = []
    for inferer in (SuperResolutionInferer(), CorrectedInferer(BOX)):
        network = Interpolation()
        inferer(flat, network, scale=(1.0, 4.0)).mean().backward()
        gradients.append(network.weight.grad.item())
    assert gradients[0] == pytest.approx(0.5, rel=1e-4) and abs(gradients[1]) < 1e-4


def test_a_scale_along_the_first_axis_is_refused():
    with pytest.raises(ValueError, match="corrected along their last axis alone"):
        CorrectedInferer(BOX)(images(), Interpolation(), scale=2.0)
