import numpy as np
import pytest
import torch
from make import small_generator
from monai.data import MetaTensor
from skimage.metrics import structural_similarity

from miassr_monai.evaluation.whole_volumes import (
    DegradedVolume,
    compare_on_volume,
    score_volume,
    volume_loader,
    volume_methods,
)
from miassr_monai.metrics import foreground_mask
from miassr_monai.networks import EDSR, VolumeGenerator
from miassr_monai.resampling import tricubic_upscale

pytestmark = pytest.mark.filterwarnings("ignore::miassr_monai.prediction.SuperResolutionWarning")


def volume(shape=(20, 22, 24), spacing=(1.0, 1.0, 1.0), seed=0):
    data = torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(data, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def test_a_volume_is_degraded_along_all_axes_with_a_scale():
    (condition,) = DegradedVolume.all_of(["area"], [(2, 1, 3)])
    truth = volume(spacing=(1.0, 1.2, 0.9))
    coarse, scales = condition.see(truth)
    expected = truth.as_tensor()[0].unflatten(0, (10, 2)).unflatten(3, (8, 3)).mean((1, 4))
    torch.testing.assert_close(coarse.as_tensor()[0], expected, rtol=0, atol=1e-6)
    assert scales == (2.0, 1.0, 3.0)
    # The outer faces stay: the first voxel's centre moves by half of what it grows.
    torch.testing.assert_close(coarse.affine.diagonal()[:3], torch.tensor([2.0, 1.2, 2.7], dtype=torch.float64))
    torch.testing.assert_close(coarse.affine[:3, 3], torch.tensor([0.5, 0.0, 0.9], dtype=torch.float64))


def test_every_degradation_and_scale_has_a_name_and_none_is_done_twice():
    names = [c.name for c in DegradedVolume.all_of(["psf:fwhm=0.8", "area"], [2, (2.0, 2.0, 2.0), (1, 1, 3)])]
    assert names == ["psf:fwhm=0.8 x2", "psf:fwhm=0.8 x1x1x3", "area x2", "area x1x1x3"]


@pytest.mark.parametrize("scale, message", [(1.0, "is the truth"), ((2, 3), "has 2 axes"), ((0.5, 1, 2), "finite")])
def test_scales_that_cannot_be_are_refused(scale, message):
    with pytest.raises(ValueError, match=message):
        DegradedVolume.all_of(["psf"], [scale])


def test_slices_are_no_truth_for_what_is_between_them():
    (condition,) = DegradedVolume.all_of(["psf"], [2])
    with pytest.raises(ValueError, match="voxels of 1 x 1 x 3 mm are too long"):
        condition.see(volume(spacing=(1.0, 1.0, 3.0)))


def test_the_measures_are_those_of_numpy_and_scikit_image():
    truth, coarse = volume().as_tensor(), volume((20, 22, 8), seed=1).as_tensor()
    fine = (truth + 0.1 * volume(seed=2).as_tensor() - 0.05).clone()
    truth[:, :, :, :3] = 0.0
    scores = score_volume(fine, truth, coarse, (1.0, 1.0, 3.0))
    assert scores["psnr"] == pytest.approx(-10 * np.log10(np.mean((fine - truth).numpy() ** 2)), abs=1e-4)
    shown = foreground_mask(truth.movedim(-1, 0)).movedim(0, -1)
    expected = -10 * np.log10(np.mean((fine - truth)[shown].numpy() ** 2))
    assert scores["psnr_foreground"] == pytest.approx(expected, abs=1e-4) and abs(scores["psnr"] - expected) > 1
    for axis, plane in enumerate(("sagittal", "coronal", "axial")):
        pairs = zip(*(v[0].double().movedim(axis, 0).numpy() for v in (fine, truth)), strict=True)
        options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = []
        for made, wanted in pairs:
            if wanted.any():
                _, whole = structural_similarity(made, wanted, full=True, **options)
                # MONAI has no border.
                expected.append(whole[5:-5, 5:-5].mean())
        assert scores[f"ssim_{plane}"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert 0 < scores["haarpsi"] < 1 and 0 < scores["overshoot"] < 1


def test_slices_and_volumes_are_compared_on_the_same_voxels(tmp_path):
    torch.manual_seed(0)
    torch.save(small_generator(depth=1, skip="bicubic", anisotropic=True).state_dict(), tmp_path / "slices.pt")
    network = VolumeGenerator(EDSR(3, depth=1, width=4), feature_channels=4, depth=4, width=8, anisotropic=True)
    torch.save(network.state_dict(), tmp_path / "volumes.pt")
    models = {"slices": str(tmp_path / "slices.pt"), "volumes": str(tmp_path / "volumes.pt")}
    methods = volume_methods(models, device="cpu")
    truth, (condition,) = volume(), DegradedVolume.all_of(["psf"], [(1.5, 1, 2.5)])
    rows = list(compare_on_volume(truth, [condition], methods))
    assert [(row["input"], row["method"]) for row in rows] == [
        ("psf x1.5x1x2.5", name) for name in ("tricubic", "slices", "volumes")
    ]
    coarse, scales = condition.see(truth)
    low, high = np.percentile(coarse.as_tensor().numpy(), [0, 99.95])
    unit = (coarse.as_tensor() - low) / (high - low)
    # 13 voxels make 19 along the first axis, 9 make 22 along the last.
    wanted = truth.as_tensor()[:, :19, :, :22]
    with torch.no_grad():
        made = {"tricubic": tricubic_upscale(unit, scales), "volumes": network.eval()(unit[None], scales)[0]}
    for row in rows:
        assert 0 < row["seconds"] < 5 and row["processor_seconds"] > 0 and 0 <= row["peak_gib"] < 1
        if row["method"] in made:
            error = (made[row["method"]] * (high - low) + low - wanted).square().mean().item()
            assert row["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert len({round(row["psnr"], 3) for row in rows}) == 3


def test_the_name_of_the_interpolation_is_taken():
    with pytest.raises(ValueError, match="'tricubic' is the name of the interpolation"):
        volume_methods({"tricubic": None})


@pytest.mark.parametrize("crop", [(2, 2), 0, 2.5])
def test_a_middle_part_that_cannot_be_is_refused(crop):
    with pytest.raises(ValueError, match="one or three whole numbers"):
        volume_loader(crop=crop)


def test_the_truth_is_loaded_in_ras_and_its_middle_is_taken(tmp_path):
    import nibabel as nib

    data = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, 1.0, 1.0, 1.0])), tmp_path / "a.nii")
    loaded = volume_loader((0, 1000), (2, 5, 4))({"image": str(tmp_path / "a.nii")})
    np.testing.assert_allclose(loaded[0], data[::-1][1:3, :, 1:5] / 1000, rtol=0, atol=1e-6)
    nib.save(nib.Nifti1Image(data[..., None].repeat(2, -1), np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(ValueError, match="is not a volume of one channel"):
        volume_loader()({"image": str(tmp_path / "b.nii")})
