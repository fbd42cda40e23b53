"""From verdicts to one recommended arm and its reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from throughtime.study import power
from throughtime.study.judge.scores import best_baseline
from throughtime.study.verdict import ArmVerdict, leaves_open

EQUALLY_CHEAP = 1.1
"""Steps that take up to this multiple of the cheapest one's time cost the same."""

MANY_PAIRS = 1000
"""From here on more seeds are no sensible advice."""


@dataclass(frozen=True)
class Study:
    """What a recommendation needs besides the arms."""

    metric: str
    higher_is_better: bool
    reference: str
    smallest_difference: float
    level: float
    baselines: Mapping[str, float]
    pairs: int


@dataclass(frozen=True)
class Recommendation:
    """The arm to use; ``reason`` is an entry of the catalogue's room ``judge``."""

    arm: str
    reason: str
    fields: dict[str, object]


def recommend(arms: Sequence[ArmVerdict], study: Study) -> Recommendation:
    """The arm to use, by this rule.

    1. Candidates are the arms of the best set; if any of them is better than the reference, only
       those that are.
    2. Of the candidates, those that diverged in the smallest share of their runs.
    3. If the reference is among these, it is kept, unless an arm among them is equivalent to it
       and cheaper by more than a tenth a step: then the best of those, by 4.
    4. Otherwise those whose step takes at most a tenth longer than the cheapest one's, and of
       these the highest mean score (then the first by name).

    So a change from the reference must be earned: by a better score, by fewer divergences with a
    score that cannot be told from the best, or by the same score at a lower cost.

    The reason is the entry of that outcome, or of what matters more: that all runs diverged, that
    no arm is shown to beat the naive baseline, that there is no other arm.
    """
    reference = next(a for a in arms if a.arm == study.reference)
    if all(a.diverged == a.runs for a in arms):
        return Recommendation(
            study.reference, "all_diverged", {"runs": sum(a.runs for a in arms), "arms": len(arms)}
        )
    better = [a for a in arms if a.verdict == "better" and a.in_best_set]
    stable = _most_stable(better or [a for a in arms if a.in_best_set])
    cheaper = [
        a
        for a in stable
        if a.verdict == "equivalent"
        and a.seconds_per_step * EQUALLY_CHEAP < reference.seconds_per_step
    ]
    keep = reference in stable and not cheaper
    chosen = reference if keep else _cheap_then_high(cheaper or stable, study)
    fields = _figures(chosen, reference, study)
    baseline = best_baseline(study.baselines, higher_is_better=study.higher_is_better)
    measured = [a for a in arms if math.isfinite(a.score_interval.high - a.score_interval.low)]
    if baseline and measured and not any(beats(a, baseline[1], study) for a in measured):
        reason, more = "nothing_beats_baseline", _baseline_fields(measured, baseline, study)
    elif len(arms) == 1:
        reason, more = "only_reference", {}
    elif chosen.verdict == "better":
        reason, more = _why_better(chosen, reference, better)
    elif not keep:
        reason, more = ("cheaper" if cheaper else "more_stable"), {}
    else:
        reason, more = _why_kept(arms, reference, study)
    return Recommendation(chosen.arm, reason, fields | more)


def beats(arm: ArmVerdict, baseline: float, study: Study) -> bool:
    """Whether the whole interval of the arm's score lies beyond the naive score."""
    interval = arm.score_interval
    return interval.low > baseline if study.higher_is_better else interval.high < baseline


def _most_stable(arms: Sequence[ArmVerdict]) -> list[ArmVerdict]:
    least = min(a.diverged / a.runs for a in arms)
    return [a for a in arms if a.diverged / a.runs == least]


def _cheap_then_high(arms: Sequence[ArmVerdict], study: Study) -> ArmVerdict:
    times = [a.seconds_per_step for a in arms if math.isfinite(a.seconds_per_step)]
    limit = EQUALLY_CHEAP * min(times, default=math.nan)
    cheap = [a for a in arms if a.seconds_per_step <= limit] or list(arms)
    sign = 1 if study.higher_is_better else -1
    return min(cheap, key=lambda a: (-sign * a.score, a.arm))


def _why_better(
    chosen: ArmVerdict, reference: ArmVerdict, better: Sequence[ArmVerdict]
) -> tuple[str, dict[str, object]]:
    mine, theirs = chosen.diverged / chosen.runs, reference.diverged / reference.runs
    if mine != theirs:
        return ("better_less_stable" if mine > theirs else "better_more_stable"), {}
    others = [a.arm for a in better if a is not chosen]
    return ("better_of_several", {"others": _listed(others)}) if others else ("better", {})


def _why_kept(
    arms: Sequence[ArmVerdict], reference: ArmVerdict, study: Study
) -> tuple[str, dict[str, object]]:
    others = [a for a in arms if a is not reference]
    undecided = [a for a in others if a.verdict == "undecided" and a.in_best_set]
    alike = [a for a in others if a.verdict == "equivalent"]
    comparisons = len(others)
    telling = power.can_be_significant(study.pairs, comparisons, study.level)
    open_calls = [a for a in undecided if not telling or leaves_open(a, study.smallest_difference)]
    if not open_calls:
        if undecided:
            return "keep_unbeaten", {"rivals": _listed(a.arm for a in (*alike, *undecided))}
        if alike:
            return "keep_equivalent", {"alike": _listed(a.arm for a in alike)}
        return "keep_best", {"others": _listed(a.arm for a in others)}
    leaders = [a for a in open_calls if a.difference is not None]
    if not leaders:
        return "no_pairs", {}
    leader = max(leaders, key=lambda a: (a.difference, a.arm))
    fields = _figures(leader, reference, study)
    settled = study.smallest_difference or abs(leader.difference or 0.0)
    fields["settled"] = _number(settled, decimals(study.smallest_difference))
    if not telling:
        return "too_few_pairs", fields | {
            "pairs": study.pairs,
            "comparisons": comparisons,
            "smallest_p": f"{power.smallest_p(study.pairs):.3g}",
            "threshold": f"{power.alpha_of(study.level) / comparisons:.2g}",
            "needed": power.pairs_needed_for_significance(comparisons, study.level),
        }
    needed = leader.seeds_needed
    if needed is None or needed > MANY_PAIRS:
        return "undecided_many", fields | {"many": MANY_PAIRS}
    return "undecided", fields | {"needed": needed}


def _baseline_fields(
    arms: Sequence[ArmVerdict], baseline: tuple[str, float], study: Study
) -> dict[str, object]:
    best = min(arms, key=lambda a: a.rank)
    digits = decimals(study.smallest_difference)
    return {
        "baseline": baseline[0],
        "baseline_score": _number(baseline[1], digits),
        "best": best.arm,
        "best_score": _number(best.score, digits),
        "best_low": _number(best.score_interval.low, digits),
        "best_high": _number(best.score_interval.high, digits),
    }


def _figures(arm: ArmVerdict, reference: ArmVerdict, study: Study) -> dict[str, object]:
    """The figures sentences are made of, rounded as the smallest difference deserves."""
    digits = decimals(study.smallest_difference)
    gap = arm.difference_interval
    return {
        "arm": arm.arm,
        "metric": study.metric,
        "score": _number(arm.score, digits),
        "score_low": _number(arm.score_interval.low, digits),
        "score_high": _number(arm.score_interval.high, digits),
        "reference": reference.arm,
        "reference_score": _number(reference.score, digits),
        "pairs": len({s.seed for s in arm.seeds} & {s.seed for s in reference.seeds}),
        "difference": _number(arm.difference, digits, "+"),
        "low": _number(gap and gap.low, digits, "+"),
        "high": _number(gap and gap.high, digits, "+"),
        "level": f"{100 * study.level:g}",
        "p": "–" if arm.p_holm is None else f"{arm.p_holm:.2g}",
        "smallest_difference": _number(study.smallest_difference, digits),
        "diverged": arm.diverged,
        "runs": arm.runs,
        "reference_diverged": reference.diverged,
        "reference_runs": reference.runs,
        "milliseconds": f"{1000 * arm.seconds_per_step:.3g}",
        "reference_milliseconds": f"{1000 * reference.seconds_per_step:.3g}",
    }


def decimals(smallest_difference: float) -> int:
    """Decimals that resolve a fifth of the smallest difference that matters (0 to 6; 4 for none).

    Example:
        >>> decimals(0.01), decimals(5.0)
        (3, 0)
    """
    if smallest_difference <= 0:
        return 4
    return min(6, max(0, math.ceil(-math.log10(smallest_difference / 5) - 1e-9)))


def _number(value: float | None, digits: int, sign: str = "") -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
