import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.degradations import degraded_pair, parse_degradation, sparse_view_ct_degradation
from miassr_monai.transforms import DegradeWholed

CT = "sparse_view_ct:views=9"


def random_image(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_an_image_is_degraded_slice_by_slice_and_kept_as_it_was():
    affine = torch.diag(torch.tensor([0.7, 0.8, 3.0, 1.0], dtype=torch.float64))
    image = MetaTensor(random_image(1, 20, 24, 3), affine=affine)
    pair = DegradeWholed("image", CT)({"image": image, "other": 1})
    assert torch.equal(pair["label"].as_tensor(), image.as_tensor()) and pair["other"] == 1
    for k in range(3):
        truth = sparse_view_ct_degradation(image.as_tensor()[..., k], 1.0, views=9)
        torch.testing.assert_close(pair["image"].as_tensor()[..., k], truth, rtol=0, atol=1e-6)
    assert torch.equal(pair["image"].affine, affine) and pair["image"].shape == image.shape


def test_without_a_degradation_nothing_is_done():
    image = random_image(1, 8, 8)
    assert DegradeWholed("image", None)({"image": image}) == {"image": image}


@pytest.mark.parametrize("scale", [1.0, 2.0, (1.5, 2.37)])
def test_what_is_left_to_the_patches_makes_the_pair_of_the_whole_image(scale):
    image = random_image(1, 1, 40, 48)
    pair = DegradeWholed("image", CT)({"image": image[0]})
    small, target, _ = degraded_pair(pair["image"][None], scale, parse_degradation("psf"), pair["label"][None])
    whole, whole_target, _ = degraded_pair(image, scale, parse_degradation(CT))
    torch.testing.assert_close(small, whole, rtol=0, atol=1e-5)
    assert torch.equal(target, whole_target)


def test_a_degradation_that_needs_a_scale_is_refused():
    with pytest.raises(ValueError, match="'psf' leaves images alone at scale 1: degrade the patches by it instead"):
        DegradeWholed("image", "psf")
