import math
from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from miassr_monai.metrics import MIN_SUBJECTS, bootstrap_interval, holm, paired_tests

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_interval_is_that_of_means_of_values_drawn_again(confidence):
    values = np.random.default_rng(1).gamma(0.5, size=15)
    generator = np.random.default_rng(99)
    means = [generator.choice(values, len(values)).mean() for _ in range(20_000)]
    truth = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    # Twice 4 standard deviations of a quantile of 9999 draws, whose spread is that of the mean.
    np.testing.assert_allclose(
        bootstrap_interval(values, confidence=confidence), truth, rtol=0, atol=0.15 * np.std(means)
    )
    assert truth[0] < values.mean() < truth[1]


def test_of_yes_and_no_the_interval_is_that_of_a_binomial_distribution():
    # The mean of n draws from k ones among n values is Binomial(n, k / n) / n; the limits are away from its steps.
    for ones, count, confidence in ((19, 38, 0.95), (9, 31, 0.9), (1, 2, 0.95), (1, 2, 0.4)):
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        steps = stats.binom(count, ones / count).cdf(np.arange(count))
        assert min(abs(steps - tail).min() for tail in tails) > 0.008
        expected = stats.binom(count, ones / count).ppf(tails) / count
        values = [1.0] * ones + [0.0] * (count - ones)
        assert bootstrap_interval(values, confidence=confidence) == pytest.approx(expected, abs=1e-12)


def test_of_many_values_the_interval_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).exponential(size=900)
    error = values.std() / math.sqrt(len(values))
    lower, upper = bootstrap_interval(values)
    assert lower == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert upper == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_is_the_same_each_time_and_differs_by_seed():
    values = np.random.default_rng(0).standard_normal(9).tolist()
    first = bootstrap_interval(values)
    assert first == bootstrap_interval(values, seed=0) == bootstrap_interval(np.array(values))
    assert first != bootstrap_interval(values, seed=1)
    assert first == pytest.approx(bootstrap_interval(values, seed=1), abs=0.05)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_of_fewer_than_two_values_there_is_no_interval(values):
    lower, upper = bootstrap_interval(values)
    assert math.isnan(lower) and math.isnan(upper)


@pytest.mark.parametrize("count", [2, 7])
def test_equal_values_have_an_interval_of_no_width(count):
    assert bootstrap_interval([2.5] * count) == (2.5, 2.5)


def test_holms_correction_is_that_of_a_computation_by_hand():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)
    assert holm([0.2, 0.9, 0.4]) == pytest.approx([0.6, 0.9, 0.8], rel=1e-12)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@settings(deadline=None, max_examples=60)
@given(P_VALUES)
def test_holms_correction_is_the_closed_test_of_bonferronis(p_values):
    # A hypothesis is rejected when Bonferroni's test rejects every set of hypotheses that holds it.
    count = range(len(p_values))
    sets = list(chain.from_iterable(combinations(count, size + 1) for size in count))
    truth = [max(min(1, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in count]
    assert holm(p_values) == pytest.approx(truth, rel=1e-12, abs=0)


@settings(deadline=None, max_examples=60)
@given(P_VALUES, st.randoms(use_true_random=False))
def test_holms_correction_raises_p_keeps_the_order_and_follows_permutations(p_values, random):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for (p, a), (q, b) in product(zip(p_values, adjusted, strict=True), repeat=2):
        assert a <= b if p <= q else True
    order = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


def subjects(values):
    return {f"sub-{i:02d}": float(value) for i, value in enumerate(values)}


def compare(first, second):
    """The test of a pair of methods, their values by subject."""
    (test,) = paired_tests({"a": first, "b": second})
    return test


def by_enumeration(differences):
    """Two-sided p-value of the signed ranks: all signs are as likely."""
    ranks = stats.rankdata(np.abs(differences))
    found = abs(np.sum(ranks * np.sign(differences)))
    signs = np.array(list(product((-1, 1), repeat=len(ranks))))
    return np.mean(np.abs(signs @ ranks) >= found - 1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [6, 9])
def test_p_is_that_of_all_signs_of_the_differences(count, seed):
    generator = np.random.default_rng(seed)
    first, second = generator.standard_normal(count), generator.standard_normal(count) + 0.5
    test = compare(subjects(first), subjects(second))
    assert test["p"] == pytest.approx(by_enumeration(second - first), rel=1e-12)
    assert test["p_holm"] == test["p"]


@pytest.mark.parametrize("count", [MIN_SUBJECTS, 7, 12])
@pytest.mark.parametrize("sign", [1, -1])
def test_where_all_subjects_agree_p_is_two_of_all_signs(count, sign):
    values = np.random.default_rng(count).random(count)
    better = values + sign * np.linspace(0.1, 0.3, count)
    test = compare(subjects(values), subjects(better))
    assert test["p"] == pytest.approx(2 / 2**count, rel=1e-12)
    assert test["better"] == (count if sign == 1 else 0)
    assert test["difference"] == pytest.approx(sign * 0.2, rel=1e-9)


def test_of_many_subjects_p_is_scipys():
    generator = np.random.default_rng(3)
    first, second = generator.standard_normal(70), generator.standard_normal(70) + 0.3
    test = compare(subjects(first), subjects(second))
    assert test["p"] == pytest.approx(stats.wilcoxon(first, second).pvalue, rel=1e-12)
    # The normal approximation, by its formula.
    ranks, n = stats.rankdata(np.abs(second - first)), 70
    z = (ranks[second > first].sum() - n * (n + 1) / 4) / math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    assert test["p"] == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)


def test_with_too_few_subjects_there_is_no_p():
    assert 2 / 2 ** (MIN_SUBJECTS - 1) > 0.05 > 2 / 2**MIN_SUBJECTS
    few = MIN_SUBJECTS - 1
    test = compare(subjects(range(few)), subjects(range(1, few + 1)))
    assert (test["subjects"], test["p"], test["p_holm"]) == (few, None, None)
    assert (test["difference"], test["lower"], test["upper"], test["better"]) == (1, 1, 1, few)


def test_only_subjects_that_both_have_count_whatever_their_order():
    generator = np.random.default_rng(4)
    first, second = subjects(generator.random(9)), subjects(generator.random(9))
    both = {"a": first, "b": second}
    expected = paired_tests(
        {name: {s: v for s, v in m.items() if s not in ("sub-01", "sub-05")} for name, m in both.items()}
    )
    del first["sub-01"], second["sub-05"]
    turned = dict(reversed(second.items()))
    assert paired_tests({"a": first, "b": turned}) == expected
    assert expected[0]["subjects"] == 7


def test_subjects_that_neither_share_give_nothing():
    test = compare({"x": 1.0}, {"y": 2.0})
    assert (test["subjects"], test["better"], test["p"], test["p_holm"]) == (0, 0, None, None)
    assert all(math.isnan(test[name]) for name in ("difference", "lower", "upper"))


def test_values_that_are_not_there_are_left_out():
    generator = np.random.default_rng(5)
    first, second = generator.random(10), generator.random(10)
    expected = compare(subjects(first[:7]), subjects(second[:7]))
    first[7:], second[7:] = (math.nan, 1.0, math.inf), (1.0, math.nan, math.inf)
    test = compare(subjects(first), subjects(second))
    assert test == expected and test["subjects"] == 7


def test_where_no_subject_differs_p_is_one():
    same = subjects(range(8))
    test = compare(same, dict(same))
    assert {name: test[name] for name in ("difference", "lower", "upper", "better", "p", "p_holm")} == {
        "difference": 0,
        "lower": 0,
        "upper": 0,
        "better": 0,
        "p": 1,
        "p_holm": 1,
    }


def test_better_counts_the_subjects_where_the_second_is_larger():
    test = compare(subjects([0] * 8), subjects([1, 2, -1, 0, 0, 3, -2, 5]))
    assert test["better"] == 4
    assert test["difference"] == pytest.approx(1.0)


def test_the_difference_has_the_interval_of_the_bootstrap():
    generator = np.random.default_rng(6)
    first, second = generator.random(11), generator.random(11) + 0.2
    test = compare(subjects(first), subjects(second))
    assert (test["lower"], test["upper"]) == pytest.approx(bootstrap_interval(second - first), rel=1e-12)
    assert test["difference"] == pytest.approx(np.mean(second - first), rel=1e-12)
    assert test["lower"] < test["difference"] < test["upper"]


def test_every_pair_is_tested_once_and_corrected_for_the_number_of_tests_that_were_made():
    generator = np.random.default_rng(7)
    values = {name: subjects(generator.random(9) + shift) for name, shift in (("a", 0), ("b", 0.2), ("c", 0.6))}
    values["few"] = dict(list(values["a"].items())[:3])
    tests = paired_tests(values)
    assert [(test["first"], test["second"]) for test in tests] == list(combinations(("a", "b", "c", "few"), 2))
    made = [test for test in tests if test["second"] != "few"]
    differences = [np.subtract(*(list(values[test[key]].values()) for key in ("second", "first"))) for test in made]
    p_values = [by_enumeration(d) for d in differences]
    assert [test["p"] for test in made] == pytest.approx(p_values, rel=1e-12)
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(np.array(p_values)[order] * [3, 2, 1]).clip(max=1)
    assert [made[i]["p_holm"] for i in order] == pytest.approx(steps, rel=1e-12)
    assert all(test["p"] is test["p_holm"] is None for test in tests if test["second"] == "few")
