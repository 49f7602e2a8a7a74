import math
from fractions import Fraction

import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.engines import DegradeBatch
from miassr_monai.transforms import paper_degradation, psf_degradation

SIZES = pytest.mark.parametrize(
    ("scale", "size"),
    [
        ("1", (24, 31)),
        ("1.1", (33, 40)),
        ("1.16", (29, 58)),
        ("2", (24, 25)),
        ("2.3", (96, 47)),
        ("3.7", (37, 40)),
        ("3.9999", (96, 96)),
    ],
)
CPU = torch.device("cpu")


def random_image(*size):
    return torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(3))


@SIZES
@pytest.mark.parametrize("degradation", [paper_degradation, psf_degradation])
def test_input_is_the_whole_image_degraded_at_exactly_the_scale(degradation, scale, size):
    image, seen = random_image(*size), []

    def record(x, s):
        seen.append((x, s))
        return degradation(x, s)

    inputs, _, args, kwargs = DegradeBatch(record)({"image": image, "scale": float(scale)}, CPU)
    ((x, s),) = seen
    assert s == float(scale)
    assert args == ()
    assert kwargs == {"scale": float(scale)}
    torch.testing.assert_close(x, image, rtol=0, atol=0)
    torch.testing.assert_close(inputs, degradation(image, float(scale)), rtol=0, atol=0)


@SIZES
def test_target_is_the_part_that_the_output_covers(scale, size):
    image = random_image(*size)
    inputs, targets, _, _ = DegradeBatch(paper_degradation)({"image": image, "scale": float(scale)}, CPU)
    lr = [math.floor(n / Fraction(scale)) for n in size]
    height, width = (math.floor(n * Fraction(scale)) for n in lr)
    assert list(inputs.shape[2:]) == lr
    torch.testing.assert_close(targets, image[:, :, :height, :width], rtol=0, atol=0)


def test_scales_of_rows_and_columns_may_differ():
    image, scale = random_image(37, 40), (3.7, 1.1)
    inputs, targets, _, kwargs = DegradeBatch(paper_degradation)({"image": image, "scale": scale}, CPU)
    assert kwargs == {"scale": scale}
    torch.testing.assert_close(inputs, paper_degradation(image, scale), rtol=0, atol=0)
    torch.testing.assert_close(targets, image[:, :, :37, :39], rtol=0, atol=0)


def test_metatensors_become_plain_tensors():
    image = MetaTensor(random_image(24, 24), affine=torch.eye(4))
    inputs, targets, _, _ = DegradeBatch(paper_degradation)({"image": image, "scale": 2.0}, CPU)
    assert type(inputs) is type(targets) is torch.Tensor
    torch.testing.assert_close(inputs, paper_degradation(image.as_tensor(), 2.0), rtol=0, atol=0)


def test_the_image_is_degraded_on_the_device_and_in_the_type_that_are_asked_for():
    seen = []

    def record(x, s):
        seen.append((x.device.type, x.dtype))
        return x

    batch = {"image": torch.zeros(1, 1, 4, 4), "scale": 1.0}
    DegradeBatch(record)(batch, torch.device("meta"), non_blocking=True, dtype=torch.float16)
    assert seen == [("meta", torch.float16)]
