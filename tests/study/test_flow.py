"""What flows back in each arm's network: kept in the ledger, shown in the report as "why"."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from throughtime.study import choose, reopen
from throughtime.study.flow import best_run, flow, winners, with_why
from throughtime.study.ledger import Ledger, _record
from throughtime.study.plan import Plan
from throughtime.study.result import StudyResult

from .studies import judged, record


@pytest.fixture(scope="module")
def choice(tmp_path_factory):
    return choose(
        "adding:T=8,N=240", arms=("tanh", "relu"), cells=("rnn", "gru"),
        out=tmp_path_factory.mktemp("why") / "o",
        points=2, epochs=2, evaluation_seeds=3, hidden_size=6, bidirectional=True, workers=1,
    )  # fmt: skip


def test_evaluated_runs_keep_their_flow_and_tuning_runs_do_not(choice):
    plan = Plan.load(choice.folder / "plan.toml")
    for run in Ledger(choice.folder / "ledger.sqlite").records(plan.hash):
        kept = set(run.flow) if run.phase == "evaluate" and not run.diverged else set()
        assert kept == ({"recurrent.l0", "recurrent.l0_reverse"} if kept else set())
        assert bool(kept) == (run.phase == "evaluate")
        json.dumps(run.flow, allow_nan=False)


def test_the_report_says_why_for_every_arm_in_both_languages(choice):
    (section,) = choice.result.why
    for language in ("en", "zh"):
        for arm in choice.result.judgement.arms:
            assert arm.arm in section.html[language]
    page = (choice.folder / "report.html").read_text("utf-8")
    assert section.title["en"] in page and section.title["zh"] in page


def test_a_study_opened_again_says_the_same(choice):
    assert reopen(choice.folder).result.why == choice.result.why


def test_a_ledger_from_before_has_no_such_section(choice):
    old = tuple(replace(r, flow={}) for r in choice.result.records)
    result = replace(choice.result, records=old, why=())
    assert with_why(result).why == ()


def test_a_record_written_before_is_read():
    fields = vars(record("tanh", 0, 0.5)).copy()
    del fields["flow"]
    assert _record(json.dumps(fields)).flow == {}


def result(records):
    return StudyResult("t", "classification", judged(records), tuple(records), {}, "")


def runs(arm, scores, **changes):
    return [
        record(
            arm, seed, score, flow={"l0": {"seed": seed}} if score is not None else {}, **changes
        )
        for seed, score in enumerate(scores)
    ]


def test_all_arms_are_shown_on_the_seed_of_the_network_handed_over():
    given = result(runs("tanh", [0.5, 0.9, 0.6]) + runs("relu", [0.4, 0.2, 0.3]))
    assert given.judgement.recommended == "tanh"
    best = best_run(given, "tanh")
    assert best is not None and best.seed == 1
    assert winners(given) == {"tanh": {"l0": {"seed": 1}}, "relu": {"l0": {"seed": 1}}}


def test_an_arm_that_diverged_there_shows_another_seed_and_one_that_always_did_none():
    given = result(
        runs("tanh", [0.5, 0.9, 0.6]) + runs("relu", [0.4, None, 0.3]) + runs("elu", [None] * 3)
    )
    assert winners(given) == {"tanh": {"l0": {"seed": 1}}, "relu": {"l0": {"seed": 0}}}


def test_a_network_that_cannot_be_traced_has_no_flow():
    frozen = torch.nn.Linear(2, 2)

    class Block:
        x = lengths = torch.zeros(1)

        def __len__(self):
            return 1

        def rows(self, rows):
            return self

    assert flow(frozen, SimpleNamespace(loss=None), Block()) == {}
