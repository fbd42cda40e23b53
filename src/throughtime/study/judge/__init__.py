"""The judge: records of runs in, verdicts out. Pure, without I/O, the same answer every time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from throughtime.errors import PlanError
from throughtime.study import power
from throughtime.study.judge import paired
from throughtime.study.judge.best_set import best_set_p
from throughtime.study.judge.comparison import Comparison, compare
from throughtime.study.judge.recommendation import Study, beats, recommend
from throughtime.study.judge.scores import (
    Evaluation,
    best_baseline,
    evaluations,
    failed,
    steps_to_reference,
)
from throughtime.study.judge.tuning import border, select, tuning_curve, tuning_curves
from throughtime.study.records import Record
from throughtime.study.verdict import ArmVerdict, Judgement, SeedScore, Verdict

__all__ = ["best_set_p", "judge", "select", "tuning_curve"]


def judge(
    records: Sequence[Record],
    *,
    metric: str,
    higher_is_better: bool,
    reference: str,
    smallest_difference: float,
    level: float,
    baselines: Mapping[str, float],
    space: Mapping[str, Any],
    seed: int = 0,
) -> Judgement:
    """The verdict on every arm, the best set and the recommendation.

    What each figure is: :func:`~throughtime.study.judge.scores.evaluations` (scores and
    divergence), :func:`~throughtime.study.judge.comparison.compare` (against the reference),
    :func:`~throughtime.study.judge.paired.verdict`,
    :func:`~throughtime.study.judge.best_set.best_set_p`,
    :func:`~throughtime.study.judge.recommendation.recommend` (the rule that picks an arm).

    The best set holds the arms of the Model Confidence Set, made to agree with the verdicts: an
    arm worse than the reference is out; the reference is out if and only if an arm is better; and
    while the reference is in, so is every arm equivalent to it.

    Args:
        records: all runs of the study, in any order.
        metric: name of the metric.
        higher_is_better: its direction.
        reference: the arm that the others are compared with.
        smallest_difference: the least difference that matters, in units of the metric; with 0 no
            arm is called equivalent.
        level: confidence level of the intervals and of the family of tests, such as 0.95.
        baselines: naive scores on the test block, by name.
        space: the tuned quantities, each a range ``(low, high)`` or its choices.
        seed: of the bootstrap.

    Returns:
        The judgement, its arms by rank: mean score, then fewer divergences, cost, name.

    Raises:
        PlanError: the reference was not evaluated, or the records do not make a study (see
            :func:`~throughtime.study.judge.scores.evaluations`).

    Example:
        >>> verdict = judge(
        ...     records, metric="accuracy", higher_is_better=True, reference="tanh",
        ...     smallest_difference=0.01, level=0.95, baselines={"majority": 0.1},
        ...     space={"rate": (3e-4, 3e-2)},
        ... )  # doctest: +SKIP
        >>> say(f"judge.{verdict.reason}", **verdict.reason_fields)  # doctest: +SKIP
        'Use elu: accuracy 0.942 against 0.915 with tanh over 10 paired seeds (...).'
    """
    if not (0.5 < level < 1 and 0 <= smallest_difference < math.inf):
        raise PlanError("judge.unsound", level=level, smallest_difference=smallest_difference)
    arms = evaluations(records, higher_is_better=higher_is_better, baselines=baselines)
    if reference not in arms:
        raise PlanError("judge.no_reference", reference=reference, arms=", ".join(arms))
    comparisons = compare(
        arms, reference=reference, smallest_difference=smallest_difference, level=level, seed=seed
    )
    pairs = min((c.pairs for c in comparisons.values()), default=len(arms[reference].runs))
    verdicts: dict[str, Verdict] = {
        arm: "reference" if arm == reference else comparisons[arm].verdict for arm in arms
    }
    set_p = _best_set(arms, seed)
    best = _agreeing({a for a, p in set_p.items() if p > power.alpha_of(level)}, verdicts)
    curves = tuning_curves(records, higher_is_better=higher_is_better)
    ranked = sorted(arms.values(), key=_standing)
    judged = tuple(
        _arm(
            evaluation,
            rank=rank,
            verdict=verdicts[evaluation.arm],
            comparison=comparisons.get(evaluation.arm),
            in_best_set=evaluation.arm in best,
            set_p=set_p[evaluation.arm],
            steps=steps_to_reference(
                evaluation, arms[reference], higher_is_better=higher_is_better
            ),
            curve=curves.get(evaluation.arm, ()),
            tuned=[r for r in records if r.phase == "tune" and r.arm == evaluation.arm],
            higher_is_better=higher_is_better,
            level=level,
            space=space,
            seed=seed,
        )
        for rank, evaluation in enumerate(ranked, 1)
    )
    study = Study(metric, higher_is_better, reference, smallest_difference, level, baselines, pairs)
    recommended = recommend(judged, study)
    naive = best_baseline(baselines, higher_is_better=higher_is_better)
    chosen = next(a for a in judged if a.arm == recommended.arm)
    return Judgement(
        metric=metric,
        higher_is_better=higher_is_better,
        reference=reference,
        recommended=recommended.arm,
        reason=recommended.reason,
        reason_fields=recommended.fields,
        arms=judged,
        best_set=tuple(a.arm for a in judged if a.in_best_set),
        baselines=dict(baselines),
        beats_baseline=naive is None or beats(chosen, naive[1], study),
        smallest_difference=smallest_difference,
        level=level,
        pairs=pairs,
        smallest_p=power.smallest_p(pairs),
        can_be_significant=power.can_be_significant(pairs, len(arms) - 1, level),
    )


def _best_set(arms: Mapping[str, Evaluation], seed: int) -> dict[str, float]:
    """The Model Confidence Set's p by arm, over the seeds that all arms share."""
    shared = sorted(set.intersection(*(set(e.runs) for e in arms.values())))
    scores = np.array([e.values(shared) for e in arms.values()])
    if np.isnan(scores).any():
        return dict.fromkeys(arms, 1.0)
    return dict(zip(arms, map(float, best_set_p(scores, seed)), strict=True))


def _agreeing(confident: set[str], verdicts: Mapping[str, Verdict]) -> set[str]:
    """The best set in agreement with the verdicts; never empty."""
    better = {a for a, v in verdicts.items() if v == "better"}
    if better:
        kept = {a for a in confident if verdicts[a] not in ("reference", "worse")}
        return kept if kept & better else kept | better
    alike = {a for a, v in verdicts.items() if v in ("reference", "equivalent")}
    return {a for a in confident | alike if verdicts[a] != "worse"}


def _arm(
    evaluation: Evaluation,
    *,
    rank: int,
    verdict: Verdict,
    comparison: Comparison | None,
    in_best_set: bool,
    set_p: float,
    steps: float | None,
    curve: tuple,
    tuned: Sequence[Record],
    higher_is_better: bool,
    level: float,
    space: Mapping[str, Any],
    seed: int,
) -> ArmVerdict:
    runs = evaluation.runs
    sign = 1.0 if higher_is_better else -1.0
    first = next(iter(runs.values()))
    return ArmVerdict(
        arm=evaluation.arm,
        activation=first.activation,
        cell=first.cell,
        rank=rank,
        verdict=verdict,
        score=sign * evaluation.mean,
        score_interval=paired.mean_interval(sign * evaluation.values(), level, seed),
        seeds=tuple(
            SeedScore(s, sign * g, failed(runs[s])) for s, g in evaluation.goodness.items()
        ),
        runs=len(runs),
        diverged=evaluation.diverged,
        divergence_interval=paired.exact_share(evaluation.diverged, len(runs), level),
        difference=comparison and comparison.difference,
        difference_interval=comparison and comparison.interval,
        p_value=comparison and comparison.p_value,
        p_holm=comparison and comparison.p_holm,
        win_probability=comparison and comparison.win_probability,
        win_interval=comparison and comparison.win_interval,
        in_best_set=in_best_set,
        best_set_p=set_p,
        steps_to_reference=steps,
        seconds_per_step=_seconds(evaluation),
        best_point=dict(first.values),
        border=border(first.values, [r.values for r in tuned], space),
        tuning_curve=curve,
        tuning_diverged=sum(map(failed, tuned)),
        tuning_runs=len(tuned),
        stability=_stability(evaluation),
        seeds_needed=comparison and comparison.seeds_needed,
    )


def _seconds(evaluation: Evaluation) -> float:
    """Median over the runs of the time of a training step."""
    times = [r.seconds_per_step for r in evaluation.runs.values()]
    finite = [t for t in times if math.isfinite(t)]
    return float(np.median(finite)) if finite else math.nan


def _stability(evaluation: Evaluation) -> dict[str, float]:
    """Each share, averaged over the runs that have it."""
    seen: dict[str, list[float]] = {}
    for record in evaluation.runs.values():
        for name, share in record.stability.items():
            if math.isfinite(share):
                seen.setdefault(name, []).append(share)
    return {name: math.fsum(shares) / len(shares) for name, shares in sorted(seen.items())}


def _standing(evaluation: Evaluation) -> tuple[float, int, float, str]:
    """What arms are ranked by, smallest first; what is not known comes last."""
    mean, seconds = evaluation.mean, _seconds(evaluation)
    return (
        math.inf if math.isnan(mean) else -mean,
        evaluation.diverged,
        math.inf if math.isnan(seconds) else seconds,
        evaluation.arm,
    )
