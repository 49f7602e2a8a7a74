import pytest
import torch
from monai.data import MetaTensor

from miassr_monai.adaptation import estimate_slice_thickness
from miassr_monai.degradations import slice_profile_degradation
from miassr_monai.prediction.slice_model import make_slice_model


def model_of(meta=None, distance=4.0, **options):
    volume = MetaTensor(torch.zeros(1, 8, 8, 3), meta=dict(meta or {}))
    return make_slice_model(volume, (1.0, 1.0, distance), 2, **options)


def test_the_thickness_that_is_given_goes_before_that_of_the_file_and_that_before_the_spacing():
    meta = {"slice_thickness": 3.0}
    cases = {"given": (meta, 2.5), "file": (meta, None), "spacing": ({}, None)}
    expected = {"given": (2.5, 1.5), "file": (3.0, 1.0), "spacing": (4.0, 0.0)}
    for source, (known, thickness) in cases.items():
        found = model_of(known, thickness=thickness).described()
        thickness, gap = expected[source]
        assert found == {
            "thickness": thickness,
            "spacing": 4.0,
            "profile": "gaussian",
            "source": source,
            "gap": gap,
        }


@pytest.mark.parametrize("profile", ["gaussian", "box", "rf"])
def test_what_slices_see_is_their_thickness_in_distances_between_them(profile):
    image = torch.rand(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slices = model_of(distance=5.0, thickness=4.0, profile=profile)
    expected = slice_profile_degradation(image, (1.0, 5.0), thickness=0.8, profile=profile)
    torch.testing.assert_close(slices.degradation(image, (1.0, 5.0)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("thickness, profile", [(0.3, "box"), (17.0, "gaussian"), (-1.0, "rf"), (4.0, "sinc")])
def test_slices_that_cannot_be_are_refused_in_a_sentence(thickness, profile):
    with pytest.raises(ValueError, match=r"^slices .* mm thick, 4 mm apart, .*: give another thickness or profile\.$"):
        model_of(thickness=thickness, profile=profile)


def test_a_thickness_can_be_estimated_whatever_the_file_says():
    random = torch.rand(1, 1, 12, 14, 10, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(random, scale_factor=(6, 6, 1.6), mode="trilinear")[0]
    image = MetaTensor(smooth, meta={"slice_thickness": 5.0})
    found = make_slice_model(image, (1.0, 1.0, 4.0), 2, thickness="estimate", profile="box")
    assert found.thickness == estimate_slice_thickness(smooth, (1.0, 1.0, 4.0), 2, "box") and found.source == "estimate"
