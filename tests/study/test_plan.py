from __future__ import annotations

import math
import re

import pytest

from throughtime.errors import PlanError
from throughtime.study.plan import Plan, Space

DATA = {"source": "digits"}


def test_a_plan_survives_its_file(tmp_path):
    plan = Plan(data=DATA, arms=("tanh", "mine=x*tanh(x)"), points=3)
    plan.save(tmp_path / "plan.toml")
    again = Plan.load(tmp_path / "plan.toml")
    assert again == plan and again.hash == plan.hash


@pytest.mark.parametrize(
    "change",
    [
        {"arms": ("tanh", "relu")},
        {"cells": ("gru",)},
        {"hidden_size": 33},
        {"num_layers": 2},
        {"bidirectional": True},
        {"space": Space(rate=(1e-4, 1e-2))},
        {"points": 9},
        {"epochs": 31},
        {"patience": 11},
        {"batch_size": 32},
        {"tuning_seeds": 2},
        {"evaluation_seeds": 11},
        {"smallest_difference": 0.01},
        {"level": 0.9},
        {"seed": 1},
        {"data": {"source": "adding"}},
    ],
)
def test_every_field_changes_the_hash(change):
    assert Plan(**({"data": DATA} | change)).hash != Plan(data=DATA).hash


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": 0}, "points"),
        ({"evaluation_seeds": 1}, "evaluation_seeds"),
        ({"level": 95}, "level"),
        ({"arms": ("relu",)}, "'tanh' is not among relu"),
        ({"arms": ("tanh", "tanh")}, "named twice"),
        ({"cells": ("transformer",)}, "cells"),
        ({"hiden_size": 3}, "hiden_size"),
        ({"space": {"rate": (1.0, 0.1)}}, "rate must be two positive numbers"),
        ({"smallest_difference": 0}, "smallest_difference"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(fields, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        Plan.of(data=DATA, **fields)


def test_the_design_is_shared_spread_out_and_extends_itself():
    space = Space()
    long, short = space.design(16, seed=5), space.design(4, seed=5)
    assert long[:4] == short
    logs = sorted(
        math.log(p["rate"] / space.rate[0]) / math.log(space.rate[1] / space.rate[0]) for p in long
    )
    assert all(k / 16 <= u <= (k + 1) / 16 for k, u in enumerate(logs))
    assert {p["start"] for p in long} == set(space.start)
    assert space.design(16, seed=6) != long


def test_seeds_of_the_two_phases_never_meet_and_arms_are_paired():
    plan = Plan(data=DATA, points=4, tuning_seeds=3, evaluation_seeds=12)
    tune = list(plan.specifications("tune"))
    evaluate = list(plan.specifications("evaluate", dict.fromkeys(plan.arms, 2)))
    assert len(tune) == 4 * 3 * 7 and len(evaluate) == 12 * 7
    assert not {r.seed for r in tune} & {r.seed for r in evaluate}
    for runs in (tune, evaluate):
        per_arm = {arm: [(r.point, r.seed) for r in runs if r.arm == arm] for arm in plan.arms}
        assert len(set(map(tuple, per_arm.values()))) == 1
    assert len({r.key for r in tune + evaluate}) == len(tune + evaluate)


def test_several_cells_name_their_arms_apart():
    plan = Plan(data=DATA, arms=("tanh", "mine=x*tanh(x)"), cells=("rnn", "gru"))
    names = [run.arm for run in plan.specifications("tune")][:4]
    assert names == ["rnn-tanh", "rnn-mine", "gru-tanh", "gru-mine"]
    assert plan.reference_arm == "rnn-tanh"
