import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd

from miassr_monai.transforms import MarginCrop, MarginCropd


@st.composite
def images_in_the_dark(draw):
    """An image of zeros with a few voxels of any sign, and its bounding box."""
    shape = draw(st.tuples(st.integers(1, 2), *[st.integers(1, 7)] * draw(st.integers(2, 3))))
    voxels = st.tuples(*[st.integers(0, n - 1) for n in shape])
    image = np.zeros(shape, dtype=np.float32)
    for voxel in draw(st.lists(voxels, min_size=1, max_size=4)):
        image[voxel] = draw(st.sampled_from([-300.0, -1e-6, 1e-6, 5.0]))
    found = np.nonzero(image)[1:]
    return image, tuple(slice(i.min(), i.max() + 1) for i in found)


@settings(deadline=None, max_examples=60)
@given(images_in_the_dark())
def test_exactly_the_zero_border_goes(case):
    image, box = case
    cropped = MarginCrop()(image)
    np.testing.assert_array_equal(cropped, image[(slice(None), *box)])
    assert np.count_nonzero(cropped) == np.count_nonzero(image)


@settings(deadline=None, max_examples=30)
@given(images_in_the_dark())
def test_the_inverse_pads_the_zero_border_back(case):
    image = MetaTensor(case[0])
    cropper = MarginCrop()
    restored = cropper.inverse(cropper(image))
    np.testing.assert_array_equal(restored, case[0])
    torch.testing.assert_close(restored.affine, image.affine)


def test_without_a_zero_border_nothing_goes():
    image = torch.ones(1, 4, 5, 6)
    image[:, 1:3, 2:4, 2:5] = 0
    torch.testing.assert_close(MarginCrop()(image).as_tensor(), image)


def test_fixed_margins_are_those_of_the_paper_for_oasis():
    image = torch.rand(1, 40, 40, 5)
    cropped = MarginCrop([14, 16, 0])(image)
    torch.testing.assert_close(cropped.as_tensor(), image[:, 14:-14, 16:-16], rtol=0, atol=0)


def test_one_margin_serves_every_axis_whatever_lies_there():
    image = torch.rand(2, 9, 10)
    torch.testing.assert_close(MarginCrop(3)(image).as_tensor(), image[:, 3:-3, 3:-3], rtol=0, atol=0)
    torch.testing.assert_close(MarginCrop(0)(image).as_tensor(), image, rtol=0, atol=0)


@pytest.mark.parametrize("margin", [None, [2, 1, 3]])
def test_voxels_keep_their_world_coordinates(world_ramp, affine, margin):
    ramp = world_ramp((9, 10, 11), affine) + 1000
    image = torch.zeros(1, 9, 10, 11, dtype=torch.float64)
    image[0, 2:8, 1:6, 3:7] = ramp[2:8, 1:6, 3:7]
    cropped = MarginCrop(margin)(MetaTensor(image, affine=affine))
    values = cropped.as_tensor()[0]
    expected = world_ramp(values.shape, cropped.affine) + 1000
    inside = values != 0
    assert inside.any()
    torch.testing.assert_close(values[inside], expected[inside], rtol=0, atol=1e-9)


def test_the_inverse_of_fixed_margins_pads_with_zeros_and_moves_the_affine_back(affine):
    image = MetaTensor(torch.rand(1, 9, 10, 11), affine=affine, meta={"note": "kept"})
    cropper = MarginCrop([2, 1, 3])
    restored = cropper.inverse(cropper(image) * 2)
    expected = torch.zeros(1, 9, 10, 11)
    expected[:, 2:7, 1:9, 3:8] = 2 * image.as_tensor()[:, 2:7, 1:9, 3:8]
    torch.testing.assert_close(restored.as_tensor(), expected)
    torch.testing.assert_close(restored.affine, affine)
    assert restored.meta["note"] == "kept"
    assert restored.applied_operations == image.applied_operations == []


@pytest.mark.parametrize("as_type", [torch.from_numpy, np.asarray, MetaTensor])
def test_arrays_and_tensors_are_cropped_alike(as_type):
    image = np.zeros((1, 5, 6), dtype=np.float32)
    image[0, 1:3, 2:5] = [[1, 0, -2], [0, 0, 3]]
    np.testing.assert_array_equal(MarginCrop()(as_type(image))[0], [[1, 0, -2], [0, 0, 3]])
    np.testing.assert_array_equal(MarginCrop([1, 2])(as_type(image))[0], [[1, 0], [0, 0], [0, 0]])


def test_each_key_is_cropped_on_its_own_and_padded_back():
    data = {"image": torch.zeros(1, 8, 8), "other": torch.zeros(1, 6, 6), "label": 5}
    data["image"][0, 2:5, 3] = -1.0
    data["other"][0, 4, 1:6] = 2.0
    pipeline = Compose([MarginCropd(["image", "other"])])
    out = pipeline(data)
    torch.testing.assert_close(out["image"].as_tensor(), torch.full((1, 3, 1), -1.0))
    torch.testing.assert_close(out["other"].as_tensor(), torch.full((1, 1, 5), 2.0))
    restored = pipeline.inverse(out)
    for key in ("image", "other"):
        torch.testing.assert_close(restored[key].as_tensor(), data[key])
    assert restored["label"] == 5


def test_the_dictionary_form_passes_the_margin_on():
    image = torch.rand(1, 6, 7)
    cropped = MarginCropd("image", [1, 2])({"image": image})["image"]
    torch.testing.assert_close(cropped.as_tensor(), image[:, 1:-1, 2:-2])


def test_a_missing_key_is_allowed_only_on_request():
    data = {"image": torch.ones(1, 6, 7)}
    with pytest.raises(KeyError, match="label"):
        MarginCropd(["image", "label"])(data)
    assert MarginCropd(["image", "label"], allow_missing_keys=True)(data).keys() == {"image"}


@pytest.mark.parametrize("margin", [2, None])
def test_a_lazy_pipeline_crops_what_an_eager_one_does(margin):
    image = torch.zeros(1, 8, 8)
    image[0, 2:4, 5] = 1.0
    steps = [Flipd("image", 0), MarginCropd("image", margin)]
    eager = Compose(steps)({"image": image})["image"]
    lazy = Compose(steps, lazy=True)({"image": image})["image"]
    torch.testing.assert_close(lazy.as_tensor(), eager.as_tensor())


@pytest.mark.parametrize("image", [torch.zeros(1, 4, 4), np.zeros((2, 3, 4, 5)), MetaTensor(torch.zeros(1, 3, 3))])
def test_an_image_of_zeros_has_nothing_to_keep(image):
    with pytest.raises(ValueError, match="zero border leaves nothing"):
        MarginCrop()(image)


@pytest.mark.parametrize(("margin", "size"), [(3, (6, 9)), (3, (9, 5)), ([0, 20], (9, 9))])
def test_a_margin_that_leaves_nothing_is_refused(margin, size):
    with pytest.raises(ValueError, match="leaves nothing of the image, whose size is"):
        MarginCrop(margin)(torch.ones(1, *size))


@pytest.mark.parametrize("margin", [-1, [1, -2, 0]])
def test_a_negative_margin_is_refused(margin):
    with pytest.raises(ValueError, match="margin must not be negative"):
        MarginCropd("image", margin)


def test_margins_for_another_rank_are_refused():
    with pytest.raises(ValueError, match="length 3, got 2"):
        MarginCrop([1, 1])(torch.ones(1, 5, 5, 5))
