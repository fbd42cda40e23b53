"""What the judge says: plain values, written to ``choice.json`` as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["reference", "better", "equivalent", "worse", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval at ``level`` (0.95 = 95 %)."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class SeedScore:
    """One evaluation run: its seed, its score on the test block, whether training diverged.

    ``score`` of a diverged run is the worst score of the study (or the naive baseline's, if that
    is worse): divergence ranks last and is never dropped.
    """

    seed: int
    score: float
    diverged: bool


@dataclass(frozen=True)
class TuningPoint:
    """Expected best validation score after ``points`` tuning points, with a band."""

    points: int
    expected_best: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmVerdict:
    """One arm of the study against the reference arm.

    Differences are signed so that positive is better than the reference, in units of the metric.
    ``win_probability`` is P(this arm beats the reference on one fresh paired seed), ties half.
    ``border`` names the tuned quantities whose best value lies at the edge of the space.
    """

    arm: str
    activation: str
    cell: str
    rank: int
    verdict: Verdict
    score: float
    score_interval: Interval
    seeds: tuple[SeedScore, ...]
    runs: int
    diverged: int
    divergence_interval: Interval
    difference: float | None
    difference_interval: Interval | None
    p_value: float | None
    p_holm: float | None
    win_probability: float | None
    win_interval: Interval | None
    in_best_set: bool
    best_set_p: float
    steps_to_reference: float | None
    seconds_per_step: float
    best_point: dict[str, float | str]
    border: tuple[str, ...]
    tuning_curve: tuple[TuningPoint, ...]
    tuning_diverged: int
    tuning_runs: int
    stability: dict[str, float]
    seeds_needed: int | None


@dataclass(frozen=True)
class Judgement:
    """The whole answer: arms by rank, the recommended one and why.

    ``reason`` is an entry of the language catalogue's room ``judge`` and ``reason_fields`` fill it.
    ``baselines`` holds the naive scores on the same test block, ``beats_baseline`` whether the
    recommended arm's interval lies beyond the best of them.
    """

    metric: str
    higher_is_better: bool
    reference: str
    recommended: str
    reason: str
    reason_fields: dict[str, object]
    arms: tuple[ArmVerdict, ...]
    best_set: tuple[str, ...]
    baselines: dict[str, float]
    beats_baseline: bool
    smallest_difference: float
    level: float
    pairs: int
    smallest_p: float
    can_be_significant: bool


def leaves_open(arm: ArmVerdict, smallest_difference: float) -> bool:
    """Whether an undecided arm may still be better than the reference by what matters.

    Where its whole interval ends below the smallest difference that matters, more seeds can only
    tell "equivalent" from "worse", and neither is a reason to change.
    """
    interval = arm.difference_interval
    within_reach = interval is None or not interval.high < smallest_difference
    return arm.verdict == "undecided" and arm.in_best_set and within_reach
