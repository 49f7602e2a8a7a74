import pytest
import torch
import torch.nn.functional as F

from miassr_monai.degradations import sampling_degradation


@pytest.mark.parametrize(("interpolation", "mode"), [("cubic", "bicubic"), ("linear", "bilinear")])
@pytest.mark.parametrize("scale", [2, 3, 1.5])
def test_it_is_the_interpolation_of_pytorch_without_antialiasing(random_image, scale, interpolation, mode):
    image = random_image(1, 2, 24, 36)
    expected = F.interpolate(image, [round(24 / scale), round(36 / scale)], mode=mode)
    small = sampling_degradation(image, scale, interpolation=interpolation)
    torch.testing.assert_close(small, expected, rtol=0, atol=1e-12)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="interpolation must be one of cubic, linear, got 'nearest'"):
        sampling_degradation(torch.zeros(8, 8), 2, interpolation="nearest")
