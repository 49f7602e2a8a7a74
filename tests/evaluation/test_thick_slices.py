import numpy as np
import pytest
import torch
from make import small_generator
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates
from skimage.metrics import structural_similarity

from miassr_monai.adaptation import Adaptation
from miassr_monai.evaluation.thick_slices import (
    ThickSlices,
    compare_on_volume,
    cubic_spline,
    isotropic_loader,
    score_thick,
    thick_methods,
    thick_volume,
)

pytestmark = pytest.mark.filterwarnings("ignore::miassr_monai.prediction.SuperResolutionWarning")


def volume(shape=(20, 22, 24), spacing=(1.0, 1.0, 1.0), seed=0):
    data = torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(data, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def test_slices_with_gaps_see_what_is_in_them_at_their_place():
    truth = volume(spacing=(1.0, 1.0, 0.5))
    thick, scale = thick_volume(truth, ThickSlices(1.0, 0.5, "box"))
    assert scale == 3.0 and thick.meta["slice_thickness"] == 1.0
    parts = truth.as_tensor().unflatten(-1, (-1, 3)).double()
    expected = parts @ torch.tensor([0.5, 1, 0.5], dtype=torch.float64) / 2
    torch.testing.assert_close(thick.as_tensor().double(), expected, rtol=0, atol=1e-6)
    assert thick.affine[2].tolist() == [0, 0, 1.5, 0.5]


@pytest.mark.parametrize("thickness", [0.5, 1.0, 9.0])
def test_slices_that_cannot_be_made_are_refused(thickness):
    with pytest.raises(ValueError, match="are not to be made of a volume whose own are 1 mm apart"):
        thick_volume(volume(), ThickSlices(thickness))


def test_every_profile_thickness_and_gap_has_a_name():
    names = [slices.name for slices in ThickSlices.all_of([3, 4.5], [0, 1], ["box"])]
    assert names == ["box 3 mm", "box 3+1 mm", "box 4.5 mm", "box 4.5+1 mm"]


def test_the_spline_is_that_through_the_slices_off_the_border():
    thick, scale = thick_volume(volume((2, 3, 120)), ThickSlices(2.5, 0, "box"))
    fine, places = cubic_spline(thick, scale)[0], (np.arange(2.5 * 48) + 0.5) / 2.5 - 0.5
    for line, made in zip(thick[0].double().flatten(0, 1).numpy(), fine.flatten(0, 1).numpy(), strict=True):
        truth = map_coordinates(line, [places], order=3, mode="mirror")
        np.testing.assert_allclose(made[30:-30], truth[30:-30], rtol=0, atol=1e-5)
        assert made[0] == pytest.approx(line[0], abs=1e-6)


def test_the_measures_are_those_of_numpy_and_scikit_image():
    truth, thick = volume().as_tensor(), volume((20, 22, 8), seed=1).as_tensor()
    fine = (truth + 0.1 * volume(seed=2).as_tensor() - 0.05).clone()
    truth[:, :, :, :3] = 0.0
    scores = score_thick(fine, truth, thick, 3.0)
    assert scores["psnr"] == pytest.approx(-10 * np.log10(np.mean((fine - truth).numpy() ** 2)), abs=1e-4)
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


def test_every_method_makes_the_volume_and_is_scored(tmp_path):
    torch.manual_seed(0)
    torch.save(small_generator(depth=1, skip="bicubic", anisotropic=True).state_dict(), tmp_path / "a.pt")
    few = Adaptation(steps=1, batch_size=1, patch_size=16)
    methods = thick_methods({"mine": str(tmp_path / "a.pt")}, adaptation=few, device="cpu")
    assert list(methods) == ["cubic spline", "bicubic", "mine", "mine, adapted", "from nothing"]
    truth = volume()
    rows = list(compare_on_volume(truth, [ThickSlices(3.0)], methods))
    assert [row["slices"] for row in rows] == ["gaussian 3 mm"] * 5
    thick, scale = thick_volume(truth, ThickSlices(3.0))
    expected = score_thick(cubic_spline(thick, scale), truth.as_tensor(), thick.as_tensor(), scale)
    found = {measure: rows[0][measure] for measure in expected}
    assert found == pytest.approx(expected) and rows[0]["seconds"] < 5
    assert len({round(row["psnr"], 4) for row in rows[:3]}) == 3


def test_the_truth_is_loaded_in_ras_and_in_the_unit_range(tmp_path):
    import nibabel as nib

    data = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, 1.0, 1.0, 1.0])), tmp_path / "a.nii")
    loaded = isotropic_loader((0, 1000))({"image": str(tmp_path / "a.nii")})
    np.testing.assert_allclose(loaded[0], data[::-1] / 1000, rtol=0, atol=1e-6)
    nib.save(nib.Nifti1Image(data[..., None].repeat(2, -1), np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(ValueError, match="is not a volume of one channel"):
        isotropic_loader()({"image": str(tmp_path / "b.nii")})
