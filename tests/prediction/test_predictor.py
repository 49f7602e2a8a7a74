import copy
import math
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import nn

from miassr_monai import Predictor, networks
from miassr_monai.adaptation import Adaptation
from miassr_monai.degradations import (
    paper_degradation,
    parse_degradation,
    psf_degradation,
    sparse_view_ct_degradation,
)
from miassr_monai.metrics import consistency_rmse
from miassr_monai.prediction import SuperResolutionWarning, TrainedModel
from miassr_monai.prediction.plan import make_plan
from miassr_monai.resampling import bicubic_axis

pytestmark = [
    pytest.mark.filterwarnings("ignore::miassr_monai.prediction.SuperResolutionWarning"),
    pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning"),
]
SIZE = (9, 8, 7)
WISHES = [
    *(({"scale": 2.5}, axis) for axis in (None, 0, 1, 2, -1)),
    *(({"scale": (2.0, 3.7)}, axis) for axis in (0, 1, 2)),
    ({"scale": (1.3, 2.0, 2.37)}, None),
    ({"spacing": 0.4}, None),
    ({"spacing": (0.4, 0.6)}, 2),
    ({"spacing": (0.5, 0.7, 2.0)}, 1),
]


class Linear(nn.Module):
    """Linear interpolation by PyTorch, which keeps a ramp a ramp off the border."""

    anisotropic = True
    halo = 2

    def forward(self, x, scale):
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def random_image(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def assert_ramp(fine, world_ramp, factors=(1.0,), border=8, unit=1.0):
    """Every voxel off the border has, to 1e-4 mm, the value of the world coordinate that the affine gives it."""
    in_mm = torch.diag(torch.tensor([unit] * 3 + [1.0], dtype=torch.float64)) @ fine.affine
    truth = world_ramp(fine.shape[1:], in_mm)
    inner = tuple(slice(border, -border) if n > 2 * border else slice(None) for n in truth.shape)
    assert truth[inner].numel() > 0
    for channel, factor in zip(fine.as_tensor().double(), factors, strict=True):
        torch.testing.assert_close(channel[inner] / factor, truth[inner], rtol=0, atol=0.7e-4)


@pytest.mark.parametrize("wish, slice_axis", WISHES)
def test_a_point_keeps_its_world_coordinate(affine, world_ramp, wish, slice_axis):
    ramp = world_ramp((20, 21, 22), affine)
    image = MetaTensor(torch.stack([ramp, -2 * ramp]).float(), affine=affine)
    fine = Predictor(Linear(), slice_axis=slice_axis, consistency=None)(image, **wish)
    assert_ramp(fine, world_ramp, (1.0, -2.0))


@pytest.mark.parametrize("wish", [{"scale": 2.5}, {"scale": (1.3, 2.0, 2.37)}, {"spacing": 0.4}])
def test_a_point_of_a_volume_that_is_seen_whole_keeps_its_world_coordinate(affine, world_ramp, wish):
    ramp = world_ramp((20, 21, 22), affine)
    image = MetaTensor(torch.stack([ramp, -2 * ramp]).float(), affine=affine)
    fine = Predictor(networks.Linear(3), consistency=None, tile_size=30)(image, **wish)
    assert_ramp(fine, world_ramp, factors=(1.0, -2.0))


@pytest.mark.parametrize("anisotropic", [True, False])
def test_a_network_on_volumes_does_all_axes_and_bicubic_interpolation_what_it_cannot(anisotropic):
    image, network = random_image(1, *SIZE), networks.Linear(3)
    network.anisotropic = anisotropic
    fine = Predictor(network)(image, scale=(1.5, 2.0, 2.0)).as_tensor()
    assert fine.shape == (1, 13, 16, 14)
    done = (1.5, 2.0, 2.0) if anisotropic else 1.5
    expected = network(image[None].double(), done)[0]
    for axis, size in ((2, 16), (3, 14)) if not anisotropic else ():
        expected = bicubic_axis(expected, axis, size, 1.5, 2.0)
    torch.testing.assert_close(fine, expected.float(), rtol=0, atol=1e-5)


def test_a_volume_that_is_seen_whole_is_consistent_along_all_axes():
    scale = (2.0, 2.0, 2.0)
    image = paper_degradation(random_image(1, 24, 20, 28), scale)
    rmse = {}
    for consistency in ("report", "project"):
        predictor = Predictor(networks.Linear(3), consistency=consistency)
        fine = predictor(image, scale=2.0).as_tensor()
        low, high = predictor.report["intensity_ranges"][0]
        expected = ((paper_degradation(fine, scale) - image) / (high - low)).square().mean().sqrt().item()
        rmse[consistency] = predictor.report["consistency"]["rmse"]
        assert rmse[consistency] == pytest.approx(expected, rel=1e-3)
    assert rmse["project"] < 0.5 * rmse["report"]


@pytest.mark.parametrize("scale", [2.5, (2.0, 3.0)])
def test_a_point_of_an_image_with_two_axes_keeps_its_world_coordinate(affine, world_ramp, scale):
    ramp = world_ramp((20, 21), affine)[None].float()
    fine = Predictor(Linear(), consistency=None)(MetaTensor(ramp, affine=affine), scale=scale)
    assert fine.ndim == 3
    assert_ramp(fine, world_ramp)
    flat = torch.tensor([[2.0, 0, -5], [0, 3, 7], [0, 0, 1]], dtype=torch.float64)
    fine = Predictor("bicubic", consistency=None)(MetaTensor(ramp, affine=flat), scale=(2.0, 3.0))
    truth = torch.tensor([[1.0, 0, -5.5], [0, 1, 6], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(fine.affine, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("code, unit", [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_point_of_a_file_keeps_its_world_coordinate_in_any_unit(tmp_path, affine, world_ramp, code, unit, channels):
    factors = [1.0, 3.0, -2.0][:channels]
    ramp = world_ramp((20, 21, 22), affine).numpy()
    data = np.stack([f * ramp for f in factors], -1).astype(np.float32)
    in_unit = np.diag([1 / unit] * 3 + [1]) @ affine.numpy()
    image = nib.Nifti1Image(data[..., 0] if channels == 1 else data, in_unit)
    image.header["xyzt_units"] = code
    image.set_sform(in_unit, 1)
    nib.save(image, tmp_path / "ramp.nii.gz")
    predictor = Predictor(Linear(), consistency=None)
    fine = predictor(tmp_path / "ramp.nii.gz", spacing=(0.4, 0.5))
    assert_ramp(fine, world_ramp, factors, unit=unit)
    steps = affine[:3, :3].norm(dim=0).tolist()
    assert predictor.report["input"]["spacing"] == pytest.approx(steps, rel=1e-5)
    assert predictor.report["output"]["spacing"] == pytest.approx([0.4, 0.5, steps[2]], rel=1e-5)
    assert fine.meta["xyzt_units"] == code


@pytest.mark.parametrize("scale", [2.5, (2.0, 3.0), (2.0, 2.5, 1.5)])
@pytest.mark.parametrize("kind", ["bicubic", "isotropic"])
def test_a_landmark_is_found_where_it_was(affine, make_network, scale, kind):
    place = torch.tensor([15.3, 14.6, 15.1], dtype=torch.float64)
    axes = [torch.arange(30, dtype=torch.float64)] * 3
    blob = torch.exp(-((torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) - place) ** 2).sum(-1) / (2 * 2.0**2))
    network = "bicubic" if kind == "bicubic" else make_network()
    if kind == "isotropic":
        # Without what it adds to bicubic interpolation, which an untrained network puts anywhere.
        network.residual_scale = 0.0
    fine = Predictor(network, consistency=None)(MetaTensor(blob[None].float(), affine=affine), scale=scale)
    mass = fine.as_tensor()[0].double()
    sides = [mass.sum([a for a in range(3) if a != axis]) for axis in range(3)]
    index = [(side * torch.arange(side.numel())).sum() / mass.sum() for side in sides]
    world = fine.affine @ torch.tensor([*index, 1.0], dtype=torch.float64)
    truth = affine @ torch.tensor([*place, 1.0], dtype=torch.float64)
    torch.testing.assert_close(world, truth, rtol=0, atol=1e-4)


def test_the_meta_is_kept_and_the_input_left_alone():
    meta = {"filename_or_obj": "a.nii.gz", "note": [1, 2], "modality": "MR"}
    image = MetaTensor(random_image(1, *SIZE), affine=torch.diag(torch.tensor([1.0, 1, 3, 1])), meta=dict(meta))
    before, data = copy.deepcopy(image.meta), image.as_tensor().clone()
    fine = Predictor("bicubic", consistency="project")(image, scale=2)
    assert {k: fine.meta[k] for k in meta} == meta
    assert image.meta.keys() == before.keys() and torch.equal(image.affine, before["affine"])
    torch.testing.assert_close(image.as_tensor(), data, rtol=0, atol=0)
    assert fine.dtype == torch.float32 and fine.device.type == "cpu"


def test_what_a_reader_says_of_the_grid_is_brought_up_to_date():
    header = {"dim": np.array([3, 9, 8, 7, 1, 1, 1, 1], np.int16), "spatial_shape": np.array(SIZE, np.int16)}
    header |= {"pixdim": np.array([-1, 1, 1, 3, 2, 0, 0, 0], np.float32), "original_affine": np.diag([1.0, 1, 3, 1])}
    kept = copy.deepcopy(header)
    image = MetaTensor(random_image(1, *SIZE), affine=torch.diag(torch.tensor([1.0, 1, 3, 1])), meta=dict(header))
    fine = Predictor("bicubic", consistency=None)(image, scale=(2.0, 2.5))
    assert fine.meta["dim"].tolist() == [3, 18, 20, 7, 1, 1, 1, 1]
    assert fine.meta["spatial_shape"].tolist() == [18, 20, 7]
    np.testing.assert_allclose(fine.meta["pixdim"], [-1, 0.5, 0.4, 3, 2, 0, 0, 0])
    np.testing.assert_array_equal(fine.meta["original_affine"], fine.affine.numpy())
    for key, value in kept.items():
        np.testing.assert_array_equal(image.meta[key], value)
    assert not kept.keys() & Predictor("bicubic")(random_image(1, *SIZE), scale=2).meta.keys()


@pytest.mark.parametrize("consistency", [None, "project"])
@pytest.mark.parametrize("factor, offset", [(250.0, -1000.0), (1e-3, 0.5)])
def test_intensities_come_back_in_the_units_of_the_input(make_network, factor, offset, consistency):
    predictor = Predictor(make_network(), consistency=consistency)
    image = random_image(2, *SIZE)
    truth = factor * predictor(image, scale=2.5).as_tensor() + offset
    fine = predictor(factor * image + offset, scale=2.5).as_tensor()
    torch.testing.assert_close(fine, truth, rtol=0, atol=3e-4 * factor)


def test_the_network_sees_each_channel_between_its_percentiles_or_the_window():
    seen = []

    def spy(x, scale, **_):
        seen.append(x.clone())
        return Linear()(x, scale)

    network = Linear()
    network.forward = spy
    image = random_image(2, *SIZE) * torch.tensor([10.0, 100.0]).view(2, 1, 1, 1)
    predictor = Predictor(network, percentiles=(5, 95), consistency=None, slice_batch_size=7)
    predictor(image, scale=2)
    low, high = np.percentile(image.numpy(), (5, 95), axis=(1, 2, 3))
    for channel, x in enumerate(seen):
        truth = (image[channel].numpy() - low[channel]) / (high[channel] - low[channel])
        np.testing.assert_allclose(x[:, 0].numpy(), np.moveaxis(truth, -1, 0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(predictor.report["intensity_ranges"], np.stack([low, high], 1), rtol=1e-6)
    seen.clear()
    Predictor(network, window=(-10, 30), consistency=None, slice_batch_size=7)(image, scale=2)
    np.testing.assert_allclose(seen[0][:, 0].numpy(), np.moveaxis((image[0].numpy() + 10) / 40, -1, 0), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_across_the_slices_two_orthogonal_passes_are_averaged(make_network, axis):
    network = make_network(anisotropic=True)
    image = random_image(1, *SIZE)
    image[0, 0, 0, 0], image[0, -1, -1, -1] = 0.0, 1.0
    factors = [2.0, 2.5, 1.5]
    planar = tuple(f for a, f in enumerate(factors) if a != axis)
    fine = Predictor(network, slice_axis=axis, percentiles=(0, 100), consistency=None)(image, scale=factors)
    with torch.no_grad():
        first = torch.stack([network(s[None], planar)[0] for s in image.unbind(axis + 1)], axis + 1)
        passes = []
        for across in (a for a in range(3) if a != axis):
            scale = tuple(factors[axis] if a == axis else 1.0 for a in range(3) if a != across)
            passes.append(torch.stack([network(s[None], scale)[0] for s in first.unbind(across + 1)], across + 1))
    truth = (passes[0] + passes[1]) / 2
    assert (passes[0] - passes[1]).abs().max() > 1e-3
    torch.testing.assert_close(fine.as_tensor(), truth, rtol=0, atol=1e-5)


def pytorch_bicubic(image, axis, scale):
    """Bicubic interpolation of ``(C, h, w, d)`` along one axis, by PyTorch."""
    lines = image.movedim(axis + 1, -1)
    flat = lines.reshape(1, 1, -1, lines.shape[-1])
    fine = F.interpolate(flat, scale_factor=(1.0, scale), mode="bicubic", align_corners=False)
    return fine.view(*lines.shape[:-1], -1).movedim(-1, axis + 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_without_weights_for_it_the_axis_across_is_bicubic(make_network, axis):
    network, image = make_network(), random_image(2, *SIZE)
    factors = [2.5, 2.5, 2.5]
    factors[axis] = 1.5
    predictor = Predictor(network, slice_axis=axis, consistency=None)
    truth = pytorch_bicubic(predictor(image, scale=2.5).as_tensor(), axis, 1.5)
    torch.testing.assert_close(predictor(image, scale=factors).as_tensor(), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale, common, axis", [((2.0, 3.0), 2.0, 1), ((3.0, 2.0), 2.0, 0), ((1.0, 2.0), 1.0, 1)])
def test_what_is_beyond_the_scale_that_both_axes_share_is_bicubic(make_network, scale, common, axis):
    predictor = Predictor(make_network(), consistency=None)
    image = random_image(1, *SIZE)
    half = image if common == 1.0 else predictor(image, scale=common).as_tensor()
    truth = pytorch_bicubic(half, axis, max(scale) / common)
    torch.testing.assert_close(predictor(image, scale=scale).as_tensor(), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2.5, (2.0, 3.0, 1.5)])
def test_bicubic_is_that_of_pytorch(scale):
    image = random_image(1, 10, 8, 7)
    truth = image
    for axis, factor in enumerate((2.5, 2.5, 1.0) if scale == 2.5 else scale):
        truth = pytorch_bicubic(truth, axis, factor)
    fine = Predictor("bicubic", consistency=None)(image, scale=scale).as_tensor()
    torch.testing.assert_close(fine, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("anisotropic, scale", [(False, 2.37), (True, (2.0, 1.7)), (True, (2.0, 1.7, 1.5))])
def test_tiles_and_batches_give_what_whole_slices_give(make_network, anisotropic, scale):
    network, image = make_network(anisotropic), random_image(1, 40, 33, 5)
    whole = Predictor(network, tile_size=None, consistency=None)(image, scale=scale).as_tensor()
    for settings in ({"tile_size": 13}, {"slice_batch_size": 3}, {"tile_size": 16, "slice_batch_size": 4}):
        fine = Predictor(network, consistency=None, **settings)(image, scale=scale).as_tensor()
        torch.testing.assert_close(fine, whole, rtol=0, atol=1e-5)


def test_in_bfloat16_the_result_is_close_but_not_the_same(make_network):
    network, image = make_network(), random_image(1, 20, 18, 3)
    whole = Predictor(network, consistency=None)(image, scale=2).as_tensor()
    fast = Predictor(network, amp=True, consistency=None)(image, scale=2)
    assert fast.dtype == torch.float32
    assert 0 < (fast.as_tensor() - whole).abs().max() < 1e-2


def test_channels_go_through_together_where_the_network_takes_several(make_network):
    network, image = make_network(channels=2), random_image(4, *SIZE)
    predictor = Predictor(network, percentiles=(0, 100), consistency=None)
    fine = predictor(image, scale=2).as_tensor()
    for pair in (slice(0, 2), slice(2, 4)):
        torch.testing.assert_close(fine[pair], predictor(image[pair], scale=2).as_tensor(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="the model needs 2 channels, but the image has 3: give the volumes of all"):
        predictor(image[:3], scale=2)


@pytest.mark.parametrize("name, degradation", [("paper", paper_degradation), ("psf", psf_degradation)])
def test_consistency_is_measured_with_the_degradation_of_the_training(make_network, name, degradation):
    model = TrainedModel(make_network(), "model", metadata={"trained_for": {"consistency": name}})
    image, scales = 40 * random_image(1, *SIZE) - 7, (2.0, 2.0, 1.0)
    predictor = Predictor(model, percentiles=(0, 100))
    fine = predictor(image, scale=2).as_tensor()
    width = (image.max() - image.min()).item()
    rmse = consistency_rmse(image, fine, scales, 2, degradation) / width
    measured = predictor.report["consistency"]
    assert measured == {
        "rmse": pytest.approx(rmse, rel=1e-3),
        "psnr_db": pytest.approx(-20 * np.log10(rmse), abs=0.01),
        "corrected": False,
    }
    corrector = Predictor(model, percentiles=(0, 100), consistency="project")
    corrected = corrector(image, scale=2).as_tensor()
    # The kernel of the paper leaves nothing of the finest pattern, so noise is never reached.
    assert corrector.report["consistency"]["rmse"] < 0.85 * rmse and corrector.report["consistency"]["corrected"]
    assert consistency_rmse(image, corrected, scales, 2, degradation) / width < 0.85 * rmse
    unmeasured = Predictor(model, consistency=None)
    unmeasured(image, scale=2)
    assert unmeasured.report["consistency"] is None


def test_a_warning_points_at_the_caller_and_strict_makes_it_an_error(make_network):
    image = random_image(1, *SIZE)
    predictor = Predictor(make_network(), consistency=None)
    with pytest.warns(SuperResolutionWarning, match="no weights for the axis across the slices") as caught:
        predictor(image, scale=(2, 2, 2))
    assert caught[0].filename == __file__ and len(caught) == 1
    assert predictor.report["warnings"] == [str(caught[0].message)]
    with pytest.raises(ValueError, match="no weights for the axis across the slices"):
        Predictor(make_network(), strict=True)(image, scale=(2, 2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SuperResolutionWarning)
        Predictor(make_network(), strict=True)(image, scale=2)


def test_what_slices_see_is_in_the_consistency_and_in_the_report():
    image = MetaTensor(random_image(1, *SIZE), affine=torch.diag(torch.tensor([1.0, 1, 4, 1])))
    image.meta["slice_thickness"] = 3.0
    predictor = Predictor("bicubic", percentiles=(0, 100), slice_profile="box")
    fine = predictor(image, scale=(1, 1, 4))
    assert predictor.report["slices"] == {
        "thickness": 3.0,
        "spacing": 4.0,
        "gap": 1.0,
        "profile": "box",
        "source": "file",
    }
    # Of the four fine voxels of a slice, three quarters are the middle two and half of each of the outer ones.
    parts = fine.as_tensor().unflatten(-1, (-1, 4)).double()
    again = parts @ torch.tensor([0.5, 1, 1, 0.5], dtype=torch.float64) / 3
    rmse = (again - image.as_tensor()).square().mean().sqrt().item() / (image.max() - image.min()).item()
    assert predictor.report["consistency"]["rmse"] == pytest.approx(rmse, rel=1e-4)
    assert 0 < predictor.report["overshoot"]["share"] < 1
    assert "slice_thickness" not in fine.meta
    Predictor("bicubic", slice_thickness=2, consistency=None)(image, scale=(1, 1, 4))
    predictor(image, scale=2)
    assert predictor.report["slices"] is None
    with pytest.raises(ValueError, match="slices 17 mm thick, 4 mm apart, with the profile 'gaussian' are not worked"):
        Predictor("bicubic", slice_thickness=17)(image, scale=(1, 1, 4))


def oblique_stripes():
    """A volume of stripes, and what slices four voxels thick see of it."""
    x, y, z = torch.meshgrid(*(torch.arange(float(n)) for n in (24, 28, 32)), indexing="ij")
    truth = 50 + 50 * torch.sin(0.5 * x + 0.4 * y + 0.6 * z)
    affine = torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))
    thick = MetaTensor(truth.unflatten(-1, (-1, 4)).mean(-1)[None], affine=affine)
    return truth[None], thick


def test_a_network_that_is_adapted_to_the_scan_is_nearer_to_the_truth_and_agrees_with_the_scan(make_network):
    truth, thick = oblique_stripes()
    few = Adaptation(steps=40, learning_rate=3e-3, batch_size=4, patch_size=24)
    network, errors = make_network(anisotropic=True), {}
    for name, options in {"given": {}, "adapted": {"adapt": few}}.items():
        predictor = Predictor(network, slice_thickness=4, slice_profile="box", strict=True, **options)
        fine = predictor(thick, scale=(1, 1, 4)).as_tensor()
        errors[name] = (fine - truth).square().mean().sqrt().item()
        report = predictor.report
        assert report["consistency"]["corrected"] == (name == "adapted")
    assert errors["adapted"] < 0.6 * errors["given"]
    assert report["adaptation"]["used"] and report["adaptation"]["steps"] == 40
    assert report["consistency"]["rmse"] < 0.01
    # What was learnt can be used again, as it is.
    again = Predictor(predictor.adapted, slice_thickness=4, slice_profile="box", consistency="project")
    torch.testing.assert_close(again(thick, scale=(1, 1, 4)).as_tensor(), fine)


@pytest.mark.parametrize(
    "pixel, distance, wanted, scale",
    [(0.87, 5, 1.0, 5.0), (0.8, 6, 0.8, 7.5), (0.8, 4, 0.6, 4 / 0.6), (0.9, 4, 0.5, 4 / 0.9)],
)
def test_a_network_is_adapted_to_the_scale_that_it_is_asked_for(make_network, pixel, distance, wanted, scale):
    # Much finer than the pixels of the slices it cannot be taught: there is no truth.
    image = MetaTensor(random_image(1, 16, 18, 9), affine=torch.diag(torch.tensor([pixel, pixel, distance, 1.0])))
    seen = set()
    network = make_network(anisotropic=True)
    network.register_forward_pre_hook(lambda _, args, kwargs: seen.add(kwargs["scale"]), with_kwargs=True)
    predictor = Predictor(network, adapt=Adaptation(steps=1, batch_size=1), slice_thickness=distance)
    plan = make_plan(image, scale=None, spacing=(pixel, pixel, wanted), slice_axis=2)
    predictor.adapt_to(image.as_tensor(), plan, predictor.adaptation)
    assert [*seen] == [(1.0, pytest.approx(scale))]


def test_a_network_is_adapted_to_what_results_are_corrected_to_or_not(make_network):
    image = MetaTensor(random_image(1, 16, 18, 9), affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))
    found = {}
    for consistency in ("report", None):
        few = Adaptation(steps=1, batch_size=1, learning_rate=1e-9)
        predictor = Predictor(make_network(anisotropic=True), adapt=few, consistency=consistency, slice_thickness=3)
        plan = make_plan(image, scale=(1, 1, 3), spacing=None, slice_axis=2)
        _, record = predictor.adapt_to(image.as_tensor(), plan, few)
        found[predictor.corrects] = record["psnr_before"]
    # Noise is not to be guessed, but what the image tells of it is corrected.
    assert found[True] > found[False] + 0.5


def test_what_cannot_be_adapted_is_refused(make_network):
    _, thick = oblique_stripes()
    for model in (make_network(), "bicubic", networks.Linear(3)):
        with pytest.raises(ValueError, match="cannot be adapted to a scan"):
            Predictor(model, adapt=True)
    with pytest.raises(ValueError, match="the model 'none' knows nothing: adapt it to the scan"):
        Predictor("none")
    with pytest.raises(ValueError, match="there is no scale across the slices that a model could be adapted to"):
        Predictor(make_network(anisotropic=True), adapt=True)(thick, scale=2)


def test_from_nothing_means_from_bicubic_interpolation():
    _, thick = oblique_stripes()
    still = Adaptation(steps=1, learning_rate=1e-12, batch_size=1, patch_size=16)
    fine = Predictor("none", adapt=still, consistency=None)(thick, scale=(1, 1, 4)).as_tensor()
    cubic = Predictor("bicubic", consistency=None)(thick, scale=(1, 1, 4)).as_tensor()
    assert (fine - cubic).abs().max() < 0.05 * (cubic.max() - cubic.min())


def test_the_report_says_what_was_done():
    image = MetaTensor(random_image(1, *SIZE), affine=torch.diag(torch.tensor([1.0, 1, 3, 1])))
    predictor = Predictor("bicubic")
    fine = predictor(image, scale=(2.0, 2.5))
    report = predictor.report
    shape, affine = [1, *SIZE], image.affine.tolist()
    kind = {"dtype": "float32", "spacing_known": True}
    assert report["input"] == {"shape": shape, "spacing": [1, 1, 3], "affine": affine, **kind}
    shape, affine = [1, 18, 20, 7], fine.affine.tolist()
    assert report["output"] == {"shape": shape, "spacing": [0.5, 0.4, 3], "affine": affine, **kind}
    assert report["plane"] == "axial"
    assert (report["scale"], report["slice_axis"], report["model"]["name"]) == ([2.0, 2.5, 1.0], 2, "bicubic")
    predictor(image[..., 0], scale=2)
    assert predictor.report["output"]["shape"] == [1, 18, 16] and predictor.report["output"]["spacing"] == [0.5, 0.5]


@pytest.mark.parametrize(
    "change", [lambda a: a, np.flip, lambda a: a.astype(">f8"), torch.from_numpy, lambda a: a.astype(np.uint16)]
)
def test_arrays_and_tensors_of_any_layout_and_kind_are_taken(change):
    image = change(np.random.default_rng(0).integers(0, 4000, (1, *SIZE)).astype(np.float64))
    truth = pytorch_bicubic(pytorch_bicubic(torch.tensor(np.asarray(image).astype(np.float32)), 0, 2.0), 1, 2.0)
    fine = Predictor("bicubic", consistency=None)(image, scale=2)
    torch.testing.assert_close(fine.as_tensor(), truth, rtol=0, atol=1e-2)
    assert fine.affine.diag().tolist() == [0.5, 0.5, 1, 1]


def test_the_result_has_the_type_that_is_asked_for_rounded_and_clipped():
    image = random_image(1, *SIZE) * 300 - 20
    exact = Predictor("bicubic")(image, scale=2)
    assert exact.min() < -20.6 and exact.max() > 255.5
    for dtype, low, high in (("uint8", 0, 255), ("int16", -32768, 32767)):
        fine = Predictor("bicubic", dtype=dtype)(image, scale=2)
        assert fine.dtype == getattr(torch, dtype)
        assert torch.equal(fine.as_tensor().double(), exact.as_tensor().double().round().clamp(low, high))


@pytest.mark.parametrize(
    "change, dtype",
    [
        (lambda image: image.to(torch.int16), "int16"),
        (lambda image: image.numpy().astype(np.uint16), "uint16"),
        (lambda image: image.double(), "float32"),
        (lambda image: MetaTensor(image, meta={"original_dtype": "uint8"}), "uint8"),
    ],
)
def test_the_result_can_have_the_type_of_the_input(change, dtype):
    predictor = Predictor("bicubic", dtype="input")
    assert predictor(change(random_image(1, *SIZE) * 200), scale=2).dtype == getattr(torch, dtype)
    assert predictor.report["output"]["dtype"] == dtype


def test_a_type_that_is_not_written_is_refused():
    with pytest.raises(ValueError, match=r"dtype must be 'input' or one of uint8, .*, got 'int64'"):
        Predictor("bicubic", dtype="int64")
    with pytest.raises(ValueError, match=r"a result of type int64 as the input has is not made: give a dtype"):
        Predictor("bicubic", dtype="input")((random_image(1, *SIZE) * 200).long(), scale=2)


def test_intensities_of_any_size_are_worked_on_or_refused():
    image = random_image(1, *SIZE)
    truth = Predictor("bicubic")(image, scale=2)
    for factor in (1e-30, 1e30, 1e37):
        fine = Predictor("bicubic")(image * factor, scale=2)
        torch.testing.assert_close(fine.as_tensor() / factor, truth.as_tensor(), rtol=1e-4, atol=1e-5)
    image[0, 0, 0, 0], image[0, 1, 0, 0] = 3e38, -3e38
    with pytest.raises(ValueError, match=r"the intensities, -3e\+38 to 3e\+38, are too large to compute with"):
        Predictor("bicubic")(image, scale=2)


class Overflows(Linear):
    """A network whose results are infinite."""

    def forward(self, x, scale):
        return super().forward(x, scale) * 1e38 * 1e38


def test_a_result_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="the result is not finite: intensities of"):
        Predictor(Overflows())(random_image(1, *SIZE), scale=2)


def test_a_result_that_does_not_fit_is_refused_and_a_large_one_warned_of(monkeypatch):
    image = random_image(2, 50, 40, 7)
    # Two channels of 100 x 80 x 7 float32, and a copy.
    needed = 2 * 100 * 80 * 7 * 4 * 2
    free = "miassr_monai.prediction.predictor.available_memory"
    monkeypatch.setattr(free, lambda: needed - 1)
    with pytest.raises(
        ValueError, match=r"the result, 100 x 80 x 7 voxels, needs about .* but .* give a smaller --scale"
    ):
        Predictor(Overflows())(image, scale=2)
    monkeypatch.setattr(free, lambda: 2 * needed - 1)
    with pytest.warns(SuperResolutionWarning, match=r"the result, 100 x 80 x 7 voxels, needs about 0\.000834 GiB"):
        Predictor("bicubic")(image, scale=2)
    for plenty in (2 * needed + 1, None):
        monkeypatch.setattr(free, lambda plenty=plenty: plenty)
        with warnings.catch_warnings():
            warnings.simplefilter("error", SuperResolutionWarning)
            Predictor("bicubic")(image, scale=2)


def test_the_result_can_be_changed_and_learned_from():
    fine = Predictor("bicubic")(random_image(1, *SIZE).requires_grad_(), scale=2)
    fine *= 2
    nn.Conv3d(1, 1, 3)(fine[None]).sum().backward()


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((8, 9)), r"must be channel first, .* got \(8, 9\): add the channel axis"),
        (np.zeros((100, 8, 9)), r"must be channel first, .* got \(100, 8, 9\)"),
        (np.zeros((1, 1, 8, 9, 7)), "must be channel first"),
        (np.zeros((1, 0, 9)), r"axis of size 0, its shape is \(1, 0, 9\)"),
        (np.ones((1, 8, 9)), "the image is constant"),
        (np.full((1, 8, 9), np.nan), "NaN or infinite"),
    ],
)
def test_an_image_that_cannot_be_worked_on_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        Predictor("bicubic")(image, scale=2)


def test_a_long_series_of_volumes_is_one_of_channels():
    assert Predictor("bicubic", consistency=None)(random_image(70, 4, 4, 3), scale=2).shape == (70, 8, 8, 3)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": (5, 5)}, "window must be two intensities, the lower one first"),
        ({"window": (1, 2, 3)}, "window must be two intensities"),
        ({"window": (float("nan"), 1)}, "window must be two intensities"),
        ({"percentiles": (90, 10)}, r"percentiles must be two numbers in \[0, 100\]"),
        ({"percentiles": (-1, 50)}, "percentiles must be two numbers"),
        ({"consistency": "yes"}, "consistency must be one of .* got 'yes'"),
        *(
            ({"slice_thickness": mm}, "slice_thickness must be a number of mm above 0")
            for mm in (0, -1, math.nan, math.inf, "thin")
        ),
        ({"tile_size": 0}, "tile_size must be at least 1"),
        ({"slice_batch_size": 0}, "slice_batch_size must be at least 1"),
        ({"device": "gpu"}, "the device 'gpu' cannot be used here"),
    ],
)
def test_settings_are_checked_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        Predictor("bicubic", **settings)


class Lift(nn.Module):
    """Adds a tenth to every pixel."""

    halo = 0

    def forward(self, x, scale):
        assert scale == 1.0
        return x + 0.1


@pytest.mark.parametrize("shape", [(1, 16, 18), (2, 16, 18, 3)])
def test_an_image_is_restored_at_its_own_size_and_degraded_again_by_what_it_has(shape):
    image = 2000 * random_image(*shape) - 1000
    predictor = Predictor(Lift(), window=(-500, 500), degradation="sparse_view_ct:views=12,noise=0.02")
    fine = predictor(MetaTensor(image, affine=torch.eye(4)), scale=1)
    torch.testing.assert_close(fine.as_tensor(), image + 100, rtol=0, atol=1e-3)
    assert torch.equal(fine.affine, torch.eye(4, dtype=torch.float64))
    slices = (fine.as_tensor().reshape(shape[0], 16, 18, -1).movedim(-1, 0) + 500) / 1000
    again = sparse_view_ct_degradation(slices, 1.0, views=12, window=(-500, 500))
    truth = (again - (image.reshape(shape[0], 16, 18, -1).movedim(-1, 0) + 500) / 1000).square().mean().sqrt()
    assert predictor.report["consistency"]["rmse"] == pytest.approx(float(truth), rel=1e-4)


def test_a_ct_image_is_corrected_to_agree_with_its_projections():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 2, indexing="ij")
    truth = 1000 * (0.5 - 0.5 * torch.tanh(8 * (x**2 + (y / 0.8) ** 2 - 0.6)))[None] - 1000
    made = parse_degradation("sparse_view_ct:views=24").in_window((-1000, 1000))((truth + 1000) / 2000, 1.0)
    found = []
    for consistency in ("report", "project"):
        predictor = Predictor(
            Lift(), window=(-1000, 1000), degradation="sparse_view_ct:views=24", consistency=consistency
        )
        predictor(2000 * made - 1000, scale=1)
        found.append(predictor.report["consistency"])
    before, after = found
    assert after["rmse"] < 0.1 * before["rmse"]
    assert 0 < after["projections_error"] < 0.1 * before["projections_error"]


def test_magnitudes_are_not_corrected():
    with pytest.raises(ValueError, match="needs a linear degradation, which undersampled_kspace is not"):
        Predictor(Lift(), degradation="undersampled_kspace", consistency="project")
    predictor = Predictor(Lift(), degradation="undersampled_kspace:complex_noise=0.1")
    predictor(random_image(1, 16, 18), scale=1)
    assert predictor.report["consistency"]["rmse"] > 0


def test_without_a_degradation_that_keeps_the_size_scale_1_is_refused():
    with pytest.raises(ValueError, match="nothing to do"):
        Predictor(Lift(), degradation="psf")(random_image(1, 16, 18), scale=1)
