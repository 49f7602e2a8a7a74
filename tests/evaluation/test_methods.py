import pytest
from torch import nn

from miassr_monai.evaluation.methods import check_scale, evaluated_scale, spatial_dims_of
from miassr_monai.prediction import TrainedModel


def models(**attributes):
    """Methods whose networks have attributes."""
    made = {}
    for name, values in attributes.items():
        network = nn.Identity()
        for key, value in values.items():
            setattr(network, key, value)
        made[name] = TrainedModel(network, name)
    return made


def test_what_is_evaluated_is_what_the_networks_see():
    assert spatial_dims_of(models(a={}, b={"spatial_dims": 2})) == 2
    assert spatial_dims_of(models(a={"spatial_dims": 3}, b={"spatial_dims": 3})) == 3
    message = "^'b' sees slices and 'a' sees volumes, which are not degraded alike: evaluate them apart.$"
    with pytest.raises(ValueError, match=message):
        spatial_dims_of(models(a={"spatial_dims": 3}, b={}))


@pytest.mark.parametrize(
    ("scale", "spatial_dims", "expected"),
    [
        (2, 2, 2.0),
        ([2, 2.0], 2, 2.0),
        ((1, 2), 2, (1.0, 2.0)),
        # Along the axes of the volume, of which slices have the first two.
        ((1.5, 2.5, 1), 2, (1.5, 2.5)),
        ([3, 3, 1.0], 2, 3.0),
        (2.5, 3, 2.5),
        ((2, 2, 2), 3, 2.0),
        ([1, 1, 4], 3, (1.0, 1.0, 4.0)),
    ],
)
def test_a_scale_is_of_the_axes_that_networks_see(scale, spatial_dims, expected):
    assert evaluated_scale(scale, spatial_dims) == expected


@pytest.mark.parametrize(
    ("scale", "spatial_dims", "message"),
    [
        ((1, 1, 4), 2, "the scale 1x1x4 goes across the slices, and these networks see slices"),
        ((1, 2), 3, "the scale 1x2 has 2 axes, but 3 are needed"),
        ((1, 0.5), 2, "scale must be a finite number"),
        (0.5, 2, "scale must be a finite number"),
    ],
)
def test_a_scale_of_other_axes_is_refused(scale, spatial_dims, message):
    with pytest.raises(ValueError, match=message):
        evaluated_scale(scale, spatial_dims)


def test_a_scale_that_a_method_cannot_do_is_refused():
    able = models(a={"anisotropic": True}, b={"anisotropic": True, "max_scale": 4})
    for scale in (2.0, 4.0, (1.0, 4.0)):
        check_scale(able, scale)
    for scale, text in ((4.5, "4.5"), ((1.0, 5.0), "1x5")):
        with pytest.raises(ValueError, match=f"the method 'b' can do scales up to 4 only, not {text}: leave"):
            check_scale(able, scale)
    with pytest.raises(ValueError, match="the method 'c' cannot do a scale such as 1x2, of another size along each"):
        check_scale({**able, **models(c={})}, (1.0, 2.0))
