import pytest
import torch
import torch.nn.functional as F

from miassr_monai.degradations import antialiased_bicubic_degradation


@pytest.mark.parametrize(
    ("scale", "size"), [(2, (24, 36)), (3, (24, 36)), (4, (24, 36)), (1.5, (24, 36)), (2.5, (50, 30))]
)
def test_it_is_that_of_pytorch_away_from_the_border(random_image, scale, size):
    image = random_image(1, 2, *size)
    expected = F.interpolate(image, [round(n / scale) for n in size], mode="bicubic", antialias=True)
    small = antialiased_bicubic_degradation(image, scale)
    assert small.shape == expected.shape
    torch.testing.assert_close(small[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=1e-6)


def test_the_border_is_repeated(random_image):
    image = random_image(24, 24)
    padded = F.pad(image[None, None], (12,) * 4, mode="replicate")[0, 0]
    expected = antialiased_bicubic_degradation(padded, 3)[4:-4, 4:-4]
    torch.testing.assert_close(antialiased_bicubic_degradation(image, 3), expected, rtol=0, atol=1e-12)
