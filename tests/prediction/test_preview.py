import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from PIL import Image

from miassr_monai import Predictor
from miassr_monai.prediction.preview import draw_preview

pytestmark = pytest.mark.filterwarnings("ignore::miassr_monai.prediction.SuperResolutionWarning")


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the figures that are drawn."""
    kept = []
    subplots = Figure.subplots

    def spy(self, *args, **kwargs):
        axes = subplots(self, *args, **kwargs)
        kept.extend(np.ravel(axes))
        return axes

    monkeypatch.setattr(Figure, "subplots", spy)
    return kept


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_middle_slice_is_drawn_before_and_after(tmp_path, make_network, drawn, axis):
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0]))
    coarse = MetaTensor(torch.rand(1, 11, 9, 8, generator=torch.Generator().manual_seed(0)), affine=affine)
    predictor = Predictor(make_network(), slice_axis=axis, device="cpu")
    fine = predictor(coarse, scale=(2.0, 2.0, 2.0))
    draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG" and np.asarray(picture.convert("L")).std() > 10
    middle = coarse.shape[axis + 1] // 2
    before, bicubic, after = (np.asarray(axes.images[0].get_array()).T for axes in drawn)
    np.testing.assert_array_equal(before, coarse[0].select(axis, middle).numpy())
    # The centre of coarse voxel m is at the face between fine voxels 2 m and 2 m + 1.
    np.testing.assert_array_equal(after, fine[0].select(axis, 2 * middle + 1).numpy())
    truth = Predictor("bicubic")(coarse[0].select(axis, middle).as_tensor()[None], scale=2)[0]
    np.testing.assert_allclose(bicubic, truth.numpy(), rtol=0, atol=1e-5)
    assert [axes.get_title().split(",")[0] for axes in drawn] == ["input", "bicubic", "MetaSRGenerator"]
    low, high = coarse.min().item(), np.percentile(coarse.numpy(), 99.95)
    rows, columns = (step for a, step in enumerate((1.0, 2.0, 3.0)) if a != axis)
    for axes in drawn:
        assert axes.images[0].get_clim() == pytest.approx((low, high), rel=1e-5)
        # Heights over widths of the drawn pixels: the second axis of a slice points up.
        assert axes.get_aspect() == pytest.approx(columns / rows)


@pytest.mark.parametrize(("axis", "directions"), [(2, [-1, -1, 1]), (1, [1, 1, -1]), (0, [-1, 1, -1])])
def test_an_image_is_upright_whichever_way_its_axes_point(tmp_path, drawn, axis, directions):
    values = torch.rand(1, 7, 6, 5, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([*map(float, directions), 1.0]))
    coarse, predictor = MetaTensor(values, affine=affine), Predictor("linear", slice_axis=axis, device="cpu")
    fine = predictor(coarse, scale=2)
    draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    middle = values[0].flip([a for a, step in enumerate(directions) if step < 0 and a != axis])
    middle = middle.select(axis, values.size(axis + 1) // 2)
    np.testing.assert_array_equal(np.asarray(drawn[0].images[0].get_array()).T, middle.numpy())


@pytest.mark.parametrize("size, share, lines", [((100, 4), 0.3, 3), ((60, 50), 0.75, 1), ((4, 100), 0.06, 1)])
def test_the_picture_is_as_large_as_what_it_shows(tmp_path, drawn, size, share, lines):
    # Below the window nearly everywhere, which is drawn black.
    coarse = MetaTensor(torch.rand(1, *size, 3))
    predictor = Predictor("linear", window=(2, 3), consistency=None)
    fine = predictor(coarse, scale=2)
    draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        dark = np.asarray(picture.convert("L")) < 128
    assert dark.mean() > share
    # The panels of a wide strip lie below one another.
    assert len(drawn) == 3 and len({round(axes.get_position().y0, 3) for axes in drawn}) == lines


def test_each_channel_of_an_image_with_two_axes_and_unequal_scales_is_drawn(tmp_path, drawn):
    coarse = MetaTensor(torch.rand(2, 12, 9))
    predictor = Predictor("bicubic", window=(0.2, 0.7))
    fine = predictor(coarse, scale=(2.0, 3.0))
    draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    titles = [
        f"{name}, channel {c}, {size}" for c in (0, 1) for name, size in (("input", "12 x 9"), ("bicubic", "24 x 27"))
    ]
    assert [axes.get_title() for axes in drawn] == titles
    for axes, channel in zip(drawn[1::2], fine, strict=True):
        np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()).T, channel.numpy())
    assert drawn[1].get_aspect() == pytest.approx(2 / 3)
    assert drawn[1].images[0].get_clim() == pytest.approx((0.2, 0.7))


def test_a_picture_that_cannot_be_written_is_no_part_of_one(tmp_path, monkeypatch):
    coarse = MetaTensor(torch.rand(1, 12, 9))
    predictor = Predictor("bicubic")
    fine = predictor(coarse, scale=2)

    def fail(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match=r"p.png cannot be written \(No space left on device\): make room"):
        draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_drawn_upright(tmp_path, drawn):
    coarse = MetaTensor(torch.rand(1, 12, 9), affine=torch.eye(4), meta={"spacing_known": False})
    predictor = Predictor("bicubic", window=(0.2, 0.7))
    fine = predictor(coarse, scale=(1.0, 2.0))
    draw_preview(coarse, fine, predictor.report, tmp_path / "p.png")
    for axes, truth in zip(drawn, (coarse, fine), strict=True):
        assert axes.images[0].origin == "lower"
        np.testing.assert_allclose(axes.images[0].get_array(), truth[0].flip(0).numpy(), rtol=0, atol=1e-5)
    assert drawn[0].get_aspect() == 1 and drawn[1].get_aspect() == 2
