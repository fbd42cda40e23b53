"""What tuning found: the point of each arm, and what more points would have brought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from throughtime.study.judge.scores import failed
from throughtime.study.records import Record
from throughtime.study.verdict import TuningPoint


def select(records: Sequence[Record], *, higher_is_better: bool) -> dict[str, int]:
    """Each arm's best tuning point, by mean validation score over the tuning seeds.

    A diverged run counts as the worst validation score of the whole tuning phase. Of points with
    equal means the one that diverged less is taken, then the one of lower number; so an arm that
    always diverged gets its lowest point.

    Args:
        records: runs of any phase; those of ``tune`` are looked at.
        higher_is_better: direction of the metric.

    Returns:
        Point number by arm.

    Example:
        >>> select(ledger.records(), higher_is_better=True)  # doctest: +SKIP
        {'tanh': 3, 'relu': 3}
    """
    sign = 1.0 if higher_is_better else -1.0
    worst = _worst(records, sign)
    chosen = {}
    for arm, points in _points(records).items():

        def goodness(point: int, runs: Mapping[int, list[Record]] = points):
            scores = [_validation(r, sign, worst) for r in runs[point]]
            return math.fsum(scores) / len(scores), -sum(map(failed, runs[point])), -point

        chosen[arm] = max(points, key=goodness)
    return chosen


def tuning_curves(
    records: Sequence[Record], *, higher_is_better: bool
) -> dict[str, tuple[TuningPoint, ...]]:
    """By arm, the expected best validation score against the number of tuning points.

    As in :func:`select` a diverged run counts as the worst score of the tuning phase; where no run
    has a score there is no curve.
    """
    sign = 1.0 if higher_is_better else -1.0
    worst = _worst(records, sign)
    if not math.isfinite(worst):
        return {}
    return {
        arm: tuning_curve(
            [
                sign * float(np.mean([_validation(r, sign, worst) for r in runs]))
                for runs in points.values()
            ],
            higher_is_better=higher_is_better,
        )
        for arm, points in _points(records).items()
    }


def tuning_curve(scores: Sequence[float], *, higher_is_better: bool) -> tuple[TuningPoint, ...]:
    """Expected best of k = 1 ... N of the N scores, as a band between two estimators.

    One end takes the k points with replacement (Dodge et al. 2019), which is pessimistic: it
    expects a worse best than the truth, most so for k near N (Tang et al. 2020). The other takes
    them without (the U-statistic), which is unbiased and varies more (Dodge et al. 2021); it is
    given as ``expected_best``. Both are for exchangeable points: random or scrambled quasi-random
    draws, never those of an adaptive search.

    Example:
        >>> curve = tuning_curve([0.1, 0.2, 0.6], higher_is_better=True)
        >>> [round(p.expected_best, 4) for p in curve]
        [0.3, 0.4667, 0.6]
    """
    sign = 1.0 if higher_is_better else -1.0
    ordered = np.sort(sign * np.asarray(scores, dtype=float))
    n = len(ordered)
    share = np.arange(n + 1) / n
    curve = []
    for k in range(1, n + 1):
        pessimistic = sign * float(np.diff(share**k) @ ordered)
        best_is = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
        unbiased = sign * float(np.dot(best_is, ordered))
        low, high = sorted((pessimistic, unbiased))
        curve.append(TuningPoint(k, unbiased, low, high))
    return tuple(curve)


def border(
    best: Mapping[str, float | str],
    tried: Sequence[Mapping[str, float | str]],
    space: Mapping[str, Any],
) -> tuple[str, ...]:
    """The tuned quantities whose best value lies at the edge of the space.

    That is: no tried value lies further out on that side, and it falls into the outer tenth of the
    range, on a logarithmic scale where the range is positive and spans a factor of ten or more.

    Args:
        best: the values of the best point.
        tried: the values of all points.
        space: by name a range ``(low, high)``, or the choices, which have no edge. Two numbers
            that are the only values tried are choices.
    """
    return tuple(
        name
        for name, value in best.items()
        if isinstance(value, (int, float))
        and (bounds := _range(name, tried, space)) is not None
        and _outermost(float(value), [float(t[name]) for t in tried if name in t], *bounds)
    )


def _range(
    name: str, tried: Sequence[Mapping[str, float | str]], space: Mapping[str, Any]
) -> tuple[float, float] | None:
    entry = space.get(name, ())
    if isinstance(entry, str) or len(entry) != 2:
        return None
    if not all(isinstance(end, (int, float)) for end in entry):
        return None
    low, high = entry
    between = any(t.get(name) not in (low, high) for t in tried)
    return (float(low), float(high)) if between and low < high else None


def _outermost(value: float, tried: Sequence[float], low: float, high: float) -> bool:
    if low > 0 and high / low >= 10:
        place = math.log(value / low) / math.log(high / low)
    else:
        place = (value - low) / (high - low)
    return (place <= 0.1 and value <= min(tried)) or (place >= 0.9 and value >= max(tried))


def _points(records: Sequence[Record]) -> dict[str, dict[int, list[Record]]]:
    """Tuning runs by arm and point, arms and points in order."""
    points: dict[str, dict[int, list[Record]]] = {}
    tuning = (r for r in records if r.phase == "tune")
    for record in sorted(tuning, key=lambda r: (r.arm, r.point, r.seed)):
        points.setdefault(record.arm, {}).setdefault(record.point, []).append(record)
    return points


def _validation(record: Record, sign: float, worst: float) -> float:
    score = record.validation_score
    return worst if failed(record) or score is None else sign * score


def _worst(records: Sequence[Record], sign: float) -> float:
    """The worst validation score of the tuning phase, turned so that higher is better."""
    return min(
        (
            sign * r.validation_score
            for r in records
            if r.phase == "tune" and not failed(r) and r.validation_score is not None
        ),
        default=-math.inf,
    )
