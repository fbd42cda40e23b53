"""``choice.json``: strict, complete, and the way back."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from throughtime.study.result import (
    choice_json,
    judgement_from_json,
    judgement_to_json,
    plain,
    result_from_json,
)
from throughtime.study.verdict import Interval


def strict(value):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(json.dumps(value, allow_nan=False), parse_constant=refuse)


@pytest.mark.parametrize("changes", [{}, {"diverged": {"relu": 2}}, {"arms": {"tanh": 0.9}}])
def test_round_trip(study, changes):
    result = study(**changes)
    choice = strict(choice_json(result))
    assert result_from_json(choice, plan=result.plan, records=result.records) == result


def test_what_stands_in_it(study):
    result = study()
    choice = strict(choice_json(result))
    assert choice["recommended"] == choice["activation"] == "elu"
    assert choice["cell"] == "rnn"
    assert choice["best_point"]["rate"] == 0.012
    assert choice["answer"]["en"].startswith("Use elu") and choice["answer"]["zh"].startswith(
        "请用"
    )
    assert choice["plan_hash"] == result.plan_hash
    assert choice["versions"]["torch"] == "2.13.0"
    assert choice["judgement"]["arms"][0]["verdict"] == "better"
    assert len(choice["judgement"]["arms"][0]["seeds"]) == 10


def test_what_is_not_finite_becomes_null_and_comes_back(study):
    judgement = study(sparse=True).judgement
    odd = dataclasses.replace(
        judgement.arms[0],
        score=math.nan,
        score_interval=Interval(-math.inf, 0.5, 0.95),
        stability={"dead_units": math.nan},
    )
    judgement = dataclasses.replace(judgement, arms=(odd, *judgement.arms[1:]))
    back = judgement_from_json(strict(judgement_to_json(judgement)))
    assert math.isnan(back.arms[0].score)
    assert math.isnan(back.arms[0].score_interval.low)
    assert back.arms[0].score_interval.high == 0.5
    assert back.arms[0].steps_to_reference is None
    assert math.isnan(back.arms[0].seconds_per_step)
    assert back.arms[1].seeds == judgement.arms[1].seeds


def test_plain_values():
    value = {
        1: np.float32(0.5),
        "array": np.array([[1.0, np.nan]]),
        "set": {3},
        "bool": np.bool_(True),
        "tuple": (np.int64(2), None, "x", True),
        "inf": -math.inf,
    }
    assert plain(value) == {
        "1": 0.5,
        "array": [[1.0, None]],
        "set": [3],
        "bool": True,
        "tuple": [2, None, "x", True],
        "inf": None,
    }
