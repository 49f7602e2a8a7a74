import matplotlib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from PIL import Image

from miassr_monai.handlers import ImagePanel, draw_panel


def flat(value, size=20):
    return torch.full((size, size), float(value))


def gray(value):
    return matplotlib.colormaps["gray"](float(value), bytes=True)[:3]


def magma(value):
    return matplotlib.colormaps["magma"](float(value), bytes=True)[:3]


def places(path, colour):
    """Rows and columns of the pixels of a picture that have a colour, give or take the rounding of a level."""
    distance = np.abs(np.asarray(Image.open(path).convert("RGB"), dtype=int) - np.asarray(colour, dtype=int))
    return np.nonzero(distance.max(-1) <= 2)


def centre(path, colour):
    """Row and column in the middle of the area of a colour."""
    rows, columns = places(path, colour)
    assert len(rows) > 5000, f"the picture has no area of the colour {colour}"
    return np.median(rows), np.median(columns)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "panel.png"


@pytest.mark.parametrize(("error", "shown"), [(0, 0), (0.05, 0.5), (-0.05, 0.5), (0.09, 0.9), (0.1, 1), (-0.4, 1)])
def test_the_map_shows_the_absolute_error_from_zero_to_a_tenth(path, error, shown):
    draw_panel([("scale 2", {"image": flat(1), "label": flat(0.5), "model": flat(0.5 + error)})], ["model"], path)
    shown_area, truth_area = (len(places(path, colour)[0]) for colour in (magma(shown), gray(0.5)))
    assert shown_area == pytest.approx(truth_area / (2 if error == 0 else 1), rel=0.02)


def test_a_row_shows_input_methods_truth_and_errors(path):
    examples = [
        ("scale 2", {"image": flat(0.1), "bicubic": flat(0.22), "model": flat(0.25), "label": flat(0.2)}),
        ("scale 3.5", {"image": flat(0.4), "bicubic": flat(0.53), "model": flat(0.56), "label": flat(0.5)}),
    ]
    draw_panel(examples, ["bicubic", "model"], path)
    colours = [
        [*map(gray, (0.1, 0.22, 0.25, 0.2)), *map(magma, (0.2, 0.5))],
        [*map(gray, (0.4, 0.53, 0.56, 0.5)), *map(magma, (0.3, 0.6))],
    ]
    rows, columns = np.array([[centre(path, colour) for colour in line] for line in colours]).transpose(2, 0, 1)
    assert np.ptp(rows, axis=1).max() <= 2
    assert np.ptp(columns, axis=0).max() <= 2
    assert rows[0, 0] < rows[1, 0]
    assert (np.diff(columns[0]) > 200).all()


def test_images_lie_with_their_first_axis_to_the_right_and_their_second_upwards(path):
    image = flat(0.2)
    image[10:, :10], image[:10, 10:], image[10:, 10:] = 0.4, 0.6, 0.8
    draw_panel([("scale 2", {"image": image, "label": flat(1), "model": flat(1)})], ["model"], path)
    (bottom, left), right, top, corner = (centre(path, gray(level)) for level in (0.2, 0.4, 0.6, 0.8))
    half = right[1] - left
    assert half > 80
    assert right == pytest.approx((bottom, left + half), abs=2)
    assert top == pytest.approx((bottom - half, left), abs=2)
    assert corner == pytest.approx((bottom - half, left + half), abs=2)


def test_an_input_of_unequal_scales_fills_the_same_field_of_view(path):
    coarse, image = torch.full((20, 5), 0.3), flat(0.6)
    draw_panel([("scale 1x4", {"image": coarse, "label": image, "model": flat(0.9)})], ["model"], path)
    areas = [len(places(path, gray(level))[0]) for level in (0.3, 0.6)]
    assert areas[0] == pytest.approx(areas[1], rel=0.01) and areas[0] > 10_000


def test_a_volume_is_shown_by_its_middle_slice(path):
    batch = make_batch(1, (1.0, 1.0, 2.0), 5)
    output = {name: images.movedim(0, -1).unsqueeze(0) for name, images in batch["output"].items()}
    batch["output"] = output | {"image": output["image"][..., ::2]}
    panel = evaluate(ImagePanel(path, scales=[(1, 1, 2)]), [batch])
    levels = {name: image.unique().item() for name, image in panel.examples["1x1x2"].items()}
    assert levels == pytest.approx({"image": 0.14, "label": 0.141, "pred": 0.142})


def test_the_picture_is_labelled_with_scales_and_decibels(path, monkeypatch):
    figures = []

    def save(figure, file, **options):
        figures.append(figure)
        file.write_bytes(b"")

    monkeypatch.setattr(Figure, "savefig", save)
    images = {"image": flat(0.5, 8), "label": flat(0.5), "bicubic": flat(0.6), "model": flat(0.49)}
    draw_panel([("scale 2.5", images)], ["bicubic", "model"], path)
    axes = figures[0].axes[:6]
    titles = ["input", "bicubic", "model", "truth", "error of bicubic", "error of model"]
    assert [axis.get_title() for axis in axes] == titles
    assert [axis.get_xlabel() for axis in axes] == ["", "", "", "", "20.0 dB", "40.0 dB"]
    assert axes[0].get_ylabel() == "scale 2.5"


def make_batch(number, scale, slices, size=6):
    """Output of an evaluation whose slices and channels are all different."""
    values = torch.arange(slices * 2, dtype=torch.float64).view(slices, 2, 1, 1) / 100 + number / 10
    names = ("image", "label", "pred", "other")
    output = {name: (values + index / 1000).expand(-1, -1, size, size) for index, name in enumerate(names)}
    return {"scale": scale, "output": output}


def evaluate(panel, batches):
    engine = Engine(lambda engine, batch: batch["output"])
    panel.attach(engine)
    engine.run(batches)
    return panel


def test_the_middle_slice_of_the_first_volume_is_shown_at_the_wanted_scales(path):
    batches = [make_batch(1, 3.0, 5), make_batch(2, 1.5, 5), make_batch(3, 2.0, 4), make_batch(4, 2.0, 7)]
    panel = evaluate(ImagePanel(path, ["pred"], scales=[2.0, 3.0, 4.0]), batches)
    expected = {}
    for scale, value in (("3", 0.1 + 0.04), ("2", 0.3 + 0.04)):
        images = {"image": value, "label": value + 0.001, "pred": value + 0.002}
        expected[scale] = {name: flat(level, 6) for name, level in images.items()}
    torch.testing.assert_close(panel.examples, expected)


def test_by_default_whole_scales_of_the_key_pred_are_shown(path):
    panel = evaluate(ImagePanel(path), [make_batch(1, scale, 1) for scale in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)])
    assert list(panel.examples) == ["2", "3", "4"]
    assert set(panel.examples["2"]) == {"image", "label", "pred"}


@pytest.mark.parametrize(("methods", "scales"), [(["pred"], [2.0]), (["pred", "other"], [2.0, 3.0])])
def test_the_picture_has_a_row_for_each_scale_and_two_columns_more_than_twice_the_methods(path, methods, scales):
    evaluate(ImagePanel(path, methods), [make_batch(1, scale, 1) for scale in scales])
    width, height = Image.open(path).size
    assert Image.open(path).format == "PNG"
    assert width / height == pytest.approx((2.6 * (2 + 2 * len(methods)) + 0.6) / (2.75 * len(scales) + 0.3), rel=0.01)


def test_scales_are_drawn_in_the_order_that_was_asked_for(path, monkeypatch):
    drawn = []
    monkeypatch.setattr("miassr_monai.handlers.panel.draw_panel", lambda *args: drawn.append(args))
    panel = ImagePanel(path, ["other"], scales=[2.0, [1, 2], 3])
    evaluate(panel, [make_batch(1, scale, 1) for scale in (4.0, (1.0, 2.0), 3.0, 2.0)])
    ((examples, methods, where),) = drawn
    assert [label for label, _ in examples] == ["scale 2", "scale 1x2", "scale 3"]
    assert all(images is panel.examples[label.removeprefix("scale ")] for label, images in examples)
    assert (methods, where) == (["other"], path)


def test_another_run_draws_its_own_slices(path):
    panel = evaluate(ImagePanel(path), [make_batch(1, 2.0, 1)])
    evaluate(panel, [make_batch(2, 2.0, 1), make_batch(3, 3.0, 1)])
    assert panel.examples["2"]["image"][0, 0].item() == pytest.approx(0.2)


def test_without_a_wanted_scale_the_first_three_are_shown(path):
    panel = evaluate(ImagePanel(path), [make_batch(1, scale, 1) for scale in (1.0, (1.0, 2.0), 1.5, 5.0)])
    assert list(panel.examples) == ["1", "1x2", "1.5"] and path.exists()


def test_slices_are_shown_upright(path):
    batch = make_batch(1, 2.0, 1)
    image = torch.arange(6.0).view(1, 1, 2, 3) / 6
    batch["output"] = dict.fromkeys(("image", "label", "pred"), image)
    shown = evaluate(ImagePanel(path, axcodes="PRS"), [batch]).examples["2"]["image"]
    # Rows from above: the last one comes first along the axis that points up.
    torch.testing.assert_close(shown, image[0, 0].flip(0).t())


def test_a_picture_that_is_not_finished_does_not_replace_the_one_before(path, monkeypatch):
    row = ("scale 2", {"image": flat(0.1), "model": flat(0.25), "label": flat(0.2)})
    draw_panel([row], ["model"], path)
    before = path.read_bytes()

    def break_off(figure, file, **options):
        with open(file, "wb") as half:
            half.write(b"PNG")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(KeyboardInterrupt):
        draw_panel([row], ["model"], path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["panel.png"]
