import base64
import io
import math
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from miassr_monai.evaluation import summarize
from miassr_monai.evaluation.figures import draw_curves, draw_error, draw_image

SVG = "{http://www.w3.org/2000/svg}"
MEASURES = [("psnr", "PSNR (dB)"), ("ssim", "SSIM")]


def decode(address):
    """Pixels ``(rows, columns, 3)`` of a picture that is a ``data:`` address."""
    head, content = address.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content, validate=True))).convert("RGB"))


def colour(name, value):
    return np.array(matplotlib.colormaps[name](float(value), bytes=True)[:3])


def test_the_first_axis_points_right_and_the_second_up():
    image = torch.zeros(5, 3)
    image[0, 0], image[4, 0], image[0, 2], image[4, 2] = 0.2, 0.4, 0.6, 0.8
    pixels = decode(draw_image(image))
    assert pixels.shape == (3, 5, 3)
    # The patient's front, the end of the second axis, is in the first row.
    corners = [pixels[-1, 0], pixels[-1, -1], pixels[0, 0], pixels[0, -1]]
    np.testing.assert_array_equal(corners, [colour("gray", level) for level in (0.2, 0.4, 0.6, 0.8)])
    error = decode(draw_error(image / 10, torch.zeros(5, 3)))
    np.testing.assert_array_equal(error[0, -1], colour("magma", 0.8))


@pytest.mark.parametrize("value, shown", [(-0.3, 0), (0, 0), (0.25, 0.25), (1, 1), (1.7, 1)])
def test_a_picture_is_grey_from_zero_to_one_whatever_is_in_it(value, shown):
    pixels = decode(draw_image(torch.full((4, 4), value)))
    np.testing.assert_array_equal(pixels, np.broadcast_to(colour("gray", shown), (4, 4, 3)))


@pytest.mark.parametrize("error, shown", [(0, 0), (0.05, 0.5), (-0.05, 0.5), (0.09, 0.9), (0.1, 1), (-0.4, 1)])
def test_the_map_shows_the_absolute_error_from_zero_to_a_tenth(error, shown):
    truth = torch.full((4, 4), 0.5, dtype=torch.float64)
    pixels = decode(draw_error(truth + error, truth)).astype(int)
    assert abs(pixels - colour("magma", shown)).max() <= 3


def test_pictures_in_half_precision_are_subtracted_in_single():
    image, truth = torch.full((4, 4), 0.5).half(), torch.full((4, 4), 0.45).half()
    assert abs(decode(draw_error(image, truth)).astype(int) - colour("magma", 0.5)).max() <= 3


@pytest.fixture
def summary(make_scores):
    """A summary of methods whose names are not plain."""
    records = []
    for name, gain in (('<b>&"', 0), ("x$y$", 2)):
        scales = {2.0: 30.0 + gain, 2.5: 24.0 + gain, 4.0: 20.0}
        psnr = {(subject, f"{subject}1", s): [v + d] for s, v in scales.items() for subject, d in (("a", -1), ("b", 1))}
        records += summarize(make_scores(psnr, name))
    return records


def test_the_curves_name_the_methods_in_text_and_need_nothing_else(summary):
    svg = draw_curves(summary, MEASURES)
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {'<b>&"', "x$y$", "PSNR (dB)", "SSIM", "scale"} <= set(words)
    assert all(words.count(scale) == 2 for scale in ("2", "2.5", "4"))
    addresses = [v for element in root.iter() for k, v in element.attrib.items() if k.endswith(("href", "src"))]
    assert addresses and all(address.startswith("#") for address in addresses)
    assert set(re.findall(r"url\((.)", svg)) <= {"#"} and "@import" not in svg
    assert {element.tag.removeprefix(SVG) for element in root.iter()}.isdisjoint({"image", "script", "foreignObject"})


def points(svg, colour):
    """Where the markers of a colour stand, axes after axes."""
    root = ET.fromstring(svg)
    found = [
        use for use in root.iter(f"{SVG}use") if use.get("style", "").startswith(f"fill: {colour}; stroke: {colour}")
    ]
    return np.array([(float(use.get("x")), float(use.get("y"))) for use in found])


def test_the_curves_are_the_means_by_scale(summary):
    svg = draw_curves(summary, MEASURES)
    first, second = points(svg, "#767676"), points(svg, "#0072b2")
    # The legend, which comes last, has a marker too.
    for method, means in ((first, [30, 24, 20]), (second, [32, 26, 20])):
        assert len(method) == 2 * 3 + 1
        for curve in (method[:3], method[3:6]):
            steps = np.diff(curve, axis=0)
            assert steps[1, 0] / steps[0, 0] == pytest.approx(1.5 / 0.5, rel=1e-3)
            assert steps[1, 1] / steps[0, 1] == pytest.approx((means[2] - means[1]) / (means[1] - means[0]), rel=1e-3)
    assert first[2] == pytest.approx(second[2])
    # Up is better: two decibels are a third of the six from the first scale to the second.
    assert first[0, 1] - second[0, 1] == pytest.approx((first[1, 1] - first[0, 1]) / 3, rel=1e-3)


@pytest.fixture
def mixed(make_scores):
    """A summary with scales that are numbers, out of order, and others."""
    means = {4.0: 20.0, (1.0, 2.0): 26.0, 2.0: 30.0, (1.0, 3.0): 22.0}
    records = []
    for name, gain in (("bicubic", 0), ("mine", 3)):
        psnr = {
            (subject, f"{subject}1", s): [v + gain + d]
            for s, v in means.items()
            for subject, d in (("a", -1), ("b", 1))
        }
        records += summarize(make_scores(psnr, name))
    return records


def test_scales_that_are_no_numbers_have_an_axis_of_their_own(mixed):
    svg = draw_curves(mixed, MEASURES[:1])
    root = ET.fromstring(svg)
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert words.index("2") < words.index("4") < words.index("1x2") < words.index("1x3")
    assert {"scale", "scale along each axis"} <= set(words)
    # One marker a scale, and that of the legend, which comes last.
    first, second = points(svg, "#767676"), points(svg, "#0072b2")
    assert len(first) == len(second) == 5
    lines, marks, others = first[:2], first[2:4], second[2:4]
    assert lines[0, 0] < lines[1, 0] < marks[0, 0] < marks[1, 0]
    # One axis of the measure for all: 30, 20 and 26, 22 decibels.
    assert (marks[0, 1] - lines[0, 1]) / (lines[1, 1] - lines[0, 1]) == pytest.approx(0.4, rel=1e-3)
    assert (marks[1, 1] - lines[0, 1]) / (lines[1, 1] - lines[0, 1]) == pytest.approx(0.8, rel=1e-3)
    # The methods stand side by side, within the scale's place.
    shifts = others[:, 0] - marks[:, 0]
    assert shifts == pytest.approx([shifts[0]] * 2) and 0 < shifts[0] < (marks[1, 0] - marks[0, 0]) / 2
    assert (others[:, 1] < marks[:, 1]).all()


@pytest.mark.parametrize("unequal", [False, True])
def test_scales_of_one_kind_have_one_axis(mixed, unequal):
    rows = [row for row in mixed if row["scale"] == "mean" or ("x" in row["scale"]) == unequal]
    words = ["".join(text.itertext()) for text in ET.fromstring(draw_curves(rows, MEASURES)).iter(f"{SVG}text")]
    assert ("scale" in words) is not unequal and ("scale along each axis" in words) is unequal
    assert words.count("bicubic") == 1


def test_intervals_of_scales_that_are_no_numbers_are_drawn(mixed):
    lines = []
    for rows in (mixed, [row | {"lower": math.nan, "upper": math.nan} for row in mixed]):
        root = ET.fromstring(draw_curves(rows, MEASURES))
        lines.append(sum((e.get("id") or "").startswith("LineCollection") for e in root.iter()))
    assert lines[0] - lines[1] == 4


def test_intervals_are_drawn_where_there_are_any(summary):
    with_intervals = draw_curves(summary, MEASURES)
    without = draw_curves([row | {"lower": math.nan, "upper": math.nan} for row in summary], MEASURES)
    counts = [
        sum("FillBetween" in (e.get("id") or "") for e in ET.fromstring(svg).iter())
        for svg in (with_intervals, without)
    ]
    assert counts == [4, 0]


def test_the_same_summary_gives_the_same_text(summary):
    assert draw_curves(summary, MEASURES) == draw_curves(summary, MEASURES)
