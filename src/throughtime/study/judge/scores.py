"""The scores of the evaluation runs, turned so that higher is better, divergence last."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from throughtime.errors import PlanError
from throughtime.study.records import Record


@dataclass(frozen=True)
class Evaluation:
    """One arm's evaluation runs, by seed in order; ``goodness`` is the signed score."""

    arm: str
    runs: Mapping[int, Record]
    goodness: Mapping[int, float]

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return sum(map(failed, self.runs.values()))

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return math.fsum(self.goodness.values()) / len(self.goodness)

    def values(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Goodness on these seeds, (seeds,)."""
        return np.array([self.goodness[s] for s in (self.goodness if seeds is None else seeds)])


def evaluations(
    records: Sequence[Record], *, higher_is_better: bool, baselines: Mapping[str, float]
) -> dict[str, Evaluation]:
    """The evaluation runs by arm, arms by name.

    A run that diverged, or whose test score is not finite, gets the worst of all finite test
    scores in the study, or the best naive baseline's score where that is worse still: with a
    network that diverged one is left with the naive answer at best, and it never ranks before one
    that was trained. Where no run at all has a score, every goodness is NaN.

    Raises:
        PlanError: no evaluation run; an arm tuned but not evaluated; two runs of one arm on one
            seed; an arm evaluated at several tuning points.
    """
    sign = 1.0 if higher_is_better else -1.0
    evaluated = sorted((r for r in records if r.phase == "evaluate"), key=lambda r: (r.arm, r.seed))
    if not evaluated:
        raise PlanError("judge.nothing_evaluated")
    runs: dict[str, dict[int, Record]] = {}
    for record in evaluated:
        if record.seed in runs.setdefault(record.arm, {}):
            raise PlanError("judge.evaluated_twice", arm=record.arm, seed=record.seed)
        runs[record.arm][record.seed] = record
    unfinished = sorted({r.arm for r in records} - set(runs))
    if unfinished:
        raise PlanError("judge.not_evaluated", arms=", ".join(unfinished))
    for arm, by_seed in runs.items():
        points = sorted({r.point for r in by_seed.values()})
        if len(points) > 1:
            raise PlanError("judge.several_points", arm=arm, points=", ".join(map(str, points)))
    finite = [_signed(r, sign) for r in evaluated if not failed(r)]
    naive = best_baseline(baselines, higher_is_better=higher_is_better)
    floor = min(finite, default=math.nan)
    if finite and naive is not None:
        floor = min(floor, sign * naive[1])
    return {
        arm: Evaluation(
            arm, by_seed, {s: floor if failed(r) else _signed(r, sign) for s, r in by_seed.items()}
        )
        for arm, by_seed in runs.items()
    }


def best_baseline(
    baselines: Mapping[str, float], *, higher_is_better: bool
) -> tuple[str, float] | None:
    """The naive baseline with the best finite score, with its name."""
    known = sorted((name, score) for name, score in baselines.items() if math.isfinite(score))
    sign = 1.0 if higher_is_better else -1.0
    return max(known, key=lambda item: sign * item[1], default=None)


def failed(record: Record) -> bool:
    """Whether the run diverged, or has no finite score of its phase."""
    score = record.validation_score if record.phase == "tune" else record.test_score
    return record.diverged or score is None or not math.isfinite(score)


def steps_to_reference(
    arm: Evaluation, reference: Evaluation, *, higher_is_better: bool
) -> float | None:
    """Optimiser steps until the validation score first reaches the reference's usual best one.

    The goal is the median, over the reference's evaluation runs, of the best validation score, a
    diverged run counting as the worst. The answer is the median over the arm's runs (the lower one
    of two), counted in whole epochs; a diverged run never arrives. ``None`` if fewer than half of
    the runs arrive, or the reference has no goal to give as half of its runs diverged.
    """
    sign = 1.0 if higher_is_better else -1.0
    goal = statistics.median(
        -math.inf
        if failed(r) or r.validation_score is None or math.isnan(r.validation_score)
        else sign * r.validation_score
        for r in reference.runs.values()
    )
    if not math.isfinite(goal):
        return None
    steps = statistics.median_low(_steps(r, sign, goal) for r in arm.runs.values())
    return steps if math.isfinite(steps) else None


def _steps(record: Record, sign: float, goal: float) -> float:
    if failed(record):
        return math.inf
    arrivals = (e for e, v in enumerate(record.validation_curve, 1) if sign * v >= goal)
    return float(next(arrivals, math.inf) * record.steps_per_epoch)


def _signed(record: Record, sign: float) -> float:
    assert record.test_score is not None
    return sign * record.test_score
