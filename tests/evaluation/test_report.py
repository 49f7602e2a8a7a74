import json
import math
import os

import pandas as pd
import pytest

from miassr_monai.evaluation import make_report, report_table, write_report
from miassr_monai.metrics import SLICE_MEASURES

pytestmark = pytest.mark.usefixtures("quick_intervals")
PSNR = {
    ("a", "a1", 2.0): [30.0, 32.0],
    ("b", "b1", 2.0): [35.0],
    ("a", "a1", 3.5): [20.0, 22.0],
    ("b", "b1", 3.5): [25.0],
}


def better(psnr, gain):
    return {place: [value + gain for value in values] for place, values in psnr.items()}


@pytest.fixture
def make_case(make_scores, make_models):
    """Function that makes the report and the scores of methods whose PSNR differs by gains."""

    def make(gains, psnr=PSNR, **options):
        scores = pd.concat([make_scores(better(psnr, gain), method, contrast="t1") for method, gain in gains.items()])
        return make_report(scores, models=make_models(*gains), **options), scores.reset_index(drop=True)

    return make


def headline(report):
    return report_table(report).splitlines()[-1]


def test_the_table_has_a_line_for_each_scale(make_case):
    report, _ = make_case({"bicubic": 0, "a-method-with-a-name": 1.5})
    assert report_table(report).splitlines() == [
        "scale               bicubic  a-method-with-a-name",
        "               PSNR    SSIM          PSNR    SSIM",
        "2             33.00  0.3300         34.50  0.3450",
        "3.5           23.00  0.2300         24.50  0.2450",
        "mean          28.00  0.2800         29.50  0.2950",
        "",
        "a-method-with-a-name against bicubic: +1.50 dB PSNR (95 % interval +1.50 to +1.50), paper degradation, "
        "2 subjects, better in 2 of 2. With fewer than 6 subjects no test is meaningful.",
    ]


def test_the_gain_under_each_degradation_at_each_scale_is_told(make_scores, make_models):
    worse = {place: [value - 0.5 for value in values] for place, values in PSNR.items()}
    scores = pd.concat(
        [
            make_scores(PSNR, "bicubic"),
            make_scores(better(PSNR, 1.25), "model"),
            make_scores(PSNR, "bicubic", degradation="psf:noise=0.08"),
            make_scores(worse, "model", degradation="psf:noise=0.08"),
        ]
    )
    report = make_report(scores, models=make_models("bicubic", "model"))
    assert report_table(report).splitlines()[-4:] == [
        "PSNR (dB) gained by model over bicubic:",
        "                     2     3.5    mean",
        "paper            +1.25   +1.25   +1.25",
        "psf:noise=0.08   -0.50   -0.50   -0.50",
    ]


def test_long_scales_have_room_and_failures_are_told(make_scores, make_models):
    scores = make_scores({("a", "a1", (1.0, 2.375)): [30.0], ("a", "a1", (1.0, 1.0, 4.0)): [20.0]})
    report = make_report(scores, models=make_models("model"), failed={"b/b1.nii": "it is cut short: copy it again."})
    assert report_table(report).splitlines() == [
        "scale             model",
        "           PSNR    SSIM",
        "1x2.375   30.00  0.3000",
        "1x1x4     20.00  0.2000",
        "mean      25.00  0.2500",
        "",
        "model: 25.00 dB PSNR on average over the scales (paper degradation, 1 subject).",
        "b/b1.nii is left out: it is cut short: copy it again.",
    ]


def test_the_headline_of_one_method_is_its_mean(make_case):
    assert headline(make_case({"mine": 0})[0]) == (
        "mine: 28.00 dB PSNR on average over the scales (paper degradation, 2 subjects)."
    )


@pytest.mark.parametrize(
    "gains, said",
    [
        ({"linear": -2, "bicubic": 0, "mine": 1}, "mine against bicubic: +1.00 dB"),
        ({"linear": -2, "other": 0, "mine": 1}, "mine against linear: +3.00 dB"),
        ({"linear": 1, "bicubic": 0}, "bicubic against linear: -1.00 dB"),
    ],
)
def test_the_headline_compares_the_last_method_with_bicubic_or_the_first(make_case, gains, said):
    assert headline(make_case(gains)[0]).startswith(said)


def test_the_headline_of_one_subject_has_no_interval(make_case):
    report, _ = make_case({"bicubic": 0, "mine": 0.5}, {("a", "a1", 2.0): [30.0]})
    assert headline(report).startswith("mine against bicubic: +0.50 dB PSNR, paper degradation, 1 subject, better in 1")


def test_the_headline_of_six_subjects_tells_the_corrected_p(make_case):
    psnr = {(f"s{i}", f"s{i}/t1", 2.0): [30.0 + i] for i in range(6)}
    report, _ = make_case({"linear": 0, "bicubic": 0.1, "mine": 0.4}, psnr)
    # The least that six pairs can give, 2 / 2^6, three times.
    assert headline(report).endswith("6 subjects, better in 6 of 6. Wilcoxon, Holm-corrected: p = 0.094.")


def test_table_and_headline_are_about_the_first_degradation(make_scores, make_models):
    parts = {"psf": {"bicubic": 0, "mine": 1}, "paper": {"bicubic": -9, "mine": 9}}
    scores = pd.concat(make_scores(better(PSNR, g), m, d) for d, gains in parts.items() for m, g in gains.items())
    report = make_report(scores, models=make_models("bicubic", "mine"))
    lines = report_table(report).splitlines()
    assert report["degradation"] == "psf"
    assert lines[4].split() == ["mean", "28.00", "0.2800", "29.00", "0.2900"]
    assert lines[6].startswith("mine against bicubic: +1.00 dB PSNR (95 % interval +1.00 to +1.00), psf degradation")


def test_subjects_have_their_means_under_the_first_degradation(make_scores, make_models):
    scores = pd.concat([make_scores(PSNR), make_scores(better(PSNR, 5), degradation="psf")])
    records = make_report(scores, models=make_models("model"))["subjects"]
    assert [(r["subject"], r["method"]) for r in records] == [("a", "model"), ("b", "model")]
    assert [r["psnr"] for r in records] == pytest.approx([26, 30])
    assert [r["ssim"] for r in records] == pytest.approx([0.26, 0.3])
    assert [r["haarpsi"] for r in records] == pytest.approx([0.52, 0.6])


def test_contrasts_are_told_apart_where_there_is_more_than_one(make_scores, make_models):
    t1 = make_scores(PSNR, contrast="t1")
    t2 = make_scores({("a", "a2", 2.0): [11.0], ("a", "a2", 3.5): [13.0]}, contrast="t2")
    models = make_models("model")
    assert make_report(t1, models=models)["contrasts"] == []
    elsewhere = make_scores(better(PSNR, 5), degradation="psf", contrast="t2")
    records = make_report(pd.concat([t1, t2, elsewhere]), models=models)["contrasts"]
    found = {
        (r["contrast"], r["scale"]): (r["mean"], r["volumes"])
        for r in records
        if r["measure"] == "psnr" and r["degradation"] == "paper"
    }
    assert len(records) == 2 * 3 * len(SLICE_MEASURES)
    assert found == {
        **{("t1", scale): (mean, 2) for scale, mean in (("2", 33.0), ("3.5", 23.0), ("mean", 28.0))},
        **{("t2", scale): (mean, 1) for scale, mean in (("2", 11.0), ("3.5", 13.0), ("mean", 12.0))},
    }


def test_a_measure_that_no_slice_has_is_left_out_with_a_reason(make_case, make_scores, make_models):
    report, _ = make_case({"mine": 0}, left_out={"fid": "no weights"})
    assert report["left_out"] == {"fid": "no weights", "ms_ssim": "no slice has 176 x 176 pixels"}
    scores = make_scores(PSNR)
    scores.loc[0, "ms_ssim"] = 0.9
    assert make_report(scores, models=make_models("model"))["left_out"] == {}


def test_the_report_tells_what_the_methods_are_and_how_it_was_made(make_case):
    report, _ = make_case({"bicubic": 0, "mine": math.inf}, protocol={"axcodes": "RAS"})
    assert report["methods"] == [
        {"name": "bicubic", "model": "network of bicubic", "sha256": None, "trained_for": {}},
        {
            "name": "mine",
            "model": "network of mine",
            "sha256": "12ab",
            "trained_for": {"degradations": ["psf", "kspace"]},
        },
    ]
    assert report["protocol"]["axcodes"] == "RAS" and report["protocol"]["infinite_psnr"] == 6


def strict(name):
    raise AssertionError(f"{name} is not JSON")


def test_the_written_files_hold_every_slice_and_no_other_number(make_case, tmp_path, capsys):
    distances = [{"degradation": "paper", "scale": "2", "measure": "frd", "value": -math.inf, "slices": 3}]
    distances = [distances[0] | {"method": "bicubic"}, distances[0] | {"method": "mine", "value": 2 / 3}]
    report, scores = make_case({"bicubic": 0, "mine": 1 / 3}, distances=distances)
    scores.loc[2, "psnr"] = math.inf
    write_report(tmp_path / "new" / "folder", report, scores)
    files = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(files) == {"report.csv", "report.json", "report.txt", "report.html"}
    read = pd.read_csv(tmp_path / "new/folder/report.csv", dtype={"scale": str})
    pd.testing.assert_frame_equal(read, scores, rtol=1e-14, atol=0, check_dtype=False)
    assert files["report.txt"] == capsys.readouterr().out == report_table(report) + "\n"
    content = json.loads(files["report.json"], parse_constant=strict)
    slices = content.pop("slices")
    assert list(slices) == list(scores) and all(len(column) == len(scores) for column in slices.values())
    assert slices["psnr"] == [*scores["psnr"][:2], "Infinity", *scores["psnr"][3:]]
    assert slices["ms_ssim"] == [None] * len(scores)
    assert [row["value"] for row in content["distances"]] == ["-Infinity", 2 / 3]
    means = [None if math.isnan(row["mean"]) else row["mean"] for row in report["summary"]]
    assert [row["mean"] for row in content["summary"]] == means and None in means
    assert content["tests"] == json.loads(json.dumps(report["tests"]))
    assert content["protocol"] == report["protocol"]


@pytest.mark.parametrize("broken", ["report.csv", "report.json", "report.html", "report.txt"])
def test_a_file_that_cannot_be_written_stays_as_it_was(make_case, tmp_path, monkeypatch, broken):
    for name in ("report.csv", "report.json", "report.html", "report.txt"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr("miassr_monai.evaluation.page.draw_curves", lambda *_: "<svg></svg>")
    replace = os.replace

    def fail(source, target):
        if target.name == broken:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=rf"{broken} cannot be written \(No space left on device\)"):
        write_report(tmp_path, *make_case({"mine": 0}))
    assert (tmp_path / broken).read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.csv", "report.json", "report.html", "report.txt"}
    assert all(path.read_text() == "old" or len(path.read_text()) > 50 for path in tmp_path.iterdir())
