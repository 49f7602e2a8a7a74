import numpy as np
import pytest
import torch
from make import small_generator
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates

from miassr_monai.adaptation import Adaptation
from miassr_monai.evaluation.thick_slices import ThickSlices, cubic_spline, thick_methods
from miassr_monai.evaluation.whole_volumes import compare_on_volume, score_volume

pytestmark = pytest.mark.filterwarnings("ignore::miassr_monai.prediction.SuperResolutionWarning")


def volume(shape=(20, 22, 24), spacing=(1.0, 1.0, 1.0), seed=0):
    data = torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(data, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def test_slices_with_gaps_see_what_is_in_them_at_their_place():
    truth = volume(spacing=(1.0, 1.0, 0.5))
    thick, scales = ThickSlices(1.0, 0.5, "box", told="rf").see(truth)
    assert scales == (1.0, 1.0, 3.0) and thick.meta["slice_thickness"] == 1.0 and thick.meta["slice_profile"] == "rf"
    parts = truth.as_tensor().unflatten(-1, (-1, 3)).double()
    expected = parts @ torch.tensor([0.5, 1, 0.5], dtype=torch.float64) / 2
    torch.testing.assert_close(thick.as_tensor().double(), expected, rtol=0, atol=1e-6)
    assert thick.affine[2].tolist() == [0, 0, 1.5, 0.5]


@pytest.mark.parametrize("thickness", [0.5, 1.0, 9.0])
def test_slices_that_cannot_be_made_are_refused(thickness):
    with pytest.raises(ValueError, match="are not to be made of a volume whose own are 1 mm apart"):
        ThickSlices(thickness).see(volume())


def test_every_profile_thickness_and_gap_has_a_name():
    names = [slices.name for slices in ThickSlices.all_of([3, 4.5], [0, 1], ["box"])]
    assert names == ["box 3 mm", "box 3+1 mm", "box 4.5 mm", "box 4.5+1 mm"]


def test_the_spline_is_that_through_the_slices_off_the_border():
    thick, scales = ThickSlices(2.5, 0, "box").see(volume((2, 3, 120)))
    fine, places = cubic_spline(thick, scales)[0], (np.arange(2.5 * 48) + 0.5) / 2.5 - 0.5
    for line, made in zip(thick[0].double().flatten(0, 1).numpy(), fine.flatten(0, 1).numpy(), strict=True):
        truth = map_coordinates(line, [places], order=3, mode="mirror")
        np.testing.assert_allclose(made[30:-30], truth[30:-30], rtol=0, atol=1e-5)
        assert made[0] == pytest.approx(line[0], abs=1e-6)


def test_every_method_makes_the_volume_and_is_scored(tmp_path):
    torch.manual_seed(0)
    torch.save(small_generator(depth=1, skip="bicubic", anisotropic=True).state_dict(), tmp_path / "a.pt")
    few = Adaptation(steps=1, batch_size=1, patch_size=16)
    methods = thick_methods({"mine": str(tmp_path / "a.pt")}, adaptation=few, device="cpu")
    assert list(methods) == ["cubic spline", "bicubic", "mine", "mine, adapted", "from nothing"]
    truth = volume()
    rows = list(compare_on_volume(truth, [ThickSlices(3.0)], methods))
    assert [row["input"] for row in rows] == ["gaussian 3 mm"] * 5
    thick, scales = ThickSlices(3.0).see(truth)
    expected = score_volume(cubic_spline(thick, scales), truth.as_tensor(), thick.as_tensor(), scales)
    found = {measure: rows[0][measure] for measure in expected}
    assert found == pytest.approx(expected) and rows[0]["seconds"] < 5
    assert len({round(row["psnr"], 4) for row in rows[:3]}) == 3
