from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from throughtime.study.judge import paired
from throughtime.study.verdict import Interval

DIFFERENCES = {
    "six": [0.03, 0.01, -0.02, 0.05, 0.04, 0.02],
    "ties": [0.01, 0.01, 0.0, -0.01, 0.02, 0.01, 0.01],
    "one sign": [0.1, 0.2, 0.3, 0.4, 0.5],
    "one": [0.3],
    "nothing": [0.0] * 6,
    "ten": list(np.random.default_rng(1).normal(0.4, 1, 10)),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_sign_flip_against_brute_force(name):
    d = np.array(DIFFERENCES[name])
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True)))
        for signs in product((1, -1), repeat=len(d))
    ]
    brute = np.mean([s >= abs(d.sum()) - 1e-12 for s in sums])
    assert paired.sign_flip(d) == pytest.approx(brute)


def test_sign_flip_by_hand():
    # 1 + 2 + 4 = 7 of the patterns of (1, 2, 4): only +++ and --- reach 7.
    assert paired.sign_flip(np.array([1.0, 2, 4])) == 2 / 8
    # 4 + 2 - 1 = 5: reached by ++-, +++ and their opposites.
    assert paired.sign_flip(np.array([-1.0, 2, 4])) == 4 / 8


def test_sign_flip_of_many_pairs_is_drawn_close_to_the_exact_one_and_never_zero():
    d = np.random.default_rng(2).normal(0.55, 1, 16)
    signs = np.array(list(product((1, -1), repeat=15)))
    signs = np.c_[np.ones(len(signs)), signs]
    exact = (np.abs(signs @ d) >= abs(d.sum()) - 1e-12).mean()
    assert 0.01 < exact < 0.2
    assert paired.sign_flip(d) == pytest.approx(exact, abs=0.01)
    assert paired.sign_flip(d) == paired.sign_flip(d)
    assert paired.sign_flip(np.full(40, 0.1)) >= 1 / 2**paired.MOST_PAIRS_EXACT / 2


@pytest.mark.parametrize("pairs", [1, 2, 5, 14])
def test_sign_patterns_are_all_there_once(pairs):
    signs = paired.sign_patterns(pairs)
    assert signs.shape == (2 ** (pairs - 1), pairs)
    assert len({tuple(row) for row in np.r_[signs, -signs]}) == 2**pairs
    assert (signs[0] == 1).all()


def test_sign_patterns_of_many_pairs_are_drawn_with_the_observed_one():
    signs = paired.sign_patterns(15)
    assert signs.shape == (2**14, 15)
    assert (signs[0] == 1).all()
    assert np.abs(signs[:, 1:].mean(0)).max() < 0.04


def test_holm_by_hand():
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.holm([]) == []
    assert paired.holm([0.7, 0.6]) == [1.0, 1.0]


@pytest.mark.parametrize("arms", range(1, 10))
def test_holm_against_statsmodels(arms):
    for p_values in np.random.default_rng(arms).uniform(0, 0.2, (5, arms)).round(2):
        known = multipletests(p_values, method="holm")[1]
        assert paired.holm(list(p_values)) == pytest.approx(list(known))


@pytest.mark.parametrize("trials", [1, 5, 10, 37])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_exact_share_against_scipy(trials, level):
    for successes in range(trials + 1):
        known = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
        found = paired.exact_share(successes, trials, level)
        assert (found.low, found.high) == pytest.approx((known.low, known.high))
        assert found.level == level


def test_ties_lie_between_the_whole_counts():
    fewer, half, more = (paired.exact_share(k, 10, 0.95) for k in (6, 6.5, 7))
    assert fewer.low < half.low < more.low
    assert fewer.high < half.high < more.high


def test_the_share_with_ties_covers_the_truth():
    draw = np.random.default_rng(0)
    outcomes = draw.choice((0.0, 0.5, 1.0), p=(0.2, 0.3, 0.5), size=(2000, 10)).sum(1)
    found = {k: paired.exact_share(k, 10, 0.95) for k in set(outcomes)}
    assert np.mean([found[k].low <= 0.65 <= found[k].high for k in outcomes]) >= 0.95


@pytest.mark.parametrize("name", ["six", "ten"])
def test_the_interval_is_the_wider_of_bca_and_the_exact_one(name):
    d = np.array(DIFFERENCES[name])
    bca = stats.bootstrap(
        (d,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = paired.subset_interval(d, 0.95)
    found = paired.mean_interval(d, 0.95)
    assert (found.low, found.high) == pytest.approx((min(bca.low, low), max(bca.high, high)))


def test_the_exact_interval_by_hand():
    # Of 2^6 pieces 0.025 is 1.6: the ends are the smallest and the largest subset mean.
    assert paired.subset_interval(np.array([3.0, 1, 6, 2, 5, 4]), 0.95) == (1.0, 6.0)
    # Of 2^7 it is 3.2: the third from each end; 1, (1 + 2) / 2, 2 and 64, (64 + 32) / 2, 40.
    low, high = paired.subset_interval(np.array([1.0, 2, 4, 8, 16, 32, 64]), 0.95)
    assert (low, high) == (2.0, (64 + 16) / 2)


@pytest.mark.parametrize("pairs", [6, 8, 11])
def test_the_exact_interval_holds_the_means_that_the_test_does_not_reject(pairs):
    d = np.random.default_rng(pairs).normal(0.3, 1, pairs)
    low, high = paired.subset_interval(d, 0.95)
    width = high - low
    for inside in (low + 1e-6 * width, high - 1e-6 * width):
        assert paired.sign_flip(d - inside) > 0.05
    for outside in (low - 1e-6 * width, high + 1e-6 * width):
        assert paired.sign_flip(d - outside) <= 0.05


def test_the_exact_interval_of_many_values_is_drawn_close_to_students():
    d = np.random.default_rng(8).normal(0.3, 1, 40)
    t = stats.ttest_1samp(d, 0).confidence_interval()
    assert paired.subset_interval(d, 0.95) == pytest.approx((t.low, t.high), abs=0.03)
    low, high = paired.subset_interval(np.arange(15.0), 0.95)
    assert 0 < low < 7 < high < 14


def test_one_outlier_in_favour_widens_the_interval_on_its_side_only():
    d = np.r_[np.linspace(0.04, 0.06, 9), 0.85]
    found = paired.mean_interval(d, 0.95)
    assert 0.04 < found.low < 0.05
    assert found.high > 0.3
    assert stats.ttest_1samp(d, 0).confidence_interval().low < 0


def test_intervals_without_noise_or_without_values():
    assert paired.mean_interval(np.full(6, 0.25), 0.95) == Interval(0.25, 0.25, 0.95)
    for values in ([], [1.0], [math.nan, math.nan]):
        found = paired.mean_interval(np.array(values), 0.95)
        assert math.isnan(found.low) and math.isnan(found.high)


def test_two_values_have_students_interval():
    t = stats.ttest_1samp([0.0, 1.0], 0).confidence_interval()
    found = paired.mean_interval(np.array([0.0, 1.0]), 0.95)
    assert (found.low, found.high) == pytest.approx((t.low, t.high))


@pytest.mark.parametrize("seeds", [5, 6, 10])
def test_the_interval_covers_the_mean_of_few_normal_values(monkeypatch, seeds):
    monkeypatch.setattr(paired, "RESAMPLES", 299)
    draw = np.random.default_rng(4)
    found = [paired.mean_interval(draw.normal(size=seeds), 0.95) for _ in range(500)]
    assert np.mean([i.low <= 0 <= i.high for i in found]) >= 0.95 - 3 * 0.0097


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "pairs", "margin", "expected"),
    [
        (0.02, 0.04, 0.01, 10, 0.01, "better"),
        (-0.04, -0.02, 0.01, 10, 0.01, "worse"),
        (0.02, 0.04, 0.05, 10, 0.01, "better"),
        (0.02, 0.04, 0.0501, 10, 0.01, "undecided"),
        (-0.001, 0.04, 0.01, 10, 0.01, "undecided"),
        (-0.005, 0.005, 0.9, 10, 0.01, "equivalent"),
        (0.001, 0.005, 0.001, 10, 0.01, "equivalent"),
        (-0.005, 0.005, 0.9, 5, 0.01, "undecided"),
        (-0.005, 0.005, 0.9, 6, 0.01, "equivalent"),
        (-0.005, 0.01, 0.9, 10, 0.01, "undecided"),
        (0.0, 0.0, 1.0, 10, 0.0, "undecided"),
        (0.0, 0.0, 1.0, 3, 0.01, "undecided"),
    ],
)
def test_the_verdict(low, high, p_holm, pairs, margin, expected):
    assert paired.verdict(Interval(low, high, 0.95), p_holm, pairs, margin) == expected


def test_no_interval_no_verdict():
    assert paired.verdict(None, None, 0, 0.01) == "undecided"
    assert paired.verdict(None, 1.0, 1, 0.01) == "undecided"


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=8),
    st.sampled_from((2.0, 0.5, 1024.0)),
)
def test_statistics_scale_and_mirror(values, scale):
    d = np.array(values)
    here, there = paired.mean_interval(d, 0.95), paired.mean_interval(-scale * d, 0.95)
    tolerance = 1e-6 * (1 + scale)
    assert there.low == pytest.approx(-scale * here.high, abs=tolerance)
    assert there.high == pytest.approx(-scale * here.low, abs=tolerance)
    assert paired.sign_flip(-scale * d) == pytest.approx(paired.sign_flip(d))
