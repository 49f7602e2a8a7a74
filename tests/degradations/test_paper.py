import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from miassr_monai.degradations import paper_degradation


def by_opencv(image, scale):
    """The paper's degradation of an image ``(H, W)`` that whole LR pixels fill."""
    size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
    small = cv2.resize(image.numpy(), size, interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(cv2.GaussianBlur(small, (3, 3), 0))


@pytest.mark.parametrize(("scale", "size"), [(2, (24, 36)), (3, (24, 36)), (4, (24, 36)), (1.5, (24, 36))])
def test_it_is_the_resize_and_the_blur_of_opencv(random_image, scale, size):
    image = random_image(*size).float()
    torch.testing.assert_close(paper_degradation(image, scale), by_opencv(image, scale), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 6), (4, 2), (2, 2)])
def test_images_of_one_or_two_pixels_are_mirrored_as_by_opencv(random_image, size):
    image = random_image(*size).float()
    torch.testing.assert_close(paper_degradation(image, 2), by_opencv(image, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.5, 2.3, 3.7, (3, 2), (2.5, 1.1)])
@pytest.mark.parametrize("size", [(24, 36), (25, 31)])
def test_at_any_scale_it_is_pytorchs_sampling_then_the_kernel(random_image, scale, size):
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    image = random_image(2, *size)
    small = F.interpolate(image[None], scale_factor=(1 / rows, 1 / columns), mode="bicubic")[0]
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = torch.stack([torch.from_numpy(ndimage.correlate(i.numpy(), kernel, mode="mirror")) for i in small])
    torch.testing.assert_close(paper_degradation(image, scale), expected, rtol=0, atol=1e-10)


def test_the_finest_lr_pattern_is_wiped_out():
    """At the LR grid's Nyquist frequency the kernel is zero, which a sampled Gaussian of 0.8 pixels is not."""
    stripes = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64).repeat(8).expand(9, 48)
    inner = paper_degradation(stripes, 3)[:, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), rtol=0, atol=1e-12)
