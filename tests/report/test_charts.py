"""Each chart is a valid Vega-Lite specification and can be saved as a picture."""

from __future__ import annotations

import pytest

from throughtime.report import charts, rows
from throughtime.report.palette import LIGHT

MAKERS = {
    "scores": lambda r, k: charts.scores(r, k),
    "differences": lambda r, k: charts.differences(r, k),
    "learning": lambda r, k: charts.learning(r, r.judgement.arms[0].arm, k),
    "tuning": lambda r, k: charts.tuning(r, r.judgement.arms[0].arm, k),
    "diverged": lambda r, k: charts.stability(r, "diverged", k),
    "dead_units": lambda r, k: charts.stability(r, "dead_units", k),
    "milliseconds": lambda r, k: charts.cost(r, "milliseconds", k),
    "steps": lambda r, k: charts.cost(r, "steps", k),
}


@pytest.mark.parametrize("name", MAKERS)
def test_valid_in_both_languages(study, name):
    result = study({"tanh": 0.9, "elu": 0.95}, diverged={"elu": 2}, sparse=name == "steps")
    specs = [MAKERS[name](result, language).to_dict(validate=True) for language in ("en", "zh")]
    assert specs[0] != specs[1]
    if name != "scores":  # whose baselines are named in the data
        assert specs[0]["datasets"] == specs[1]["datasets"]


def test_stands_alone_as_a_picture(study, tmp_path):
    path = tmp_path / "scores.svg"
    charts.scores(study(), "en").save(path)
    text = path.read_text(encoding="utf-8")
    assert "accuracy, test block" in text and LIGHT.accent in text and "var(" not in text


def test_seeds_are_the_rows_of_the_chart(study):
    result = study()
    held = charts.scores(result, "en").to_dict()["datasets"].values()
    assert rows.seeds(result) in list(held)


@pytest.mark.parametrize("baseline", [0.1, 0.8, 1.7])
def test_baselines_near_are_rules_and_far_ones_arrows(study, baseline):
    result = study({"tanh": 0.9, "elu": 0.95}, baselines={"majority": baseline}, scale=3)
    spec = charts.scores(result, "en").to_dict()
    words = [r["words"] for held in spec["datasets"].values() for r in held if "words" in r]
    dashed = [layer for layer in spec["layer"] if layer["mark"].get("strokeDash")]
    if baseline == 0.8:
        assert words == ["most frequent class 0.800"] and len(dashed) == 1
    else:
        assert dashed == [] and ("◂" in words[0]) == (baseline < 0.5)
        assert ("▸" in words[0]) == (baseline > 1)


def test_equal_scores_do_not_blow_up_the_scale(study):
    result = study({"tanh": 0.9, "elu": 0.9}, diverged={"tanh": 10, "elu": 10})
    domain = charts.scores(result, "en").to_dict()["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert domain[1] - domain[0] > 0.01
