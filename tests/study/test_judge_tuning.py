from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from throughtime.study.judge import select, tuning_curve
from throughtime.study.judge.scores import Evaluation, steps_to_reference
from throughtime.study.judge.tuning import border, tuning_curves

from .studies import record


def tuned(arm, points, **changes):
    """Tuning runs: a list of scores a point, one a seed."""
    return [
        record(arm, seed, score, phase="tune", point=point, **changes)
        for point, scores in enumerate(points)
        for seed, score in enumerate(scores)
    ]


def test_the_best_mean_wins():
    records = tuned("tanh", [[0.7, 0.7], [0.9, 0.6], [0.1, 0.9]]) + tuned("relu", [[0.1], [0.2]])
    assert select(records, higher_is_better=True) == {"tanh": 1, "relu": 1}
    assert select(records, higher_is_better=False) == {"tanh": 2, "relu": 0}


def test_a_diverged_run_counts_as_the_worst_of_the_phase():
    records = tuned("tanh", [[1.0, None], [0.6, 0.6]]) + tuned("relu", [[0.1], [0.3]])
    assert select(records, higher_is_better=True)["tanh"] == 1  # (1.0 + 0.1) / 2 < 0.6
    records = tuned("tanh", [[1.0, None], [2.0, 2.0]]) + tuned("relu", [[9.0], [8.0]])
    assert select(records, higher_is_better=False)["tanh"] == 1  # (1.0 + 9.0) / 2 > 2.0


def test_ties_go_to_the_stable_one_and_then_to_the_lower_point():
    assert select(tuned("tanh", [[0.5], [0.7], [0.7]]), higher_is_better=True) == {"tanh": 1}
    assert select(tuned("tanh", [[None], [0.7], [0.7]]), higher_is_better=True) == {"tanh": 1}
    worst_or_diverged = tuned("tanh", [[None], [0.5]])
    assert select(worst_or_diverged, higher_is_better=True) == {"tanh": 1}
    assert select(tuned("tanh", [[None], [None]]), higher_is_better=True) == {"tanh": 0}


def test_only_tuning_runs_are_looked_at_in_any_order():
    records = [*tuned("tanh", [[0.5], [0.7]]), record("tanh", 9, 0.99, point=0)]
    assert select(records[::-1], higher_is_better=True) == {"tanh": 1}
    assert select([], higher_is_better=True) == {}


def test_a_score_that_is_not_finite_is_a_divergence():
    records = tuned("tanh", [[math.inf], [math.nan], [0.2]])
    assert select(records, higher_is_better=True) == {"tanh": 2}


@pytest.mark.parametrize("higher", [True, False])
def test_the_curve_against_all_draws(higher):
    scores = [0.31, 0.12, 0.55, 0.55, 0.07]
    best = max if higher else min
    for point in tuning_curve(scores, higher_is_better=higher):
        without = np.mean([best(c) for c in combinations(scores, point.points)])
        replaced = np.mean([best(c) for c in product(scores, repeat=point.points)])
        assert point.expected_best == pytest.approx(without)
        assert (point.low, point.high) == pytest.approx(tuple(sorted((without, replaced))))
        assert best(without, replaced) == pytest.approx(without)  # replacing is pessimistic


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.booleans())
def test_the_curve_begins_at_the_mean_ends_at_the_best_and_never_worsens(scores, higher):
    curve = tuning_curve(scores, higher_is_better=higher)
    assert curve[0].expected_best == pytest.approx(np.mean(scores), abs=1e-9)
    assert curve[-1].expected_best == pytest.approx((max if higher else min)(scores), abs=1e-9)
    sign = 1 if higher else -1
    assert (np.diff([sign * p.expected_best for p in curve]) >= -1e-9).all()


def test_curves_count_divergence_as_the_worst_and_need_some_score():
    records = tuned("tanh", [[0.8], [None]]) + tuned("relu", [[0.2], [0.4]])
    curves = tuning_curves(records, higher_is_better=True)
    assert curves["tanh"][0].expected_best == pytest.approx(0.5)
    assert tuning_curves(tuned("tanh", [[None], [None]]), higher_is_better=True) == {}


RATES = [{"rate": r} for r in (1e-4, 3e-4, 1e-3, 1e-2, 9e-2)]


@pytest.mark.parametrize(
    ("best", "tried", "space", "expected"),
    [
        ({"rate": 1e-4}, RATES, {"rate": (1e-4, 1e-1)}, ("rate",)),
        ({"rate": 9e-2}, RATES, {"rate": (1e-4, 1e-1)}, ("rate",)),
        ({"rate": 1e-2}, RATES, {"rate": (1e-4, 1e-1)}, ()),
        # On a logarithmic scale 1e-3 is a third of the way up, on a linear one at the edge.
        ({"rate": 1e-3}, RATES[2:], {"rate": (1e-4, 1e-1)}, ()),
        # The outermost value tried, but far from the edge.
        ({"rate": 3e-4}, RATES[1:], {"rate": (1e-6, 1e-1)}, ()),
        # Near the edge, but something further out was tried.
        ({"gain": 0.55}, [{"gain": g} for g in (0.51, 0.55, 0.8)], {"gain": (0.5, 1.5)}, ()),
        ({"gain": 0.51}, [{"gain": g} for g in (0.51, 0.55, 0.8)], {"gain": (0.5, 1.5)}, ("gain",)),
        # Choices have no edge, two numbers included.
        ({"clip": 10.0}, [{"clip": 1.0}, {"clip": 10.0}], {"clip": (1.0, 10.0)}, ()),
        ({"start": "a"}, [{"start": "a"}, {"start": "b"}], {"start": ("a", "b")}, ()),
        ({"clip": 1.0}, [{"clip": 1.0}, {"clip": 5.0}], {"clip": [1.0, 5.0, 10.0]}, ()),
        ({"rate": 1e-4}, RATES, {}, ()),
        ({"rate": 1e-4}, [], {"rate": (1e-4, 1e-1)}, ()),
    ],
)
def test_border(best, tried, space, expected):
    assert border(best, tried, space) == expected


def evaluation(arm, curves, bests=None):
    runs = {
        seed: record(
            arm,
            seed,
            None if curve is None else 0.5,
            validation_curve=curve or (0.99,),
            validation_score=None if curve is None else max(curve),
        )
        for seed, curve in enumerate(curves)
    }
    return Evaluation(arm, runs, dict.fromkeys(runs, 0.5))


def test_steps_to_the_reference_by_hand():
    reference = evaluation("tanh", [(0.1, 0.6), (0.1, 0.5, 0.4), (0.7,)])  # bests 0.6 0.5 0.7
    arm = evaluation("relu", [(0.6,), (0.2, 0.3, 0.61), (0.1, 0.8, 0.9)])  # epochs 1, 3, 2
    assert steps_to_reference(arm, reference, higher_is_better=True) == 20
    assert steps_to_reference(reference, reference, higher_is_better=True) == 20


def test_steps_need_half_of_the_runs():
    reference = evaluation("tanh", [(0.6,)] * 4)
    half = evaluation("relu", [(0.1, 0.7), (0.1,), (0.6,), None])
    fewer = evaluation("relu", [(0.1, 0.7), (0.1,), (0.2,), None])
    assert steps_to_reference(half, reference, higher_is_better=True) == 20
    assert steps_to_reference(fewer, reference, higher_is_better=True) is None


def test_a_reference_that_diverged_gives_no_goal():
    reference = evaluation("tanh", [None, None, (0.5,)])
    assert steps_to_reference(reference, reference, higher_is_better=True) is None


def test_steps_where_less_is_better():
    reference = evaluation("tanh", [(3.0, 2.0)])
    runs = {0: record("tanh", 0, 1.0, validation_score=2.0, validation_curve=(3.0, 2.0))}
    reference = Evaluation("tanh", runs, {0: -1.0})
    assert steps_to_reference(reference, reference, higher_is_better=False) == 20
