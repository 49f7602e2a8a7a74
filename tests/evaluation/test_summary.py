import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from miassr_monai.evaluation import compare_methods, subject_means, summarize
from miassr_monai.metrics import SLICE_MEASURES, bootstrap_interval

# Subject b has two volumes with unequal numbers of slices, one of which has no number at scale 3.
UNEQUAL = {
    ("b", "b1", 2.0): [10.0, 20.0],
    ("b", "b2", 2.0): [30.0],
    ("b", "b1", 3.0): [1.0, 2.0, 6.0],
    ("b", "b2", 3.0): [math.inf],
    ("a", "a1", 2.0): [40.0],
    ("a", "a1", 3.0): [8.0, 10.0],
}


def find(records, **wanted):
    (found,) = [record for record in records if all(record[key] == value for key, value in wanted.items())]
    return found


def test_slices_are_averaged_to_volumes_then_subjects_then_over_scales(make_scores):
    means = subject_means(make_scores(UNEQUAL))["psnr"]
    assert means.index.names == ["degradation", "scale", "method", "subject"]
    expected = {
        # (15 + 30) / 2, not the 20 of all slices.
        ("2", "b"): 22.5,
        ("3", "b"): 3.0,
        # Not the (9 + 30) / 2 of volumes over scales.
        ("mean", "b"): 12.75,
        ("2", "a"): 40.0,
        ("3", "a"): 9.0,
        # Not the 58 / 3 of all slices.
        ("mean", "a"): 24.5,
    }
    assert {(scale, subject): value for (_, scale, _, subject), value in means.items()} == expected


def test_the_mean_of_subjects_is_that_of_subjects_and_not_of_volumes_or_slices(make_scores):
    records = summarize(make_scores(UNEQUAL))
    means = [find(records, scale=scale, measure="psnr")["mean"] for scale in ("2", "3", "mean")]
    assert means == pytest.approx([31.25, 6.0, 18.625])
    assert [(record["scale"], record["measure"]) for record in records] == [
        (scale, measure) for scale in ("2", "3", "mean") for measure in SLICE_MEASURES
    ]


@pytest.mark.parametrize("missing", [math.inf, math.nan, -math.inf])
def test_what_is_not_finite_is_left_out(make_scores, missing):
    scores = make_scores({("a", "a1", 2.0): [10.0, 30.0, 50.0], ("b", "b1", 2.0): [7.0]})
    scores.loc[1, "psnr"] = missing
    records = summarize(scores)
    assert find(records, scale="2", measure="psnr")["mean"] == pytest.approx((30 + 7) / 2)
    assert find(records, scale="2", measure="ssim")["mean"] == pytest.approx((0.3 + 0.07) / 2)


def test_a_subject_without_a_number_at_one_scale_has_no_mean_over_the_scales(make_scores):
    psnr = {("a", "a1", 2.0): [10.0], ("a", "a1", 3.0): [math.inf], ("b", "b1", 2.0): [30.0], ("b", "b1", 3.0): [6.0]}
    records = summarize(make_scores(psnr, haarpsi=0.5))
    found = {scale: find(records, scale=scale, measure="psnr") for scale in ("2", "3", "mean")}
    assert {scale: record["mean"] for scale, record in found.items()} == {"2": 20.0, "3": 6.0, "mean": 18.0}
    assert {scale: record["subjects"] for scale, record in found.items()} == {"2": 2, "3": 1, "mean": 1}
    assert find(records, scale="mean", measure="haarpsi")["subjects"] == 2


def test_a_measure_that_nobody_has_is_no_number(make_scores):
    record = find(summarize(make_scores(UNEQUAL)), scale="mean", measure="ms_ssim")
    assert math.isnan(record["mean"]) and math.isnan(record["lower"]) and record["subjects"] == 0


def test_methods_and_degradations_are_kept_apart(make_scores):
    parts = {("one", "paper"): 10.0, ("two", "paper"): 20.0, ("one", "psf"): 30.0, ("two", "psf"): 40.0}
    scores = pd.concat(
        make_scores({("a", "a1", 2.0): [value], ("b", "b1", 2.0): [value + 2]}, *place)
        for place, value in parts.items()
    )
    records = summarize(scores)
    for (method, degradation), value in parts.items():
        place = {"method": method, "degradation": degradation, "measure": "psnr"}
        assert find(records, scale="2", **place)["mean"] == find(records, scale="mean", **place)["mean"] == value + 1


def test_volumes_and_slices_are_counted_once_for_all_scales(make_scores):
    scales = {
        (subject, volume, scale): [10.0 + scale] * slices
        for scale in (2.0, 3.0, 4.0)
        for subject, volume, slices in (("a", "a1", 2), ("a", "a2", 3), ("b", "b1", 4))
    }
    fewer = {place: values for place, values in scales.items() if place[0] == "b"}
    records = summarize(pd.concat([make_scores(scales, "one"), make_scores(fewer, "two")]))
    counts = {(r["method"], r["subjects"], r["volumes"], r["slices"]) for r in records if r["measure"] == "psnr"}
    assert counts == {("one", 2, 3, 9), ("two", 1, 1, 4)}


def test_intervals_are_those_of_the_means_of_subjects(make_scores):
    records = summarize(make_scores(UNEQUAL))
    for scale, values in {"2": [22.5, 40.0], "mean": [12.75, 24.5]}.items():
        record = find(records, scale=scale, measure="psnr")
        assert (record["lower"], record["upper"]) == pytest.approx(bootstrap_interval(values))
    single = find(summarize(make_scores({("a", "a1", 2.0): [3.0]})), scale="2", measure="psnr")
    assert single["mean"] == 3 and math.isnan(single["lower"]) and math.isnan(single["upper"])


def paired(make_scores, subjects, degradation="paper"):
    """Scores of two methods, each subject with two volumes of unequal numbers of slices; and its means by hand."""
    generator = np.random.default_rng(0)
    scores, means = [], {}
    for method, better in (("old", 0.0), ("new", 0.4)):
        psnr, means[method] = {}, []
        for subject in range(subjects):
            over_scales = []
            for scale in (2.0, 3.5):
                volumes = [(30 + better + generator.normal(0, 0.5, slices)).tolist() for slices in (1, 3)]
                psnr |= {(f"s{subject}", f"s{subject}/{i}", scale): values for i, values in enumerate(volumes)}
                over_scales.append((sum(volumes[0]) + sum(volumes[1]) / 3) / 2)
            means[method].append(sum(over_scales) / 2)
        scores.append(make_scores(psnr, method, degradation))
    return pd.concat(scores), np.array(means["new"]) - np.array(means["old"])


def test_methods_are_tested_by_the_means_of_subjects_over_the_scales(make_scores):
    scores, differences = paired(make_scores, 7)
    (test,) = compare_methods(scores, ["old", "new"], ["psnr"])
    assert test["p"] == test["p_holm"] == pytest.approx(wilcoxon(differences).pvalue)
    assert test["difference"] == pytest.approx(differences.mean())
    assert (test["subjects"], test["better"]) == (7, (differences > 0).sum())
    assert 0 < test["better"] < 7 and test["p"] < 1
    assert (test["lower"], test["upper"]) == pytest.approx(bootstrap_interval(differences))
    assert (test["first"], test["second"], test["measure"], test["degradation"]) == ("old", "new", "psnr", "paper")


def test_fewer_than_six_subjects_are_not_tested(make_scores):
    scores, differences = paired(make_scores, 5)
    (test,) = compare_methods(scores, ["old", "new"], ["psnr"])
    assert test["p"] is None and test["p_holm"] is None
    assert test["difference"] == pytest.approx(differences.mean())


def test_every_measure_is_tested_under_every_degradation_in_the_order_of_the_methods(make_scores):
    scores = pd.concat([paired(make_scores, 6)[0], paired(make_scores, 6, "psf")[0]])
    tests = compare_methods(scores, ["new", "old"], ["psnr", "ssim"])
    places = [(test["degradation"], test["measure"], test["first"], test["second"]) for test in tests]
    assert places == [(d, m, "new", "old") for d in ("paper", "psf") for m in ("psnr", "ssim")]
    differences = paired(make_scores, 6)[1]
    assert [test["difference"] for test in tests] == pytest.approx([-differences.mean(), -differences.mean() / 100] * 2)
