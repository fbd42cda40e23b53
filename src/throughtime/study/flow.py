"""Why an arm does as it does: what flows back through its networks, kept beside their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from throughtime.errors import TraceError
from throughtime.fleet.model import SequenceModel
from throughtime.gradients import trace
from throughtime.gradients.summary import flow_summary
from throughtime.study.records import Record
from throughtime.study.result import StudyResult
from throughtime.tasks import Block, Preprocessing

SEQUENCES, POINTS, PROBES = 16, 60, 4


def flow(model: SequenceModel, preprocessing: Preprocessing, block: Block) -> dict[str, Any]:
    """The flow through a trained network on 16 sequences spread over a block, as strict JSON.

    Costs about three training steps. ``{}`` where nothing can be said: an empty block, or a
    network whose input is out of bounds.
    """
    if not len(block):
        return {}
    rows = torch.linspace(0, len(block) - 1, min(len(block), SEQUENCES)).round().long()
    try:
        found = trace(
            model,
            block.rows(rows),
            lambda model, some: preprocessing.loss(model(some.x, some.lengths), some),
        )
    except TraceError:
        return {}
    return flow_summary(found.records, points=POINTS, probes=PROBES)


def winners(result: StudyResult) -> dict[str, dict[str, Any]]:
    """The flow of each arm's best point, by rank: all of one seed, that of the network handed over.

    An arm that diverged there shows another of its seeds; one that always did is left out.
    """
    judgement = result.judgement
    chosen = best_run(result, judgement.recommended)
    found = {}
    for arm in judgement.arms:
        runs = [r for r in _evaluated(result.records, arm.arm) if r.flow]
        paired = [r for r in runs if chosen and r.seed == chosen.seed]
        if shown := paired or runs:
            found[arm.arm] = shown[0].flow
    return found


def best_run(result: StudyResult, arm: str) -> Record | None:
    """The evaluated run of an arm with the best validation score; None if all diverged."""
    sign = 1 if result.judgement.higher_is_better else -1
    runs = _evaluated(result.records, arm)
    return max(runs, key=lambda r: sign * (r.validation_score or 0.0), default=None)


def with_why(result: StudyResult) -> StudyResult:
    """The result with its report's section "why"; as it is where no run kept a flow."""
    from throughtime.report.why import sections

    arms = winners(result)
    return replace(result, why=(sections(arms),)) if arms else result


def _evaluated(records: Sequence[Record], arm: str) -> list[Record]:
    return [r for r in records if r.phase == "evaluate" and r.arm == arm and not r.diverged]
