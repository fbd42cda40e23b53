from __future__ import annotations

import dataclasses
import json
import math
import time
from itertools import product

import numpy as np
import pytest
from scipy import stats

from throughtime.errors import PlanError
from throughtime.language import LANGUAGES, entries, say
from throughtime.study.judge import _agreeing
from throughtime.study.judge.recommendation import decimals
from throughtime.study.judge.scores import evaluations

from .studies import by_arm, judged, record, simulated, steady, table, verdicts

SEVEN = dict.fromkeys(("tanh", "relu", "leaky_relu", "elu", "gelu", "softsign", "identity"), 0.9)


def told(judgement, language="en"):
    return say(f"judge.{judgement.reason}", language, **judgement.reason_fields)


# What is said of studies whose truth is known


def test_with_no_true_difference_it_says_so():
    draw = np.random.default_rng(0)
    quiet, whole = 0, 0
    for _ in range(100):
        judgement = judged(simulated(SEVEN, seeds=10, noise=0.02, draw=draw))
        quiet += not {"better", "worse"} & set(verdicts(judgement).values())
        whole += len(judgement.best_set) == 7
        assert judgement.recommended == "tanh" or "better" in verdicts(judgement).values()
    assert quiet >= 95
    assert whole >= 90


@pytest.mark.parametrize("arms", [2, 3, 5, 7])
def test_the_familywise_error_over_many_studies_without_a_difference(arms):
    """Of the tests alone; the verdict asks of the interval to agree, which can only lower it."""
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=9)])
    noise = np.random.default_rng(arms).standard_t(3, size=(2000, arms, 10))
    sums = np.abs((noise[:, 1:] - noise[:, :1]) @ signs.T)
    p = (sums >= sums[..., :1] * (1 - 1e-12)).mean(-1)
    assert (p.min(1) <= 0.05 / (arms - 1)).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_large_difference_is_found():
    draw = np.random.default_rng(2)
    means = SEVEN | {"elu": 0.96, "identity": 0.84}
    for _ in range(20):
        judgement = judged(simulated(means, seeds=10, noise=0.01, draw=draw))
        found = verdicts(judgement)
        assert found["elu"] == "better"
        assert found["identity"] == "worse"
        assert judgement.recommended == "elu"
        assert judgement.best_set == ("elu",)
        assert judgement.reason == "better"


def test_alike_arms_are_called_equivalent_when_the_noise_is_small():
    draw = np.random.default_rng(3)
    alike = 0
    for _ in range(20):
        judgement = judged(simulated({"tanh": 0.9, "relu": 0.9}, seeds=10, noise=0.004, draw=draw))
        alike += verdicts(judgement)["relu"] == "equivalent"
    assert alike >= 18


def test_few_pairs_are_never_called_equivalent():
    draw = np.random.default_rng(4)
    for seeds in (2, 3, 5):
        for _ in range(5):
            judgement = judged(
                simulated({"tanh": 0.9, "relu": 0.9}, seeds=seeds, noise=1e-6, draw=draw)
            )
            assert verdicts(judgement)["relu"] == "undecided"
    assert verdicts(judged({"tanh": [0.9] * 5, "relu": [0.9] * 5}))["relu"] == "undecided"
    assert verdicts(judged({"tanh": [0.9] * 6, "relu": [0.9] * 6}))["relu"] == "equivalent"


# The figures


def test_the_figures_of_an_arm_by_hand():
    tanh, relu = [0.90, 0.92, 0.88, 0.91, 0.90, 0.93], [0.93, 0.94, 0.89, 0.91, 0.95, 0.92]
    arm = by_arm(judged({"tanh": tanh, "relu": relu}))["relu"]
    d = np.subtract(relu, tanh)
    assert arm.score == pytest.approx(np.mean(relu))
    assert arm.difference == pytest.approx(np.mean(d))
    # Six pairs: no subset mean lies beyond the smallest and the largest difference.
    interval = arm.difference_interval
    assert (interval.low, interval.high) == pytest.approx((-0.01, 0.05))
    p = stats.permutation_test((d,), np.mean, permutation_type="samples").pvalue
    assert arm.p_value == arm.p_holm == pytest.approx(p)
    assert arm.win_probability == pytest.approx(4.5 / 6)
    assert [s.seed for s in arm.seeds] == list(range(6))
    assert [s.score for s in arm.seeds] == pytest.approx(relu)
    assert (arm.runs, arm.diverged) == (6, 0)
    known = stats.binomtest(0, 6).proportion_ci(0.95, "exact")
    assert arm.divergence_interval.high == pytest.approx(known.high)


def test_holm_runs_over_all_arms():
    draw = np.random.default_rng(5)
    arms = by_arm(judged(simulated(SEVEN | {"elu": 0.93}, seeds=10, noise=0.02, draw=draw)))
    others = [a for name, a in arms.items() if name != "tanh"]
    p = sorted(a.p_value for a in others)
    assert arms["elu"].p_value == p[0]
    assert arms["elu"].p_holm == pytest.approx(6 * p[0])
    assert all(a.p_value <= a.p_holm <= 1 for a in others)
    assert arms["tanh"].p_holm is None and arms["tanh"].difference is None


def test_arms_are_paired_over_the_seeds_they_share():
    records = table({"tanh": [0.9, 0.8, 0.7, 0.6], "elu": [0.9, 0.8, 0.7, 0.6]})
    records += [record("relu", seed, score) for seed, score in ((1, 0.9), (3, 0.7), (9, 0.1))]
    judgement = judged(records)
    arm = by_arm(judgement)["relu"]
    assert judgement.pairs == 2  # the fewest of any arm
    assert arm.difference == pytest.approx(0.1)
    assert arm.score == pytest.approx(1.7 / 3)


def test_costs_and_shares_are_summed_up():
    records = [
        record(arm, seed, 0.9, seconds_per_step=s, stability={"dead_units": s} if s < 1 else {})
        for arm in ("tanh", "relu")
        for seed, s in enumerate((0.1, 0.3, 5.0))
    ]
    arm = by_arm(judged(records))["relu"]
    assert arm.seconds_per_step == pytest.approx(0.3)
    assert arm.stability == pytest.approx({"dead_units": 0.2})


def test_tuning_is_reported():
    records = table({"tanh": steady(0.9)}, point=2, values={"rate": 1e-4})
    records += [
        record("tanh", 50, score, phase="tune", point=p, values={"rate": rate})
        for p, (score, rate) in enumerate(((None, 0.05), (0.7, 1e-2), (0.9, 1e-4)))
    ]
    arm = by_arm(judged(records))["tanh"]
    assert (arm.tuning_runs, arm.tuning_diverged) == (3, 1)
    assert [p.points for p in arm.tuning_curve] == [1, 2, 3]
    assert arm.tuning_curve[0].expected_best == pytest.approx((0.7 + 0.7 + 0.9) / 3)
    assert arm.border == ("rate",)
    assert arm.best_point == {"rate": 1e-4}


# Divergence


def test_divergence_takes_the_worst_score_or_the_naive_one():
    scores = {"tanh": [0.9, 0.8], "relu": [0.7, None]}
    for baseline, worst in ((0.1, 0.1), (0.75, 0.7)):
        found = evaluations(table(scores), higher_is_better=True, baselines={"majority": baseline})
        assert found["relu"].goodness == {0: 0.7, 1: worst}
    found = evaluations(
        table(scores), higher_is_better=False, baselines={"mean": 2.0, "last value": 1.0}
    )
    assert found["relu"].goodness == {0: -0.7, 1: -1.0}  # the best baseline, not the worst one


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_score_that_is_not_finite_is_a_divergence(value):
    records = table({"tanh": steady(0.9), "relu": steady(0.9)[:9]})
    records.append(dataclasses.replace(record("relu", 9, 0.5), test_score=value))
    arm = by_arm(judged(records))["relu"]
    assert arm.diverged == 1
    assert arm.seeds[9].diverged and arm.seeds[9].score == 0.1


def test_an_arm_that_always_diverges_is_last_and_never_recommended():
    scores = {"identity": steady(0.1), "tanh": steady(0.9), "relu": [None] * 10}
    arms = by_arm(judged(scores, baselines={}))
    assert arms["relu"].rank == 3
    judgement = judged({"tanh": steady(0.9), "relu": [None] * 10, "elu": steady(0.91, start=1)})
    relu = by_arm(judgement)["relu"]
    assert relu.rank == 3
    assert relu.verdict == "worse"
    assert relu.diverged == relu.runs == 10
    assert not relu.in_best_set
    assert relu.win_probability == 0
    assert judgement.recommended != "relu"


def test_a_diverged_run_loses_to_one_of_the_same_score():
    arm = by_arm(judged({"tanh": [0.1] * 6, "relu": [None] * 6}))["relu"]
    assert arm.difference == 0
    assert arm.win_probability == 0
    assert arm.rank == 2


def test_two_arms_that_both_diverge_show_nothing_of_each_other():
    # Alike in every seed, and yet not equivalent: no run of either has a score.
    judgement = judged({"tanh": [None] * 8, "relu": [None] * 8, "elu": steady(0.9, 8)})
    assert verdicts(judgement) == {"elu": "better", "tanh": "reference", "relu": "undecided"}


def test_pairs_of_which_both_runs_diverged_do_not_make_arms_equivalent():
    row = [None] * 5 + [0.9] * 3
    assert verdicts(judged({"tanh": row, "relu": row}))["relu"] == "undecided"
    row = [None] * 2 + [0.9] * 6
    assert verdicts(judged({"tanh": row, "relu": row}))["relu"] == "equivalent"


# The recommendation, outcome by outcome


def study_of(case):
    """One study an outcome: scores, changes of the records, settings."""
    good, same = steady(0.95, start=1), steady(0.9, start=2)
    wide = {"spread": 0.05}
    cases = {
        "better": ({"tanh": same, "relu": good}, {}, {}),
        "better_of_several": ({"tanh": same, "relu": good, "elu": steady(0.952, start=3)}, {}, {}),
        "better_less_stable": (
            {"tanh": steady(0.6), "relu": [*good[:9], None]},
            {},
            {"baselines": {"majority": 0.58}},
        ),
        "better_more_stable": ({"tanh": [None, *same[1:]], "relu": good}, {}, {}),
        "more_stable": ({"tanh": [None, *same[1:]], "relu": same}, {}, {}),
        "cheaper": ({"tanh": same, "relu": steady(0.901)}, {"seconds": {"relu": 5e-4}}, {}),
        "keep_equivalent": ({"tanh": same, "relu": steady(0.901)}, {}, {}),
        "keep_unbeaten": (
            {"tanh": same, "relu": [v - d for v, d in zip(same, [0.0, 0.004] * 5, strict=True)]},
            {},
            {"smallest_difference": 0.003},
        ),
        "keep_best": ({"tanh": good, "relu": same}, {}, {}),
        "undecided": ({"tanh": same, "relu": steady(0.91, **wide)}, {}, {}),
        "undecided_many": (
            {"tanh": same, "relu": steady(0.91, **wide)},
            {},
            {"smallest_difference": 1e-4},
        ),
        "too_few_pairs": ({"tanh": same[:5], "relu": good[:5]}, {}, {}),
        "no_pairs": ({"tanh": same}, {}, {}),
        "only_reference": ({"tanh": same}, {}, {}),
        "nothing_beats_baseline": (
            {"tanh": same, "relu": good},
            {},
            {"baselines": {"majority": 0.96}},
        ),
        "all_diverged": ({"tanh": [None] * 6, "relu": [None] * 6}, {}, {}),
    }
    scores, changes, settings = cases[case]
    records = table(scores, **changes)
    if case == "no_pairs":
        records += [record("relu", 100 + k, 0.9) for k in range(6)]
    return judged(records, **settings)


OUTCOMES = {
    "better": (
        "relu",
        "relu: accuracy 0.950 against 0.900 with tanh over 10 paired seeds (difference +0.050, 95%",
    ),
    "better_of_several": ("elu", "relu cannot be told from it"),
    "better_less_stable": ("relu", "1 of its 10 runs diverged, against 0 of 10 with tanh"),
    "better_more_stable": ("relu", "0 of its 10 runs diverged, against 1 of 10 with tanh"),
    "more_stable": ("relu", "0 of its 10 runs diverged, against 1 of 10 with tanh"),
    "cheaper": ("relu", "a training step takes 0.5 ms instead of 1 ms"),
    "keep_equivalent": ("tanh", "No difference that matters: keep tanh"),
    "keep_unbeaten": ("tanh", "none of relu can be better by 0.0030"),
    "keep_best": ("tanh", "none of the others can be the best (relu)"),
    "undecided": ("tanh", "paired seeds in a new study would settle a difference of 0.010"),
    "undecided_many": ("tanh", "would take more than 1000 paired seeds"),
    "too_few_pairs": ("tanh", "with 5 the sign-flip test can give no p below 0.0625"),
    "no_pairs": ("tanh", "no other arm was run on the same seeds"),
    "only_reference": ("tanh", "Only tanh was tried: accuracy 0.900 over 10 runs"),
    "nothing_beats_baseline": (
        "relu",
        "No arm is shown to beat the naive baseline majority (accuracy 0.960)",
    ),
    "all_diverged": ("tanh", "All 12 evaluation runs of the 2 arm(s) diverged"),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_every_outcome_has_its_arm_and_its_sentence(case):
    judgement = study_of(case)
    arm, part = OUTCOMES[case]
    assert judgement.reason == case
    assert judgement.recommended == arm
    assert part in told(judgement)
    for language in LANGUAGES:
        assert not set("{}") & set(told(judgement, language))
        assert "nan" not in told(judgement, language)
    json.dumps(judgement.reason_fields, allow_nan=False)
    if case not in ("all_diverged", "nothing_beats_baseline"):
        assert judgement.recommended in judgement.best_set


def test_every_sentence_of_an_outcome_is_reached():
    others = {"can_show", "cannot_show", "nothing_to_compare", "nothing_evaluated", "not_evaluated"}
    others |= {"evaluated_twice", "several_points", "no_reference", "unsound"}
    assert set(entries("judge")) - others == set(OUTCOMES)


def test_the_naive_baseline_is_reported():
    assert study_of("better").beats_baseline
    assert not study_of("nothing_beats_baseline").beats_baseline
    assert judged({"tanh": steady(0.9)}, baselines={}).beats_baseline
    small = judged({"tanh": steady(0.9)}, higher_is_better=False, baselines={"a": 2.0, "b": 1.0})
    assert small.beats_baseline
    assert not judged(
        {"tanh": steady(0.9)}, higher_is_better=False, baselines={"a": 2.0, "b": 0.9}
    ).beats_baseline


def test_of_better_arms_the_stable_then_the_cheap_then_the_good_one():
    good = {name: steady(0.95 + k / 1000, start=k) for k, name in enumerate(("a", "b", "c"))}
    scores = {"tanh": steady(0.6, start=9), **good}
    assert judged(scores).recommended == "c"
    cheap = {"a": 0.5e-3, "b": 0.54e-3, "c": 1e-3}
    assert judged(table(scores, seconds=cheap)).recommended == "b"  # within a tenth of the cheapest
    assert judged(table(scores, seconds=cheap | {"b": 0.56e-3})).recommended == "a"
    scores["a"] = [None, *scores["a"][1:]]
    assert judged(table(scores, seconds=cheap)).recommended == "b"


def test_where_less_is_better_the_lower_of_better_arms_is_taken():
    scores = {"tanh": steady(2.0), "a": steady(1.0, start=1), "b": steady(1.001, start=2)}
    judgement = judged(scores, higher_is_better=False, baselines={"mean": 3.0})
    assert judgement.reason == "better_of_several"
    assert judgement.recommended == "a"


def test_an_arm_not_shown_to_be_better_does_not_replace_one_that_is():
    noisy = steady(0.98, spread=0.2, start=4)
    records = table(
        {"tanh": steady(0.9), "relu": steady(0.95, start=1), "elu": noisy}, seconds={"elu": 1e-4}
    )
    judgement = judged(records)
    assert verdicts(judgement)["elu"] == "undecided"
    assert set(judgement.best_set) == {"relu", "elu"}
    assert judgement.recommended == "relu"


@pytest.mark.parametrize(
    ("confident", "found", "expected"),
    [
        ("tab", {"t": "reference", "a": "undecided", "b": "undecided"}, "tab"),
        ("tab", {"t": "reference", "a": "better", "b": "worse"}, "a"),
        ("tb", {"t": "reference", "a": "better", "b": "undecided"}, "ab"),
        ("ab", {"t": "reference", "a": "undecided", "b": "undecided"}, "tab"),
        ("b", {"t": "reference", "a": "equivalent", "b": "equivalent"}, "tab"),
        ("tab", {"t": "reference", "a": "worse", "b": "undecided"}, "tb"),
        ("ab", {"t": "reference", "a": "better", "b": "equivalent"}, "ab"),
    ],
)
def test_the_best_set_agrees_with_the_verdicts(confident, found, expected):
    assert _agreeing(set(confident), found) == set(expected)


def test_a_cheaper_arm_must_be_equivalent_and_clearly_cheaper():
    scores = {"tanh": steady(0.9), "relu": steady(0.9, spread=0.05, start=1)}
    assert judged(table(scores, seconds={"relu": 1e-4})).reason == "undecided"
    scores["relu"] = steady(0.901, start=1)
    assert judged(table(scores, seconds={"relu": 0.95e-3})).reason == "keep_equivalent"
    assert judged(table(scores, seconds={"relu": 0.90e-3})).reason == "cheaper"


def test_a_significant_difference_that_does_not_matter_keeps_the_reference():
    scores = {"tanh": steady(0.9, spread=0.0005), "relu": steady(0.902, spread=0.0005, start=1)}
    judgement = judged(scores)
    arm = by_arm(judgement)["relu"]
    assert arm.p_holm < 0.01
    assert arm.verdict == "equivalent"
    assert judgement.recommended == "tanh"
    assert judgement.best_set == ("relu", "tanh")


def test_the_seeds_needed_are_those_of_a_new_study():
    judgement = study_of("undecided")
    needed = by_arm(judgement)["relu"].seeds_needed
    assert needed > judgement.pairs
    assert f"About {needed} paired seeds" in told(judgement)
    assert by_arm(study_of("better"))["relu"].seeds_needed is None


def test_decimals_follow_the_smallest_difference():
    assert [decimals(d) for d in (0.0, 1e-9, 0.002, 0.01, 0.05, 1.0, 50.0)] == [4, 6, 4, 3, 2, 1, 0]


# What must not matter, and what must mirror


@pytest.fixture(scope="module")
def lively():
    """A study with a better arm, a worse one, equal ones and some divergence."""
    draw = np.random.default_rng(6)
    scores = simulated(SEVEN | {"elu": 0.95, "identity": 0.8}, seeds=8, noise=0.01, draw=draw)
    scores["relu"][3] = None
    return scores


def test_the_order_of_records_and_arms_does_not_matter(lively):
    records = table(lively)
    first = judged(records)
    for start in range(3):
        order = np.random.default_rng(start).permutation(len(records))
        assert judged([records[i] for i in order]) == first


def test_the_same_question_has_the_same_answer(lively):
    assert judged(lively) == judged(lively)


def test_a_constant_on_all_scores_leaves_the_differences(lively):
    moved = {a: [s if s is None else s + 0.25 for s in row] for a, row in lively.items()}
    here, there = judged(lively), judged(moved, baselines={"majority": 0.35})
    assert verdicts(here) == verdicts(there)
    assert here.recommended == there.recommended and here.best_set == there.best_set
    for a, b in zip(here.arms, there.arms, strict=True):
        assert b.score == pytest.approx(a.score + 0.25)
        assert b.difference == pytest.approx(a.difference)
        assert (b.p_value, b.win_probability, b.best_set_p) == pytest.approx(
            (a.p_value, a.win_probability, a.best_set_p)
        )


def test_the_other_direction_of_the_metric_mirrors_the_verdict(lively):
    turned = {a: [s if s is None else -s for s in row] for a, row in lively.items()}
    here = judged(lively)
    there = judged(turned, higher_is_better=False, baselines={"majority": -0.1})
    assert verdicts(here) == verdicts(there)
    assert here.recommended == there.recommended
    for a, b in zip(here.arms, there.arms, strict=True):
        assert b.score == pytest.approx(-a.score)
        assert b.difference == pytest.approx(a.difference)
        assert b.score_interval.low == pytest.approx(-a.score_interval.high)
    swapped = judged(turned, baselines={"majority": -1.0})  # now a high score is a bad one
    assert verdicts(swapped)["elu"] == "worse"
    assert verdicts(swapped)["identity"] == "better"


def test_renaming_the_arms_renames_the_verdicts(lively):
    names = {"tanh": "tanh", "elu": "aaa", "identity": "zzz"}
    renamed = judged({names.get(a, a): row for a, row in lively.items()})
    assert {names.get(a, a): v for a, v in verdicts(judged(lively)).items()} == verdicts(renamed)


# Speed, and what does not make a study


def test_seven_arms_of_ten_seeds_are_judged_at_once():
    draw = np.random.default_rng(7)
    records = table(simulated(SEVEN, seeds=10, noise=0.02, draw=draw))
    judged(records)
    start = time.process_time()
    judged(records)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("records", "settings", "part"),
    [
        ([], {}, "no evaluation run"),
        ([record("tanh", 0, 0.5, phase="tune")], {}, "no evaluation run"),
        (
            [record("tanh", 0, 0.5), record("relu", 0, 0.5, phase="tune")],
            {},
            "not evaluated yet: relu",
        ),
        (
            [record("tanh", 3, 0.5), record("tanh", 3, 0.6)],
            {},
            "arm tanh has two evaluation runs on seed 3",
        ),
        (
            [record("tanh", 3, 0.5), record("tanh", 4, 0.6, point=1)],
            {},
            r"several tuning points \(0, 1\)",
        ),
        (
            [record("relu", 3, 0.5)],
            {},
            "reference tanh has no evaluation run; there are runs of: relu",
        ),
        ([record("tanh", 3, 0.5)], {"level": 95}, "level is 95"),
        ([record("tanh", 3, 0.5)], {"smallest_difference": -1}, "smallest_difference is -1"),
        ([record("tanh", 3, 0.5)], {"smallest_difference": math.nan}, "smallest_difference is nan"),
    ],
)
def test_records_that_do_not_make_a_study_are_refused(records, settings, part):
    with pytest.raises(PlanError, match=part) as caught:
        judged(records, **settings)
    assert caught.value.text("zh")
