import cv2
import numpy as np
import pytest
import torch
from torch import nn

from miassr_monai.degradations import paper_degradation
from miassr_monai.evaluation import PaperProtocol, PaperProtocolInferer
from miassr_monai.networks import Bicubic

SIZES = [(144, 180), (128, 128), (37, 61)]
SCALES = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def pair(image, scale):
    batch = {"image": image, "scale": scale}
    return batch, *PaperProtocol()(batch, torch.device("cpu"))


@pytest.fixture
def image():
    """Function that draws slices with two channels."""
    return lambda size: torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_pairs_are_those_of_the_paper_by_opencv(image, size, scale):
    images = image(size)
    _, small, truth, _, _ = pair(images, scale)
    coarse = tuple(int(n // scale) for n in size)
    fine = tuple(int(n // scale * scale) for n in size)
    for index, channel in np.ndindex(3, 2):
        one = images[index, channel].numpy()
        resized = cv2.resize(one, coarse[::-1], interpolation=cv2.INTER_CUBIC)
        expected = cv2.GaussianBlur(resized, (3, 3), 0)
        np.testing.assert_allclose(small[index, channel], expected, rtol=0, atol=2e-6)
        expected = one if fine == size else cv2.resize(one, fine[::-1], interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(truth[index, channel], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_the_scale_is_the_ratio_of_the_sizes(image, size, scale):
    batch, _, _, args, kwargs = pair(image(size), scale)
    ratios = tuple(int(n // scale * scale) / int(n // scale) for n in size)
    assert args == ()
    assert kwargs == {"scale": ratios}
    assert (batch["scale"], batch["grid_scale"]) == (scale, ratios)


def drift(scale, size, axis, given=None):
    """How far, in HR pixels, a ramp along an axis is off its place at the end of the image."""
    ramp = torch.arange(size[axis], dtype=torch.float64)
    _, small, truth, _, kwargs = pair((ramp[:, None] if axis == 0 else ramp).expand(1, 1, *size), scale)
    error = Bicubic()(small, given or kwargs["scale"]) - truth
    edge = 2 * int(scale + 1)
    return error[..., edge:-edge, edge:-edge].mean(3 - axis)[..., -12:].mean().item()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_images_are_in_their_place_at_that_scale(size, scale, axis):
    assert abs(drift(scale, size, axis)) < 0.1


def test_at_the_nominal_scale_they_are_not():
    assert drift(1.5, (128, 128), 0, given=1.5) < -0.4


def test_where_the_sizes_divide_the_pairs_are_the_project_s_own(image):
    images = image((144, 180))
    _, small, truth, _, _ = pair(images, 4.0)
    torch.testing.assert_close(small, paper_degradation(images, 4.0), rtol=0, atol=0)
    torch.testing.assert_close(truth, images, rtol=0, atol=0)


class Recorder(nn.Module):
    """Network that notes the scales that it is given."""

    def __init__(self, anisotropic):
        super().__init__()
        self.anisotropic = anisotropic
        self.scales = []

    def forward(self, x, scale):
        self.scales.append(scale)
        return Bicubic()(x, scale)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_networks_that_take_one_scale_get_one_that_leads_to_the_truth_s_size(image, size, scale):
    _, small, truth, _, kwargs = pair(image(size), scale)
    for anisotropic, expected in ((True, kwargs["scale"]), (False, max(kwargs["scale"]))):
        network = Recorder(anisotropic)
        fine = PaperProtocolInferer()(small, network, **kwargs)
        assert fine.shape == truth.shape
        assert set(network.scales) == {expected}


def test_volumes_are_refused():
    with pytest.raises(ValueError, match="is one of slices"):
        pair(torch.zeros(1, 1, 8, 8, 8), 2.0)
