from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import MCS

from throughtime.study.judge import best_set_p
from throughtime.study.judge.paired import sign_flip


def test_of_two_arms_it_is_the_sign_flip_test():
    draw = np.random.default_rng(0)
    for seeds in (3, 6, 9):
        scores = draw.normal(size=(2, seeds))
        p = best_set_p(scores)
        assert p[scores.mean(1).argmax()] == 1
        assert p.min() == pytest.approx(sign_flip(scores[1] - scores[0]))


def test_with_many_seeds_it_agrees_with_the_bootstrap_of_arch():
    draw = np.random.default_rng(1)
    for shift in (0.1, 0.2, 0.4):
        means = np.array([0.0, 0.0, -shift, -2 * shift, -3 * shift])
        scores = means[:, None] + draw.normal(size=(1, 300)) + draw.normal(size=(5, 300))
        mcs = MCS(-scores.T, 0.05, reps=4000, block_size=1, bootstrap="moving block", seed=3)
        mcs.compute()
        known = mcs.pvalues["Pvalue"].sort_index().to_numpy()
        assert best_set_p(scores) == pytest.approx(known, abs=0.04)


def test_equal_arms_stay_and_with_few_seeds_the_bootstrap_would_throw_them_out():
    draw = np.random.default_rng(2)
    studies = [draw.normal(size=(7, 10)) + draw.normal(size=(1, 10)) for _ in range(400)]
    thrown = np.mean([(best_set_p(s) <= 0.05).any() for s in studies])
    assert thrown <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)

    def by_bootstrap(scores):
        mcs = MCS(-scores.T, 0.05, reps=200, block_size=1, bootstrap="moving block", seed=0)
        mcs.compute()
        return (mcs.pvalues["Pvalue"] <= 0.05).any()

    assert np.mean([by_bootstrap(s) for s in studies[:60]]) > 0.15


def test_a_bad_arm_goes_and_the_others_stay():
    draw = np.random.default_rng(3)
    gone, stayed = 0, 0
    for _ in range(100):
        scores = draw.normal(size=(5, 10))
        scores[2] -= 3
        p = best_set_p(scores)
        gone += p[2] <= 0.05
        stayed += (np.delete(p, 2) > 0.05).all()
    assert gone >= 98
    assert stayed >= 90


def test_degenerate_scores():
    assert best_set_p(np.ones((1, 4))).tolist() == [1]
    assert best_set_p(np.ones((3, 0))).tolist() == [1, 1, 1]
    assert best_set_p(np.ones((3, 1))).tolist() == [1, 1, 1]
    assert best_set_p(np.array([[1.0], [2.0]])).tolist() == [1, 1]
    assert best_set_p(np.ones((4, 10))).tolist() == [1] * 4


def test_a_difference_without_noise_is_as_sure_as_its_seeds():
    for seeds in (3, 6, 10):
        scores = np.array([[0.5] * seeds, [0.4] * seeds, [0.5] * seeds])
        assert best_set_p(scores) == pytest.approx([1, 2 / 2**seeds, 1])


def test_arms_alike_share_their_p():
    scores = np.random.default_rng(4).normal(size=(4, 9))
    scores[3] = scores[1]
    p = best_set_p(scores)
    assert p[1] == p[3]


def test_the_order_of_arms_and_the_scale_do_not_matter():
    scores = np.random.default_rng(5).normal(size=(6, 10))
    p = best_set_p(scores)
    order = np.random.default_rng(6).permutation(6)
    assert best_set_p(scores[order]) == pytest.approx(p[order])
    assert best_set_p(100 * scores + 7) == pytest.approx(p)


def test_many_seeds_are_drawn_the_same_way_every_time():
    scores = np.random.default_rng(7).normal(size=(3, 25))
    assert (best_set_p(scores) == best_set_p(scores)).all()
    assert (best_set_p(scores, seed=1) != best_set_p(scores)).any()


def test_a_noisy_arm_does_not_hide_a_precise_difference():
    draw = np.random.default_rng(8)
    scores = np.array([[1.0], [0.9], [1.0]]) + draw.normal(size=(3, 10)) * [[0.01], [0.01], [5]]
    p = best_set_p(scores)
    assert p[1] <= 0.05 < min(p[0], p[2])
