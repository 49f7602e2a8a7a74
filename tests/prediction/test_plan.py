import math

import numpy as np
import pytest
import torch
from make import small_generator
from monai.data import MetaTensor

from miassr_monai.networks import Bicubic
from miassr_monai.prediction import TrainedModel
from miassr_monai.prediction.plan import make_plan, warnings_of
from miassr_monai.prediction.slice_model import SliceModel

TRAINED_FOR = {"scales": [1.0, 4.0], "spacing_mm": [0.4, 1.2], "modalities": ["MR"]}


def volume(shape=(1, 20, 30, 10), spacing=(0.9, 1.0, 4.0), **meta):
    """Random volume with the spacing, its axes oblique."""
    axes = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    data = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor(data, affine=torch.from_numpy(affine), meta=meta)


def plan_of(image=None, scale=None, spacing=None, slice_axis=None, **slices):
    image = volume() if image is None else image
    return make_plan(image, scale=scale, spacing=spacing, slice_axis=slice_axis, **slices)


@pytest.mark.parametrize("slice_axis, axis", [(None, 2), (0, 0), (1, 1), (2, 2), (-1, 2), (-3, 0)])
@pytest.mark.parametrize(
    "scale, factors",
    [
        (2.5, lambda axis: [1.0 if a == axis else 2.5 for a in range(3)]),
        ([2.5], lambda axis: [1.0 if a == axis else 2.5 for a in range(3)]),
        ((2.0, 3.0), lambda axis: [*[2.0, 3.0][:axis], 1.0, *[2.0, 3.0][axis:]]),
        (np.array([2.0, 3.0, 1.5]), lambda axis: [2.0, 3.0, 1.5]),
        (torch.tensor([2.0, 3.0, 1.5]), lambda axis: [2.0, 3.0, 1.5]),
    ],
)
def test_a_scale_is_for_the_axes_of_a_slice_or_for_all(scale, factors, slice_axis, axis):
    plan = plan_of(scale=scale, slice_axis=slice_axis)
    expected = factors(axis)
    assert plan.factors == tuple(expected) and plan.slice_axis == axis
    assert plan.in_plane == tuple(f for a, f in enumerate(expected) if a != axis)
    assert plan.through_plane == expected[axis]
    assert plan.spacing == pytest.approx((0.9, 1.0, 4.0))


@pytest.mark.parametrize(
    "scale, factors", [(2.5, (2.5, 2.5, 2.5)), ((2.0, 3.0), (2.0, 3.0, 1.0)), ((1, 1, 4), (1, 1, 4))]
)
def test_one_scale_is_for_all_axes_of_a_network_on_volumes(scale, factors):
    plan = make_plan(volume(), scale=scale, spacing=None, slice_axis=None, spatial_dims=3)
    assert plan.factors == factors and plan.spatial_dims == 3 and plan.seen == [0, 1, 2]
    # Across which axis the slices are is still known: pictures show one.
    assert plan.slice_axis == 2 and plan_of(scale=2.0, slice_axis=1).seen == [0, 2]


def test_spacings_of_a_volume_that_are_equal_but_for_rounding_get_one_scale():
    image = volume(spacing=(0.976562, 0.9765625, 0.976563))
    plan = make_plan(image, scale=None, spacing=0.5, slice_axis=None, spatial_dims=3)
    assert len(set(plan.factors)) == 1


def test_a_slice_is_no_volume():
    with pytest.raises(ValueError, match=r"works on volumes, but the image is a slice \(1, 20, 30\): give a volume"):
        make_plan(volume()[..., 0], scale=2.0, spacing=None, slice_axis=None, spatial_dims=3)


@pytest.mark.parametrize(
    "spacing, factors", [(0.5, (1.8, 2.0, 8.0)), ((0.45, 0.5), (2.0, 2.0, 1.0)), ((0.9, 0.25, 2.0), (1.0, 4.0, 2.0))]
)
@pytest.mark.parametrize("code, unit", [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (10, 1.0), (8 + 1, 1000.0)])
def test_a_spacing_is_in_millimetres_whatever_the_unit_of_the_file(spacing, factors, code, unit):
    image = volume(spacing=np.array([0.9, 1.0, 4.0]) / unit, xyzt_units=code)
    plan = plan_of(image, spacing=spacing)
    assert plan.factors == pytest.approx(factors, rel=1e-6)
    assert plan.spacing == pytest.approx((0.9, 1.0, 4.0))


def test_spacings_that_are_equal_but_for_rounding_stay_as_they_are():
    assert plan_of(spacing=(0.9004, 0.5, 3.997)).factors == pytest.approx((1.0, 2.0, 1.0), abs=1e-12)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_spacings_in_a_slice_that_are_equal_but_for_rounding_get_one_scale(slice_axis):
    image = volume(spacing=(0.976562, 0.9765625, 0.976563))
    plan = plan_of(image, spacing=0.5, slice_axis=slice_axis)
    assert plan.in_plane[0] == plan.in_plane[1] == pytest.approx(0.9765625 / 0.5, rel=1e-6)
    assert found(image, model(None, small_generator(width=4, depth=1)), spacing=(0.5, 0.5)) == []


@pytest.mark.parametrize(
    "shape, spacing, axis",
    [
        ((1, 20, 30, 10), (5.0, 1.0, 1.0), 0),
        ((1, 20, 30, 10), (1.0, 5.0, 1.0), 1),
        ((1, 20, 30, 10), (1.0, 1.0, 1.0), 2),
        ((1, 20, 30, 10), (1.0, 2.0, 5.0), 2),
        ((1, 20, 30, 10), (5.0, 2.0, 1.0), 0),
        # Two axes that agree but for rounding are the plane, even where the third is finer.
        ((1, 20, 30, 10), (2.001, 1.0, 2.0), 1),
        ((1, 86, 100, 4), (1.7361112, 1.7361109, 1.0), 2),
        ((1, 86, 100, 4), (1.0, 1.7361109, 1.7361112), 0),
        ((1, 20, 30, 10), (1.0, 1.0004, 0.9997), 2),
        ((1, 1, 30, 10), (1.0, 1.0, 5.0), 0),
    ],
)
def test_slices_lie_across_the_odd_spacing_out_or_the_axis_of_one_sample(shape, spacing, axis):
    assert plan_of(volume(shape, spacing), scale=2).slice_axis == axis


@pytest.mark.parametrize("axis, plane", [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_the_plane_of_the_slices_is_named_by_the_patients_axes(axis, plane):
    # Turned by 20 degrees and with axes that are permuted and flipped.
    turn = np.array([[0.94, -0.34, 0.0], [0.34, 0.94, 0.0], [0.0, 0.0, 1.0]])
    for order, signs in (((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1)), ((1, 2, 0), (1, -1, 1))):
        affine = np.eye(4)
        affine[:3, :3] = (turn * np.array(signs))[:, order]
        image = MetaTensor(torch.rand(1, 4, 5, 6), affine=torch.from_numpy(affine))
        assert plan_of(image, scale=2, slice_axis=order.index(axis)).plane == plane


def test_an_axis_of_one_sample_keeps_its_spacing():
    image = volume((1, 20, 30, 1))
    assert plan_of(image, spacing=0.5).factors == pytest.approx((1.8, 2.0, 1.0))
    assert plan_of(image, scale=(2, 2, 1)).factors == (2.0, 2.0, 1.0)
    with pytest.raises(ValueError, match="one sample cannot be super-resolved: give it the scale 1"):
        plan_of(image, scale=(2, 2, 2))


@pytest.mark.parametrize(
    "wish, message",
    [
        ({}, "give a scale or a spacing, one of the two"),
        ({"scale": 2, "spacing": 0.5}, "give a scale or a spacing, one of the two"),
        ({"scale": 0.5}, r"must be in \[1, 8\] along each axis, got 0.5"),
        ({"scale": 40}, r"must be in \[1, 8\] along each axis, got 40"),
        ({"scale": (2, 2, 9)}, r"must be in \[1, 8\] along each axis, got \(2, 2, 9\)"),
        ({"scale": math.nan}, r"must be in \[1, 8\] along each axis, got nan"),
        ({"scale": math.inf}, r"must be in \[1, 8\] along each axis, got inf"),
        ({"scale": -2}, r"must be in \[1, 8\]"),
        ({"scale": 1}, "nothing to do: the scale is 1 along every axis"),
        ({"scale": (1, 1, 1)}, "nothing to do"),
        ({"scale": "23"}, "scale must be a number or one number for each axis, got '23'"),
        ({"scale": "two"}, "scale must be a number or one number for each axis, got 'two'"),
        ({"scale": (2, None)}, "scale must be a number or one number for each axis"),
        ({"scale": ()}, "scale must be a number or one number for each axis"),
        ({"scale": (2, 2, 2, 2)}, "scale must be a number or one number for each axis"),
        ({"scale": [[2, 2], [2, 2]]}, "scale must be a number or one number for each axis"),
        ({"scale": 2, "slice_axis": 3}, "slice_axis must be 0, 1 or 2, got 3"),
        ({"scale": 2, "slice_axis": -4}, "slice_axis must be 0, 1 or 2, got -4"),
        ({"scale": 2, "slice_axis": "z"}, "slice_axis must be 0, 1 or 2, got z"),
        ({"spacing": 0}, "spacing must be above 0 mm, got 0"),
        ({"spacing": (0.5, -1)}, r"spacing must be above 0 mm, got \(0.5, -1\)"),
        ({"spacing": math.nan}, "axis 0 has a spacing of 0.9 mm, and nan would be a scale of nan"),
        ({"spacing": math.inf}, "axis 0 has a spacing of 0.9 mm, and inf would be a scale of 0 along it"),
        ({"spacing": 0.95}, "axis 0 has a spacing of 0.9 mm, and 0.95 would be a scale of 0.9474 along it"),
        ({"spacing": 0.4}, "axis 2 has a spacing of 4 mm, and 0.4 would be a scale of 10 along it"),
        ({"spacing": (0.9, 1.0, 4.0)}, "nothing to do"),
        ({"spacing": "fine"}, "spacing must be a number or one number for each axis"),
        ({"spacing": (1, 1, 1, 1)}, "spacing must be a number or one number for each axis"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(wish, message):
    with pytest.raises(ValueError, match=message) as caught:
        plan_of(**wish)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def model(trained_for=TRAINED_FOR, network=None):
    metadata = {} if trained_for is None else {"trained_for": trained_for}
    return TrainedModel(network or Bicubic(), "model", metadata=metadata)


def found(image=None, trained=None, window=None, **wish):
    """What there is to warn of."""
    image = volume() if image is None else image
    return warnings_of(image, plan_of(image, **(wish or {"scale": 2})), trained or model(), window)


def test_a_thickness_that_nobody_knows_is_warned_of_where_it_matters():
    (message,) = found(scale=(1, 1, 4))
    assert message.startswith("the thickness of the slices is not known and taken to be their distance, 4 mm")
    assert found(volume(slice_thickness=3.0), scale=(1, 1, 4)) == []
    assert found(volume(spacing=(1.0, 1.0, 1.4)), scale=(1, 1, 2)) == []


def test_a_plan_knows_the_slices_across_which_there_is_a_scale():
    image = volume(slice_thickness=3.0)
    assert plan_of(image, scale=(1, 1, 2)).slices == SliceModel(3.0, pytest.approx(4.0), source="file")
    assert plan_of(image, scale=2).slices is None
    assert make_plan(image, scale=2.0, spacing=None, slice_axis=None, spatial_dims=3).slices is None
    metres = volume(spacing=(0.0009, 0.0009, 0.004), slice_thickness=3.0, xyzt_units=1)
    assert plan_of(metres, scale=(1, 1, 2)).slices.spacing == pytest.approx(4.0)


@pytest.mark.parametrize(
    "wish",
    [
        {"scale": 2},
        {"scale": 2.13},
        {"scale": (1.5, 2)},
        {"spacing": (0.4501, 0.5)},
        {"scale": (1, 1, 3.999), "slice_thickness": 3.5},
        {"spacing": (0.3999, 0.3999)},
    ],
)
@pytest.mark.parametrize("trained_for", [TRAINED_FOR, None])
def test_a_normal_request_is_not_warned_of(wish, trained_for):
    assert found(volume(modality="MR"), model(trained_for), **wish) == []


def test_a_small_or_a_signed_image_is_not_taken_for_clipped_or_ct():
    assert found(volume((1, 4, 5, 1))) == []
    assert found(volume() * 400 - 300) == []


@pytest.mark.parametrize(
    "wish, message",
    [
        ({"scale": (4.5, 2)}, "the scale 4.5 is outside the range that the model was trained for, 1 to 4."),
        ({"scale": (2, 2, 5)}, "the scale 5 is outside the range that the model was trained for, 1 to 4."),
        ({"scale": 4}, "the spacing made, 0.225 to 0.25 mm, is outside that of the training images, 0.4 to 1.2 mm."),
        ({"scale": (1, 2, 2)}, "the spacing made, 0.5 to 2 mm, is outside that of the training images, 0.4 to 1.2 mm."),
    ],
)
def test_what_the_model_was_not_trained_for_is_warned_of(wish, message):
    assert message in found(**wish)


@pytest.mark.parametrize(
    "wish, outside",
    [
        ({"scale": (1, 1, 7.5)}, None),
        ({"scale": (2, 2, 8)}, None),
        ({"scale": (1, 6, 1)}, None),
        ({"scale": (1, 1, 7.5), "spatial_dims": 3}, None),
        ({"scale": (2, 2, 5), "spatial_dims": 3}, 5),
        ({"scale": (1.5, 6, 1)}, 6),
        ({"scale": (5, 5, 8)}, 5),
    ],
)
def test_a_scale_along_one_axis_may_be_larger_where_the_weights_know_it(wish, outside):
    knows = {"scales": [1, 4], "one_axis_scales": [1, 8]}
    image, dims = volume(slice_thickness=4.0), wish.pop("spatial_dims", 2)
    plan = make_plan(image, spacing=None, slice_axis=None, spatial_dims=dims, **wish)
    anisotropic = model(knows, small_generator(anisotropic=True))
    beyond = f"the scale {outside} is outside the range that the model was trained for, 1 to 4."
    assert warnings_of(image, plan, anisotropic, None) == ([] if outside is None else [beyond])
    less = model({**knows, "one_axis_scales": [1, 5]}, anisotropic.network)
    if wish["scale"] == (1, 1, 7.5):
        message = "the scale 7.5 is outside the range that the model was trained for, 1 to 5 along one axis."
        assert warnings_of(image, plan, less, None) == [message]


def test_what_a_model_is_adapted_to_is_not_warned_of():
    image = volume(modality="US", slice_thickness=4.0)
    plan, given = plan_of(image, scale=(1, 1, 8)), model(network=small_generator(anisotropic=True))
    assert len(warnings_of(image, plan, given, None)) == 2
    assert warnings_of(image, plan, given, None, adapted=True) == []


@pytest.mark.parametrize("through_plane, warned", [(1.0, False), (2.0, True), (2.4, True), (2.5, False), (4.0, False)])
def test_adapting_to_slices_that_are_hardly_thick_is_warned_of(through_plane, warned):
    image = volume(slice_thickness=4.0)
    plan, network = plan_of(image, scale=(1.5, 1.5, through_plane)), small_generator(anisotropic=True)
    message = f"the slices are only {through_plane:.3g} times as far apart as the voxels made"
    assert any(message in text for text in warnings_of(image, plan, model(None, network), None, adapted=True)) == warned
    for other, adapted in ((model(None, network), False), (TrainedModel(network, "none"), True)):
        assert not any(message in text for text in warnings_of(image, plan, other, None, adapted=adapted))


def test_another_modality_is_warned_of():
    message = "the image is {} and the model was trained on MR."
    assert found(volume(modality="US")) == [message.format("US")]
    assert message.format("CT") in found(volume(modality="CT"), window=(-160, 240))
    assert message.format("CT, by its intensities,") in found(volume() * 3000 - 1000, window=(-160, 240))
    assert found(volume(modality="MR") * 3000 - 1000) == []
    both = TRAINED_FOR | {"modalities": ["MR", "CT"]}
    assert found(volume(modality="CT"), model(both), window=(-160, 240)) == []
    assert found(volume(modality="US"), model(both)) == ["the image is US and the model was trained on MR and CT."]


@pytest.mark.parametrize("by_header", [True, False])
def test_ct_without_a_window_is_warned_of(by_header):
    image = volume(modality="CT") if by_header else volume() * 3000 - 1000
    anything = model(None)
    assert found(image, anything) == [
        "CT without a window: give the Hounsfield units that matter, such as window=(-160, 240)."
    ]
    assert found(image, anything, window=(-160, 240)) == []


def test_an_image_that_looks_clipped_is_warned_of():
    image = torch.cat([volume(), volume()])
    image[1].clamp_(max=0.9)
    share = (image[1] == image[1].max()).float().mean().item()
    message = f"{share:.1%} of the voxels have the highest intensity: the image looks clipped."
    assert found(image) == [message] and 0.08 < share < 0.12
    image[1][image[1] == image[1].max()] *= torch.linspace(1, 2, int(share * 6000 + 0.5))
    assert found(image) == []


def test_what_a_network_of_one_scale_leaves_to_bicubic_is_warned_of():
    isotropic = model(None, small_generator(width=4, depth=1))
    anisotropic = model(None, small_generator(width=4, depth=1, anisotropic=True))
    unequal = "the axes of a slice have unequal scales, which the model cannot do: the rest is bicubic."
    across = "the model has no weights for the axis across the slices: it is upscaled by bicubic interpolation."
    assert found(trained=isotropic, scale=2) == []
    assert found(trained=isotropic, scale=(2, 3)) == [unequal]
    assert found(trained=isotropic, scale=(2, 2, 3)) == [across]
    assert found(trained=isotropic, scale=(1, 2, 3)) == [unequal, across]
    assert found(volume(slice_thickness=4.0), trained=anisotropic, scale=(1, 2, 3)) == []


def test_what_a_network_on_volumes_of_one_scale_leaves_to_bicubic_is_warned_of():
    network = Bicubic(3)
    network.anisotropic = False
    for scale, expected in (
        (2.0, []),
        ((2, 2, 3), ["the axes of the volume have unequal scales, which the model cannot do: the rest is bicubic."]),
    ):
        plan = make_plan(volume(), scale=scale, spacing=None, slice_axis=None, spatial_dims=3)
        assert warnings_of(volume(), plan, model(None, network), None) == expected


def test_at_scale_1_there_is_something_to_do_where_a_degradation_keeps_the_size():
    image = MetaTensor(torch.zeros(1, 6, 5, 4), affine=torch.eye(4))
    plan = make_plan(image, scale=1, spacing=None, slice_axis=None, same_size=True)
    assert plan.factors == (1.0, 1.0, 1.0) and plan.output_shape == (6, 5, 4)
