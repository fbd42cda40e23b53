"""The rows behind every chart and every table of the page: plain values, arms by rank.

What is not finite becomes ``None``. Charts and tables are drawn from the same rows, so that they
cannot disagree.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from throughtime.report.numbers import finite
from throughtime.study.result import StudyResult
from throughtime.study.verdict import ArmVerdict, Judgement

Rows = list[dict[str, Any]]

SHARES = ("diverged", "dead_units", "saturated_units")
LANES = 4


def chosen(judgement: Judgement) -> ArmVerdict | None:
    """The recommended arm; ``None`` where all runs diverged, so that nothing can be recommended."""
    if all(a.diverged == a.runs for a in judgement.arms):
        return None
    return next((a for a in judgement.arms if a.arm == judgement.recommended), None)


def order(result: StudyResult) -> list[str]:
    """The arms by rank."""
    return [a.arm for a in result.judgement.arms]


def scores(result: StudyResult) -> Rows:
    """One row an arm: mean score on the test block and its interval."""
    return [
        {
            "arm": a.arm,
            "score": finite(a.score),
            "low": finite(a.score_interval.low),
            "high": finite(a.score_interval.high),
            "best": a.in_best_set,
        }
        for a in result.judgement.arms
    ]


def seeds(result: StudyResult) -> Rows:
    """One row an evaluation run; ``lane`` sets dots apart that would lie on one another."""
    arms = result.judgement.arms
    values = [s.score for a in arms for s in a.seeds if finite(s.score) is not None]
    width = (max(values) - min(values)) / 60 if values else 0.0
    rows = []
    for a in arms:
        lanes = _lanes([finite(s.score) for s in a.seeds], width)
        rows += [
            {
                "arm": a.arm,
                "seed": s.seed,
                "score": finite(s.score),
                "diverged": s.diverged,
                "lane": lane,
            }
            for s, lane in zip(a.seeds, lanes, strict=True)
        ]
    return rows


def differences(result: StudyResult) -> Rows:
    """One row an arm but the reference: mean paired difference and its interval."""
    return [
        {
            "arm": a.arm,
            "difference": finite(a.difference),
            "low": a.difference_interval and finite(a.difference_interval.low),
            "high": a.difference_interval and finite(a.difference_interval.high),
            "verdict": a.verdict,
        }
        for a in result.judgement.arms
        if a.arm != result.judgement.reference
    ]


def pairs(result: StudyResult) -> Rows:
    """One row a pair of runs that share a seed: arm minus reference, positive is better."""
    judgement = result.judgement
    sign = 1 if judgement.higher_is_better else -1
    reference = {s.seed: s for a in judgement.arms if a.arm == judgement.reference for s in a.seeds}
    return [
        {
            "arm": a.arm,
            "seed": s.seed,
            "difference": finite(sign * (s.score - reference[s.seed].score)),
            "diverged": s.diverged or reference[s.seed].diverged,
        }
        for a in judgement.arms
        if a.arm != judgement.reference
        for s in a.seeds
        if s.seed in reference
    ]


def learning(result: StudyResult) -> Rows:
    """Validation score by epoch over the evaluation runs: median and middle half, by arm.

    A run that stopped early keeps its last value; one that diverged counts as the worst of all
    from there on.
    """
    worst = -np.inf if result.judgement.higher_is_better else np.inf
    rows = []
    for arm in order(result):
        runs = [r for r in result.records if r.arm == arm and r.phase == "evaluate"]
        epochs = max((len(r.validation_curve) for r in runs), default=0)
        if epochs == 0:
            continue
        table = np.array([_extended(r.validation_curve, epochs, r.diverged, worst) for r in runs])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            low, median, high = np.quantile(table, [0.25, 0.5, 0.75], axis=0)
        rows += [
            {
                "arm": arm,
                "epoch": epoch + 1,
                "median": finite(median[epoch]),
                "low": finite(low[epoch]),
                "high": finite(high[epoch]),
            }
            for epoch in range(epochs)
        ]
    return rows


def tuning(result: StudyResult) -> Rows:
    """Expected best validation score by number of tuning points, with its band, by arm."""
    return [
        {
            "arm": a.arm,
            "points": p.points,
            "expected": finite(p.expected_best),
            "low": finite(p.low),
            "high": finite(p.high),
        }
        for a in result.judgement.arms
        for p in a.tuning_curve
    ]


def shares(result: StudyResult) -> list[str]:
    """Which shares of the stability of training are known for some arm; always ``diverged``."""
    known = {name for a in result.judgement.arms for name in a.stability}
    return [name for name in SHARES if name == "diverged" or name in known]


def stability(result: StudyResult, share: str) -> Rows:
    """One row an arm: a share between 0 and 1; diverged runs with an interval and the counts."""
    if share != "diverged":
        return [
            {"arm": a.arm, "share": finite(a.stability.get(share))} for a in result.judgement.arms
        ]
    return [
        {
            "arm": a.arm,
            "share": a.diverged / a.runs if a.runs else None,
            "low": finite(a.divergence_interval.low),
            "high": finite(a.divergence_interval.high),
            "diverged": a.diverged,
            "runs": a.runs,
            "tuning_diverged": a.tuning_diverged,
            "tuning_runs": a.tuning_runs,
        }
        for a in result.judgement.arms
    ]


def costs(result: StudyResult) -> Rows:
    """One row an arm: milliseconds a step, steps to the reference's score, seconds in all."""
    spent = result.timings.get("arms", {})
    return [
        {
            "arm": a.arm,
            "milliseconds": _times(a.seconds_per_step, 1000),
            "steps": finite(a.steps_to_reference),
            "seconds": finite(spent.get(a.arm)),
        }
        for a in result.judgement.arms
    ]


def runs(result: StudyResult) -> Rows:
    """One row a run of the ledger, by arm, phase, point and seed."""
    rank = {arm: i for i, arm in enumerate(order(result))}
    ordered = sorted(
        result.records,
        key=lambda r: (rank.get(r.arm, len(rank)), r.phase == "tune", r.point, r.seed),
    )
    return [
        {
            "arm": r.arm,
            "phase": r.phase,
            "point": r.point,
            "values": r.values,
            "seed": r.seed,
            "validation": finite(r.validation_score),
            "test": finite(r.test_score),
            "diverged": r.diverged,
            "epochs": len(r.validation_curve),
            "key": r.key,
        }
        for r in ordered
    ]


def flat(plan: dict[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """The plan as pairs of a dotted name and a value in words."""
    for key, value in plan.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and value:
            yield from flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value)) or "[]"
        else:
            yield name, str(value)


def _times(value: float | None, factor: float) -> float | None:
    known = finite(value)
    return None if known is None else known * factor


def _extended(curve: tuple[float, ...], epochs: int, diverged: bool, worst: float) -> list[float]:
    known = [value if np.isfinite(value) else worst for value in curve]
    last = worst if diverged or not known else known[-1]
    return known + [last] * (epochs - len(known))


def _lanes(values: list[float | None], width: float) -> list[int]:
    """A lane for each value, so that values of one lane lie ``width`` apart where lanes last."""
    lanes = [0] * len(values)
    last = [-np.inf] * LANES
    for i in sorted(range(len(values)), key=lambda i: (values[i] is None, values[i] or 0.0)):
        value = values[i]
        if value is None:
            continue
        free = [k for k in range(LANES) if value - last[k] > width]
        lane = free[0] if free else int(np.argmin(last))
        lanes[i], last[lane] = lane, value
    return lanes
