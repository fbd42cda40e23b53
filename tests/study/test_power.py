from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from throughtime.language import LANGUAGES, say
from throughtime.study import power


@pytest.mark.parametrize("pairs", range(2, 11))
def test_the_smallest_p_is_that_of_the_exact_test_with_all_signs_alike(pairs):
    test = stats.permutation_test(
        (np.arange(1.0, pairs + 1),), np.mean, permutation_type="samples", n_resamples=2**12
    )
    assert power.smallest_p(pairs) == pytest.approx(test.pvalue)
    assert power.smallest_p(1) == power.smallest_p(0) == 1


def test_five_pairs_can_never_be_significant():
    assert not power.can_be_significant(5, 1, 0.95)
    assert power.can_be_significant(6, 1, 0.95)
    assert not any(power.can_be_significant(n, 0, 0.95) for n in range(20))


@pytest.mark.parametrize(
    ("comparisons", "needed"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9), (9, 9), (20, 10)]
)
def test_pairs_needed_with_holm(comparisons, needed):
    assert power.pairs_needed_for_significance(comparisons, 0.95) == needed
    assert 2 / 2**needed <= 0.05 / comparisons < 2 / 2 ** (needed - 1)


def test_a_bound_met_exactly_counts():
    assert power.can_be_significant(6, 1, 1 - 2 / 64)
    assert power.can_be_significant(3, 1, 0.75)


@pytest.mark.parametrize(("pairs", "comparisons"), [(6, 1), (9, 6), (10, 6), (12, 1)])
def test_the_effect_is_found_by_the_exact_test_as_often_as_promised(pairs, comparisons):
    effect = power.detectable_effect(pairs, comparisons, 0.95)
    signs = np.array(list(product((1, -1), repeat=pairs)))
    sums = np.abs((np.random.default_rng(99).normal(size=(1000, pairs)) + effect) @ signs.T)
    p = (sums >= sums[:, :1] * (1 - 1e-12)).mean(1)
    assert (p <= 0.05 / comparisons).mean() == pytest.approx(0.8, abs=0.04)


def test_the_effect_at_many_pairs_is_that_of_the_paired_t_test():
    from statsmodels.stats.power import TTestPower

    for pairs, comparisons in ((13, 1), (20, 6), (100, 3)):
        known = TTestPower().solve_power(nobs=pairs, alpha=0.05 / comparisons, power=0.8)
        effect = power.detectable_effect(pairs, comparisons, 0.95)
        assert effect == pytest.approx(known, rel=2e-3)


def test_effects_shrink_with_pairs_and_grow_with_comparisons():
    effects = [power.detectable_effect(n, 1, 0.95) for n in (6, 8, 10, 12, 13, 20, 50)]
    assert effects == sorted(effects, reverse=True)
    assert power.detectable_effect(10, 6) > power.detectable_effect(10, 1)
    assert power.detectable_effect(7, 6) is None


def test_pairs_to_decide_settle_both_ends():
    margin, comparisons = 1.0, 1
    pairs = power.pairs_to_decide(margin, comparisons)
    draw = np.random.default_rng(3)
    alike = draw.normal(size=(4000, pairs))
    half = stats.t.isf(0.025, pairs - 1) * alike.std(1, ddof=1) / np.sqrt(pairs)
    assert (np.abs(alike.mean(1)) + half < margin).mean() > 0.78
    apart = stats.ttest_1samp(draw.normal(size=(4000, pairs)) + margin, 0, axis=1).pvalue
    assert (apart < 0.05).mean() > 0.78


def test_pairs_to_decide_at_its_ends():
    assert power.pairs_to_decide(np.inf, 1) == 6
    assert power.pairs_to_decide(np.inf, 6) == 8
    assert power.pairs_to_decide(1e-9, 6) == power.MOST_PAIRS
    assert power.pairs_to_decide(0.1, 6) > power.pairs_to_decide(0.2, 6)


@pytest.mark.parametrize(
    ("pairs", "comparisons", "key", "part"),
    [
        (5, 1, "judge.cannot_show", "no p below 0.0625, and 1 comparison(s) ask for 0.05"),
        (7, 6, "judge.cannot_show", "At least 8 evaluation seeds"),
        (10, 6, "judge.can_show", "can reach p = 0.00195"),
        (10, 0, "judge.nothing_to_compare", "one arm only"),
    ],
)
def test_what_can_be_shown_is_said(pairs, comparisons, key, part):
    told, fields = power.what_can_be_shown(pairs, comparisons, 0.95)
    assert told == key
    assert part in say(told, "en", **fields)
    assert all("{" not in say(told, language, **fields) for language in LANGUAGES)
