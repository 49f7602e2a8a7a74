import math

import pytest
import torch

from miassr_monai.degradations import sharpen


@pytest.mark.parametrize("amount", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("k", [0, 3, 8, 16])
def test_a_wave_grows_by_one_plus_what_the_kernel_takes_away(amount, k):
    """[1/4, 1/2, 1/4] has the transfer function cos^2(pi f)."""
    frequency = k / 32
    wave = torch.cos(2 * math.pi * frequency * torch.arange(33, dtype=torch.float64)).expand(7, 33)
    growth = 1 + amount * (1 - math.cos(math.pi * frequency) ** 2)
    torch.testing.assert_close(sharpen(wave, amount), growth * wave, rtol=0, atol=1e-12)


def test_only_the_last_axes_are_filtered(random_image):
    volume = random_image(3, 5, 6, 7)
    slices = torch.stack([sharpen(plane, 0.7) for plane in volume.flatten(0, 1)]).view_as(volume)
    torch.testing.assert_close(sharpen(volume, 0.7), slices, rtol=0, atol=1e-12)
    assert (sharpen(volume, 0.7, axes=3) - slices).abs().max() > 0.01
