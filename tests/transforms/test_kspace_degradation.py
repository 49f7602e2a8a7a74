import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.fft import dct

from miassr_monai.transforms import KSpaceDegradation, KSpaceDegradationd, kspace_degradation


def exact(scale):
    return Fraction(scale).limit_denominator(10_000)


def centres(size, scale):
    """HR coordinates of the LR samples' centres, from the image's face."""
    return (torch.arange(math.floor(size / exact(scale)), dtype=torch.float64) + 0.5) * scale


@settings(deadline=None, max_examples=60)
@given(size=st.integers(8, 100), scale=st.sampled_from([1.1, 1.5, 2.0, 2.37, 4.0]), data=st.data())
def test_a_frequency_is_kept_as_it_is_or_not_at_all(size, scale, data):
    k = data.draw(st.integers(0, size - 1))
    wave = torch.cos(math.pi * k * (torch.arange(size, dtype=torch.float64) + 0.5) / size).expand(1, 5, size)
    # LR samples ``scale`` apart hold frequencies below one cycle in two of them.
    expected = torch.cos(math.pi * k * centres(size, scale) / size) * (k < size / exact(scale))
    torch.testing.assert_close(kspace_degradation(wave, (1.0, scale))[0, 0], expected, rtol=0, atol=1e-10)


def test_at_whole_scales_it_is_the_cosine_transform_cut_off():
    image = torch.rand(1, 24, 24, dtype=torch.float64)
    spectrum = dct(image[0].numpy(), axis=0, norm="ortho")[:12]
    position = (np.arange(12) + 0.5) / 12
    basis = (
        np.cos(np.pi * np.outer(position, np.arange(12)))
        * np.where(np.arange(12) == 0, 1, math.sqrt(2))
        / math.sqrt(24)
    )
    torch.testing.assert_close(
        kspace_degradation(image, (2.0, 1.0))[0], torch.tensor(basis @ spectrum), rtol=0, atol=1e-12
    )


def test_an_axis_at_scale_1_is_left_alone():
    image = torch.rand(2, 7, 9)
    assert torch.equal(kspace_degradation(image, 1.0), image)


@pytest.mark.parametrize("slice_axis", [0, 1, 2, -1])
def test_volume_and_affine(slice_axis, affine):
    volume = MetaTensor(torch.rand(1, 12, 10, 8), affine=affine)
    out = KSpaceDegradation(2.0, slice_axis=slice_axis)(volume)
    dictionary = KSpaceDegradationd("image", 2.0, slice_axis=slice_axis)({"image": volume})["image"]
    assert torch.equal(out, dictionary) and torch.equal(out.affine, dictionary.affine)
    first = volume.movedim(slice_axis + 1 if slice_axis >= 0 else 3, 1)[:, 0].as_tensor()
    got = out.movedim(slice_axis + 1 if slice_axis >= 0 else 3, 1)[:, 0].as_tensor()
    torch.testing.assert_close(got, kspace_degradation(first, 2.0))
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(out.affine @ corner, volume.affine @ corner)
