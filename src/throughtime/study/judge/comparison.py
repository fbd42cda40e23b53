"""Each arm against the reference, over the seeds they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from throughtime.study import power
from throughtime.study.judge import paired
from throughtime.study.judge.scores import Evaluation, failed
from throughtime.study.verdict import Interval, Verdict


@dataclass(frozen=True)
class Comparison:
    """One arm against the reference; positive differences are in the arm's favour."""

    pairs: int
    informative: int
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    win_probability: float | None = None
    win_interval: Interval | None = None
    verdict: Verdict = "undecided"
    seeds_needed: int | None = None


def compare(
    arms: Mapping[str, Evaluation],
    *,
    reference: str,
    smallest_difference: float,
    level: float,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Every arm but the reference, compared with it on the seeds both were run with.

    Mean difference with its interval, exact sign-flip test corrected by Holm over the arms, and the
    probability to win on a fresh seed: ties count half, and a run that diverged loses to one that
    did not even where their scores are equal.

    ``seeds_needed`` of an undecided arm: pairs a new study would need in all, by
    :func:`throughtime.study.power.pairs_to_decide` with the spread seen here; rough, as the spread
    of a few seeds is. Where no smallest difference is given, the observed one stands for it.
    """
    found = {
        name: _pair(evaluation, arms[reference], level, seed)
        for name, evaluation in arms.items()
        if name != reference
    }
    tested = {name: c.p_value for name, c in found.items() if c.p_value is not None}
    corrected = dict(zip(tested, paired.holm(list(tested.values())), strict=True))
    return {
        name: _decide(
            replace(c, p_holm=corrected.get(name)),
            _spread(arms[name], arms[reference]),
            smallest_difference,
            len(found),
            level,
        )
        for name, c in found.items()
    }


def _pair(arm: Evaluation, reference: Evaluation, level: float, seed: int) -> Comparison:
    seeds = _shared(arm, reference)
    informative = [s for s in seeds if not (failed(arm.runs[s]) and failed(reference.runs[s]))]
    if not informative:
        return Comparison(len(seeds), 0)
    differences = arm.values(seeds) - reference.values(seeds)
    wins = math.fsum(_win(arm, reference, s) for s in seeds)
    return Comparison(
        len(seeds),
        len(informative),
        difference=float(np.mean(differences)),
        interval=paired.mean_interval(differences, level, seed) if len(seeds) > 1 else None,
        p_value=paired.sign_flip(differences, seed),
        win_probability=wins / len(seeds),
        win_interval=paired.exact_share(wins, len(seeds), level),
    )


def _decide(
    comparison: Comparison,
    spread: float,
    smallest_difference: float,
    comparisons: int,
    level: float,
) -> Comparison:
    verdict = paired.verdict(
        comparison.interval, comparison.p_holm, comparison.informative, smallest_difference
    )
    return replace(
        comparison,
        verdict=verdict,
        seeds_needed=_seeds_needed(
            spread, smallest_difference or abs(comparison.difference or 0.0), comparisons, level
        )
        if verdict == "undecided"
        else None,
    )


def _seeds_needed(spread: float, margin: float, comparisons: int, level: float) -> int | None:
    if not math.isfinite(spread) or margin == 0:
        return None
    ratio = margin / spread if spread > 0 else math.inf
    return power.pairs_to_decide(ratio, comparisons, level)


def _spread(arm: Evaluation, reference: Evaluation) -> float:
    """Standard deviation of the paired differences; NaN without two pairs."""
    seeds = _shared(arm, reference)
    if len(seeds) < 2:
        return math.nan
    return float(np.std(arm.values(seeds) - reference.values(seeds), ddof=1))


def _shared(arm: Evaluation, reference: Evaluation) -> list[int]:
    return sorted(set(arm.runs) & set(reference.runs))


def _win(arm: Evaluation, reference: Evaluation, seed: int) -> float:
    mine = (arm.goodness[seed], not failed(arm.runs[seed]))
    theirs = (reference.goodness[seed], not failed(reference.runs[seed]))
    return 0.5 if mine == theirs else float(mine > theirs)
