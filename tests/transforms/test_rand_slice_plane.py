import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.transforms import RandSlicePlane, RandSlicePlaned


@pytest.fixture
def volume(world_ramp):
    """A function of world coordinates on a grid with nearly equal spacings."""
    affine = torch.diag(torch.tensor([0.9, -0.9, 1.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([3.0, -2.0, 5.0])
    return MetaTensor(world_ramp((4, 5, 6), affine)[None], affine=affine)


def test_each_axis_comes_last_as_often_and_the_affine_follows(volume, world_ramp):
    turn = RandSlicePlane(2 / 3).set_random_state(0)
    last = []
    for _ in range(300):
        turned = turn(volume)
        last.append(turned.shape[-1])
        torch.testing.assert_close(turned[0].as_tensor(), world_ramp(turned.shape[1:], turned.affine))
    counts = [last.count(size) for size in (4, 5, 6)]
    assert sum(counts) == 300 and min(counts) > 75


def test_an_axis_that_comes_last_leaves_the_others_in_order(volume):
    shapes = {tuple(RandSlicePlane(1.0).set_random_state(seed)(volume).shape[1:]) for seed in range(20)}
    assert shapes == {(5, 6, 4), (4, 6, 5)}


def test_volumes_of_thick_slices_stay_as_they_are(volume):
    volume.affine = torch.diag(torch.tensor([0.9, 0.9, 3.0, 1.0], dtype=torch.float64))
    turned = RandSlicePlane(1.0)(volume)
    assert torch.equal(turned, volume) and torch.equal(turned.affine, volume.affine)


def test_keys_are_turned_alike_and_as_seeded(volume):
    transform = RandSlicePlaned(["image", "label"], 1.0).set_random_state(3)
    sizes = []
    for _ in range(10):
        turned = transform({"image": volume, "label": volume * 2})
        assert torch.equal(turned["label"], turned["image"] * 2)
        sizes.append(turned["image"].shape[-1])
    again = RandSlicePlaned(["image", "label"], 1.0).set_random_state(3)
    assert sizes == [again({"image": volume, "label": volume})["image"].shape[-1] for _ in range(10)]
    assert len(set(sizes)) == 2


def test_images_without_metadata_are_turned_too():
    image = np.arange(24.0).reshape(1, 2, 3, 4)
    turned = RandSlicePlane(1.0).set_random_state(0)(torch.as_tensor(image))
    order = (2, 3, 1) if turned.shape[-1] == 2 else (1, 3, 2)
    np.testing.assert_array_equal(turned, image.transpose(0, *order))


def test_a_slice_is_refused():
    with pytest.raises(ValueError, match="needs a 3-D image"):
        RandSlicePlane()(torch.zeros(1, 4, 4))
