import base64
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from miassr_monai.evaluation import draw_page, make_report
from miassr_monai.evaluation.page import MAX_CASES

pytestmark = pytest.mark.usefixtures("quick_intervals")
VOID = {"meta", "img", "br", "input", "link"}
ODD = '<b>&"'
BROWSER = shutil.which("chromium")
PSNR = {
    ("a", "a1", 2.0): [30.0, 32.0],
    ("b", "b1", 2.0): [35.0],
    ("a", "a1", 3.5): [20.0, 22.0],
    ("b", "b1", 3.5): [25.0],
}


class Page(HTMLParser):
    """What a page holds: the cells of its tables by heading, its texts by element, and all elements."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.heads, self.tables, self.texts = [], [], {}, {}, {}
        self.heading = self.cell = None
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.heads[self.heading], self.tables[self.heading] = [], []
        elif tag == "tr":
            self.lines().append([])
        elif tag in ("td", "th"):
            self.cell = ["", "best" in (attributes.get("class") or ""), ""]
            self.lines()[-1].append(self.cell)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[2 if self.open[-1] == "span" else 0] += data
        elif self.open and data.strip():
            if self.open[-1] == "h2":
                self.heading = data
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def lines(self):
        return (self.heads if "thead" in self.open else self.tables)[self.heading]

    def rows(self, heading):
        """Texts of the cells of a table, by the first of a row."""
        return {line[0][0]: [cell[0] for cell in line[1:]] for line in self.tables[heading]}

    def best(self, heading):
        """Texts of the bold cells, by the first of a row."""
        return {line[0][0]: [cell[0] for cell in line[1:] if cell[1]] for line in self.tables[heading]}

    def pictures(self):
        """The pictures that are there before the script runs."""
        return [attributes for tag, attributes in self.elements if tag == "img" and "src" in attributes]


def make_case(kind, volume, scale="2", gain=1.0, contrast="t1", **images):
    """A case with flat images."""
    images = {"input": 0.4, "bicubic": 0.55, "mine": 0.5, "truth": 0.5} | images
    return {
        "kind": kind,
        "volume": volume,
        "contrast": contrast,
        "scale": scale,
        "slice": 7,
        "gain": gain,
        "psnr": {"bicubic": 26.04, "mine": math.inf},
        "images": {
            name: torch.full((3, 2) if name == "input" else (6, 4), level).half() for name, level in images.items()
        },
    }


@pytest.fixture
def make_page(make_scores, make_models, monkeypatch):
    """Function that makes a page of methods whose PSNR differs by gains, and its report."""

    def make(gains, pictures=(), scores=(), curves=False, **options):
        if not curves:
            monkeypatch.setattr("miassr_monai.evaluation.page.draw_curves", lambda *_: "<svg></svg>")
        tables = [
            make_scores({place: [v + gain for v in values] for place, values in PSNR.items()}, method, contrast="t1")
            for method, gain in gains.items()
        ]
        report = make_report(pd.concat([*tables, *scores]), models=make_models(*gains), **options)
        html = draw_page(report, f"the headline of {ODD}", pictures)
        return Page(html), report, html

    return make


def decode(address):
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))).convert("RGB")
    )


def test_the_page_is_well_formed_and_loads_nothing(make_page):
    cases = [make_case("typical", "a1"), make_case("worst", "b1")]
    page, _, html = make_page({"bicubic": 0, "mine": 1}, cases, curves=True)
    loads = [
        (tag, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action")
    ]
    assert len(page.pictures()) == 2 * (4 + 2)
    assert all(value.startswith("data:image/png" if tag == "img" else "#") for tag, value in loads)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    assert set(re.findall(r"url\((.)", html)) <= {"#"} and "@import" not in html
    assert not re.search(r"\bfetch\(|XMLHttpRequest|\bimport\b", html[html.rindex("<script>") :])


def test_names_are_shown_as_they_are_and_are_no_markup(make_page, make_scores):
    case = make_case("typical", f"{ODD}.nii", **{ODD: 0.5})
    options = {"left_out": {"fid": f"no {ODD}"}, "protocol": {"volumes": [f"{ODD}.nii"], "margin": None}}
    page, _, _ = make_page({"bicubic": 0, "mine": 0.5, ODD: 1}, [case], curves=True, **options)
    assert "b" not in {tag for tag, _ in page.elements}
    assert f"the headline of {ODD}" in page.texts["p"]
    assert f"Typical: {ODD}.nii, slice 7, scale 2" in page.texts["h3"]
    assert {f"no {ODD}", f"{ODD}.nii"} <= set(page.texts["dd"]) and f"method {ODD}" in page.texts["dt"]
    assert [cell[0] for cell in page.heads["By scale"][1]] == ["scale", *["bicubic", "mine", ODD] * 2]
    assert {ODD, f"error of {ODD}"} <= {attributes["alt"] for attributes in page.pictures()}
    assert ODD in page.texts["text"]


def test_the_tables_hold_the_means_and_intervals_of_the_report(make_page):
    page, report, _ = make_page({"bicubic": 0, "mine": 1.234})
    means = {(r["scale"], r["method"], r["measure"]): r for r in report["summary"]}
    for scale in ("2", "3.5", "mean"):
        (line,) = [line for line in page.tables["By scale"] if line[0][0] == scale]
        records = [means[scale, method, m] for m in ("psnr", "ssim") for method in ("bicubic", "mine")]
        digits = [2, 2, 4, 4]
        assert [cell[0] for cell in line[1:]] == [f"{r['mean']:.{d}f}" for r, d in zip(records, digits, strict=True)]
        assert [cell[2] for cell in line[1:]] == [
            f"{r['lower']:.{d}f} to {r['upper']:.{d}f}" for r, d in zip(records, digits, strict=True)
        ]
    assert page.rows("By scale")["mean"] == ["28.00", "29.23", "0.2800", "0.2923"]
    measures = page.rows("All measures")
    assert measures["PSNR, foreground (dB)"] == ["2", "25.00", "26.23"]
    assert measures["High-frequency energy / truth"] == ["2", "1.120", "1.169"]
    assert "MS-SSIM" not in measures
    assert page.rows("By subject") == {
        "a": ["26.00", "27.23", "0.2600", "0.2723", "0.5200", "0.5447"],
        "b": ["30.00", "31.23", "0.3000", "0.3123", "0.6000", "0.6247"],
    }
    (first, *_) = [line for line in page.tables["Tests"] if line[0][0] == "PSNR (dB)"]
    told = ["PSNR (dB)", "paper", "bicubic", "mine", "+1.23", "+1.23 to +1.23", "2 of 2", "-"]
    assert [cell[0] for cell in first] == told


def test_the_best_is_bold_be_it_high_low_or_closest_to_one(make_page):
    # High-frequency energy is the PSNR over 25: 1.12, 0.96 and 0.4 on average.
    page, _, _ = make_page({"mine": 0, "linear": -4, "bicubic": -18})
    best = page.best("All measures")
    assert best["PSNR (dB)"] == ["28.00"] and best["HaarPSI"] == ["0.5600"]
    assert best["High-frequency energy / truth"] == ["0.960"]
    assert best["Consistency (RMSE)"] == [min(page.rows("All measures")["Consistency (RMSE)"][1:])]
    assert page.best("By scale")["3.5"] == ["23.00", "0.2300"]
    assert page.best("By subject")["a"] == ["26.00", "0.2600", "0.5200"]


def test_a_single_method_is_not_the_best(make_page):
    page, _, _ = make_page({"mine": 0})
    assert not any(cell[1] for table in page.tables.values() for line in table for cell in line)
    assert "Tests" not in page.tables


def test_what_is_left_out_is_told_with_the_reason(make_page):
    page, _, _ = make_page({"mine": 0}, left_out={"fid": "no weights", "other": "why not"})
    told = dict(zip(page.texts["dt"], page.texts["dd"], strict=False))
    assert (told["FID"], told["other"]) == ("no weights", "why not")
    assert told["MS-SSIM"] == "no slice has 176 x 176 pixels"
    assert "Left out" in page.texts["h3"]


def test_volumes_that_failed_are_told_first(make_page):
    page, _, html = make_page({"mine": 0}, failed={"sub-1/t1.nii": f"it is {ODD}", "b.nii": "cut short"})
    assert page.texts["dt"][:2] == ["sub-1/t1.nii", "b.nii"] and page.texts["dd"][:2] == [f"it is {ODD}", "cut short"]
    assert "Left out, because they could not be evaluated:" in page.texts["p"]
    assert html.index("cut short") < html.index("By scale")
    assert "evaluated" not in make_page({"mine": 0})[2]


def test_degradations_are_compared_where_there_are_several(make_page, make_scores):
    gains = {"bicubic": 0, "mine": 1}
    elsewhere = [make_scores({("a", "a1", 2.0): [v]}, m, "psf") for m, v in (("bicubic", 50.0), ("mine", 40.0))]
    assert "Across degradations" not in make_page(gains)[0].tables
    page, _, _ = make_page(gains, scores=elsewhere)
    (head,) = page.heads["Across degradations"]
    assert [cell[0] for cell in head] == ["method", "trained for", "paper", "psf"]
    assert page.rows("Across degradations") == {
        "bicubic": ["-", "28.00", "0.2800", "50.00", "0.5000"],
        "mine": ["psf, kspace", "29.00", "0.2900", "40.00", "0.4000"],
    }
    best = page.best("Across degradations")
    assert (best["bicubic"], best["mine"]) == (["50.00", "0.5000"], ["29.00", "0.2900"])
    assert page.rows("By scale")["mean"][:2] == ["28.00", "29.00"]
    assert page.rows("Gain by degradation and scale") == {
        "paper": ["+1.00", "+1.00", "+1.00"],
        "psf": ["-10.00", "-", "-10.00"],
    }


def test_contrasts_have_a_table_where_there_are_several(make_page, make_scores):
    other = [make_scores({("c", "c1", 2.0): [v]}, m, contrast="t2") for m, v in (("bicubic", 11.0), ("mine", 12.0))]
    assert "By contrast" not in make_page({"bicubic": 0, "mine": 1})[0].tables
    page, _, _ = make_page({"bicubic": 0, "mine": 1}, scores=other)
    assert page.rows("By contrast") == {
        "t1": ["2", "28.00", "29.00", "0.2800", "0.2900"],
        "t2": ["1", "11.00", "12.00", "0.1100", "0.1200"],
    }


def test_distances_have_a_table_each(make_page):
    values = {
        ("fid", "bicubic", "2"): 12.34,
        ("fid", "mine", "2"): 5.67,
        ("fid", "bicubic", "1x4"): 20,
        ("fid", "mine", "1x4"): math.nan,
    }
    values |= {("mine too", "bicubic", "2"): 0.1, ("mine too", "mine", "2"): 0.2}
    values |= {("mine too", "bicubic", "1x4"): 0.3, ("mine too", "mine", "1x4"): -math.inf}
    distances = [
        {"degradation": "paper", "scale": scale, "method": method, "measure": measure, "value": value, "slices": 3}
        for (measure, method, scale), value in values.items()
    ]
    page, _, _ = make_page({"bicubic": 0, "mine": 1}, distances=distances)
    assert page.rows("FID") == {"paper, 2": ["3", "12.3", "5.7"], "paper, 1x4": ["3", "20.0", "-"]}
    assert page.best("FID") == {"paper, 2": ["5.7"], "paper, 1x4": ["20.0"]}
    assert page.rows("mine too")["paper, 2"] == ["3", "0.100", "0.200"]
    assert page.best("mine too")["paper, 1x4"] == ["-inf"]


def test_errors_have_one_colour_scale(make_page):
    cases = [make_case("typical", "a1"), make_case("typical", "c1", contrast="t2", bicubic=0.4, mine=0.59)]
    page, _, _ = make_page({"bicubic": 0, "mine": 1}, cases)
    errors = [decode(a["src"])[0, 0].astype(int) for a in page.pictures() if a["alt"].startswith("error of")]
    shown = [matplotlib.colormaps["magma"](level, bytes=True)[:3] for level in (0.5, 0.0, 1.0, 0.9)]
    assert abs(np.array(errors) - np.array(shown)).max() <= 3
    assert "0.1 and more" in page.texts["span"]


def test_a_case_shows_input_methods_and_truth_at_the_size_of_the_truth(make_page):
    page, _, _ = make_page({"bicubic": 0, "mine": 1}, [make_case("typical", "a1", mine=0.75)])
    images = page.pictures()[:4]
    assert [a["data-name"] for a in images] == ["input", "bicubic", "mine", "truth"]
    assert {(a["width"], a["height"], a["style"]) for a in images} == {("6", "4", "aspect-ratio: 6 / 4")}
    assert [decode(a["src"]).shape for a in images] == [(2, 3, 3), *[(4, 6, 3)] * 3]
    assert [decode(a["src"])[0, 0, 0] / 255 for a in images] == pytest.approx([0.4, 0.55, 0.75, 0.5], abs=0.005)
    captions = ["input", "bicubic, 26.0 dB", "mine, inf dB", "truth", "error of bicubic", "error of mine"]
    assert page.texts["figcaption"] == captions


def test_the_first_typical_case_of_each_contrast_and_scale_and_the_worst_of_each_scale_are_shown(make_page):
    cases = [
        make_case("worst", "a1", "2", -0.5),
        make_case("typical", "a1", "2"),
        make_case("typical", "a1", "4"),
        make_case("worst", "b1", "2", -1.5),
        make_case("typical", "b1", "2", -9),
        make_case("worst", "b1", "4", 3.0),
        make_case("worst", "c1", "2", 0.5, "t2"),
        make_case("typical", "c1", "2", contrast="t2"),
        make_case("worst", "c1", "4", 2.5, "t2"),
    ]
    page, _, _ = make_page({"bicubic": 0, "mine": 1}, cases)
    shown = ["Typical: a1, slice 7, scale 2", "Typical: a1, slice 7, scale 4", "Typical: c1, slice 7, scale 2"]
    shown += ["Worst: b1, slice 7, scale 2", "Worst: c1, slice 7, scale 4"]
    assert page.texts["h3"][: len(shown)] == page.texts["option"] == shown
    assert sum("least gain" in text for text in page.texts["p"]) == 2
    assert "Compare" not in make_page({"bicubic": 0, "mine": 1})[0].texts["h2"]


def test_there_are_not_too_many_cases(make_page):
    cases = [make_case("typical", "a1", contrast=f"contrast {i}") for i in range(MAX_CASES + 3)]
    assert len(make_page({"bicubic": 0, "mine": 1}, cases)[0].texts["option"]) == MAX_CASES


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
def test_in_a_browser_the_images_can_be_compared_and_nothing_overflows(make_page, tmp_path):
    long = "sub-01_" + "acquisition" * 12 + "_T1w.nii.gz"
    cases = [make_case("typical", long, mine=0.45), make_case("worst", long)]
    options = {"left_out": {"fid": "x" * 200}, "protocol": {"volumes": [long]}}
    _, _, html = make_page({"bicubic": 0, "mine": 1}, cases, curves=True, **options)
    measure = (
        "<script>addEventListener('load', () => { const root = document.documentElement;"
        " document.title = [root.scrollWidth, innerWidth, document.getElementById('over').src.length,"
        " document.getElementById('viewer').clientHeight].join(' '); });</script>"
    )
    (tmp_path / "page.html").write_text(html.replace("</body>", f"{measure}</body>"), encoding="utf-8")
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    done = subprocess.run(
        [
            BROWSER,
            *f"--headless --no-sandbox {quiet} --disable-sync --window-size=500,900 --dump-dom".split(),
            f"--user-data-dir={tmp_path / 'profile'}",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    dom = done.stdout
    width, window, source, height = map(int, re.search(r"<title>(.*?)</title>", dom)[1].split())
    assert width <= window == 500
    assert source > 100 and height > 100
    options = ["input", "bicubic", "mine", "truth"]
    for name in ("left", "right"):
        select = re.search(rf'<select id="{name}">(.*?)</select>', dom)[1]
        assert re.findall(r'<option value="(.*?)">', select) == options
    assert re.search(r'<img id="over"[^>]*clip-path: inset\(0px 50% 0px 0px\)', dom)
    assert 'id="line" style="left: 50%;"' in dom
    sources = {name: re.search(rf'<img src="([^"]*)"[^>]*data-name="{name}"', dom)[1] for name in options}
    assert [re.search(rf'<img id="{name}"[^>]*src="(.*?)"', dom)[1] for name in ("over", "under")] == [
        sources["bicubic"],
        sources["mine"],
    ]
