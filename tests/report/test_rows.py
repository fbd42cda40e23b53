"""The rows behind charts and tables, against values computed by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from throughtime.report import findings, numbers, rows
from throughtime.study.verdict import Interval


def with_curves(result, curves, arm="tanh"):
    template = next(r for r in result.records if r.phase == "evaluate")
    records = tuple(
        dataclasses.replace(
            template, arm=arm, seed=i, validation_curve=curve, diverged=math.nan in curve
        )
        for i, curve in enumerate(curves)
    )
    return dataclasses.replace(result, records=records)


def test_learning_keeps_the_last_value_of_a_stopped_run(study):
    result = with_curves(study(), [(0.1, 0.2, 0.3), (0.5,), (0.2, 0.4)])
    found = rows.learning(result)
    assert [r["median"] for r in found] == [0.2, 0.4, 0.4]
    assert found[0]["low"] == pytest.approx(0.15) and found[0]["high"] == pytest.approx(0.35)


@pytest.mark.parametrize(("metric", "worst"), [("accuracy", "low"), ("mae", "high")])
def test_learning_counts_a_diverged_run_as_worst(study, metric, worst):
    nan = math.nan
    result = with_curves(study(metric=metric), [(0.1, nan), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)])
    end = rows.learning(result)[-1]
    assert end["epoch"] == 2
    assert end["median"] == pytest.approx(0.35 if metric == "accuracy" else 0.45)
    assert end[worst] is None


def test_learning_has_no_median_where_most_diverged(study):
    result = with_curves(study(), [(0.1, math.nan), (0.2, math.nan), (0.3, 0.4)])
    assert rows.learning(result)[-1]["median"] is None
    assert "No arm has a median" in findings.learning(result, "en")


def test_learning_ignores_tuning_runs(study):
    result = study(epochs=4)
    evaluate = [r for r in result.records if r.phase == "evaluate"]
    assert rows.learning(result) == rows.learning(
        dataclasses.replace(result, records=tuple(evaluate))
    )


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_pairs_are_positive_where_the_arm_is_better(study, metric):
    result = study({"tanh": 0.5, "elu": 0.6}, metric=metric, scale=0.1)
    differences = [r["difference"] for r in rows.pairs(result)]
    assert len(differences) == 10
    assert all((d > 0) == (metric == "accuracy") for d in differences)
    mean = sum(differences) / 10
    elu = next(a for a in result.judgement.arms if a.arm == "elu")
    assert mean == pytest.approx(elu.difference)


def test_pairs_need_the_same_seed(study):
    result = study({"tanh": 0.5, "elu": 0.6})
    arms = tuple(
        dataclasses.replace(a, seeds=a.seeds[:4]) if a.arm == "tanh" else a
        for a in result.judgement.arms
    )
    judgement = dataclasses.replace(result.judgement, arms=arms)
    assert len(rows.pairs(dataclasses.replace(result, judgement=judgement))) == 4


def test_dots_on_one_another_are_set_apart():
    assert rows._lanes([0.5, 0.5, 0.5], 0.01) == [0, 1, 2]
    assert rows._lanes([0.1, 0.5, 0.9], 0.01) == [0, 0, 0]
    assert rows._lanes([None, 0.5, 0.5], 0.01)[1:] == [0, 1]
    assert len(set(rows._lanes([0.5] * 40, 0.01))) == rows.LANES


def test_plan_is_flattened():
    plan = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": "x", "f": {}, "g": []}
    assert list(rows.flat(plan)) == [
        ("a.b.c", "1"),
        ("a.d", "1, 2"),
        ("e", "x"),
        ("f", "{}"),
        ("g", "[]"),
    ]


@pytest.mark.parametrize(
    ("margin", "digits"),
    [(0.01, 3), (0.005, 3), (0.02, 3), (0.1, 2), (1, 1), (2, 1), (5, 0), (100, 0), (1e-9, 6)],
)
def test_decimals_follow_the_smallest_difference(study, margin, digits):
    assert numbers.decimals(study(smallest_difference=margin).judgement) == digits


def test_decimals_without_a_smallest_difference(study):
    assert numbers.decimals(study(smallest_difference=0.0).judgement) in (3, 4)
    assert numbers.decimals(study({"tanh": 0.9}, smallest_difference=0.0).judgement) == 3


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (numbers.number(-0.0213, 3), "−0.021"),
        (numbers.number(-0.0001, 3), "0.000"),
        (numbers.number(None, 3), "–"),
        (numbers.number(math.nan, 3), "–"),
        (numbers.number(math.inf, 3), "–"),
        (numbers.signed(0.0213, 3), "+0.021"),
        (numbers.signed(0.0001, 3), "0.000"),
        (numbers.signed(-0.5, 1), "−0.5"),
        (numbers.interval(Interval(-0.1, 0.2, 0.95), 2, sign=True), "[−0.10, +0.20]"),
        (numbers.interval(Interval(-math.inf, 0.2, 0.95), 2), "–"),
        (numbers.interval(None, 2), "–"),
        (numbers.p_value(0.0), "<0.001"),
        (numbers.p_value(0.04999), "0.050"),
        (numbers.percent(0.305), "30%"),
        (numbers.shares(Interval(0.0, 0.28, 0.95)), "[0%, 28%]"),
        (numbers.milliseconds(0.00123), "1.23"),
        (numbers.milliseconds(0.0000123), "0.0123"),
        (numbers.milliseconds(1.5), "1500"),
        (numbers.count(12345.4), "12\u2009345"),
        (numbers.duration(3.21, "en"), "3.2 s"),
        (numbers.duration(59.6, "en"), "1 min 0 s"),
        (numbers.duration(131, "zh"), "2 分 11 秒"),
        (numbers.duration(7261, "en"), "2 h 1 min"),
    ],
)
def test_figures_as_read(found, expected):
    assert found == expected


def test_findings_name_the_right_arms(study):
    result = study(diverged={"relu": 2})
    assert findings.scores(result, "en").startswith("elu has the best average accuracy")
    assert "worst is identity" in findings.scores(result, "en")
    assert "better: elu" in findings.differences(result, "en")
    assert "Evaluation runs that diverged: relu 2 of 10." in findings.stability(result, "en")
    assert "cheapest with elu (1.10 ms)" in findings.cost(result, "en")
    assert "relu (rate)" in findings.tuning(result, "en")
    for name in ("scores", "differences", "learning", "tuning", "stability", "cost", "method"):
        english, chinese = (getattr(findings, name)(result, k) for k in ("en", "zh"))
        assert english != chinese and "{" not in english + chinese


def test_findings_where_lower_is_better(study):
    result = study(
        {"tanh": 4.0, "elu": 3.0}, metric="mae", baselines={"mean": 9.0, "last_value": 5.0}
    )
    assert findings.scores(result, "en").startswith("elu has the best average mean absolute error")
    assert "(last value) has 5.000" in findings.scores(result, "en")
