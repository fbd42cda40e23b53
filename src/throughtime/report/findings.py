"""What each chart shows, in words: the caption under it and its description for a screen reader."""

from __future__ import annotations

from collections.abc import Sequence

from throughtime.language import say
from throughtime.report import numbers, rows
from throughtime.report.numbers import finite
from throughtime.report.words import enumerated, known, metric_name
from throughtime.study.result import StudyResult
from throughtime.study.verdict import ArmVerdict, Judgement

_VERDICTS = ("better", "equivalent", "undecided", "worse")


def alpha(judgement: Judgement) -> float:
    """The level of the tests, 0.05 for intervals of 95 %."""
    return round(1 - judgement.level, 10)


def level(judgement: Judgement) -> str:
    """The level of the intervals, as per cent."""
    share = 100 * (1 - alpha(judgement))
    return f"{share:.4g}%"


def best_baseline(judgement: Judgement) -> tuple[str, float] | None:
    """The naive baseline with the best score."""
    sign = 1 if judgement.higher_is_better else -1
    known_scores = [(n, s) for n, s in judgement.baselines.items() if finite(s) is not None]
    return max(known_scores, key=lambda item: sign * item[1], default=None)


def scores(result: StudyResult, language: str | None = None) -> str:
    """Which arm has the best mean on the test block, which the worst, and the baseline."""
    judgement = result.judgement
    digits = numbers.decimals(judgement)
    ordered = _by_goodness(
        [(a, a.score) for a in judgement.arms if finite(a.score) is not None], judgement
    )
    if not ordered:
        return say("report.scores_finding_none", language)
    best, worst = ordered[0][0], ordered[-1][0]
    if len(ordered) == 1:
        entry = "report.scores_finding_one"
    elif numbers.number(best.score, digits) == numbers.number(worst.score, digits):
        entry = "report.scores_finding_equal"
    else:
        entry = "report.scores_finding"
    sentences = [
        say(
            entry,
            language,
            metric=metric_name(judgement.metric, language),
            best=best.arm,
            best_score=numbers.number(best.score, digits),
            best_interval=numbers.interval(best.score_interval, digits),
            worst=worst.arm,
            worst_score=numbers.number(worst.score, digits),
            worst_interval=numbers.interval(worst.score_interval, digits),
        )
    ]
    if baseline := best_baseline(judgement):
        name, score = baseline
        sentences.append(
            say(
                "report.baseline_finding",
                language,
                name=known("baseline", name, language),
                score=numbers.number(score, digits),
            )
        )
    return _join(sentences, language)


def differences(result: StudyResult, language: str | None = None) -> str:
    """The arms of every verdict against the reference."""
    judgement = result.judgement
    verdicts = [
        say(
            "report.verdict_list",
            language,
            verdict=say(f"report.verdict_{verdict}", language),
            arms=enumerated(arms, language),
        )
        for verdict in _VERDICTS
        if (arms := [a.arm for a in judgement.arms if a.verdict == verdict])
    ]
    if not verdicts:
        return say("report.differences_none", language, reference=judgement.reference)
    return say(
        "report.differences_finding",
        language,
        reference=judgement.reference,
        pairs=judgement.pairs,
        verdicts=say("report.semicolon", language).join(verdicts),
    )


def learning(result: StudyResult, language: str | None = None) -> str:
    """The arms with the best and the worst median validation score at the end."""
    judgement = result.judgement
    digits = numbers.decimals(judgement)
    last = {r["arm"]: r["median"] for r in rows.learning(result)}
    ordered = _by_goodness([(a, v) for a, v in last.items() if v is not None], judgement)
    if not ordered:
        return say("report.learning_finding_none", language)
    (best, best_score), (worst, worst_score) = ordered[0], ordered[-1]
    return say(
        "report.learning_finding" if len(ordered) > 1 else "report.learning_finding_one",
        language,
        metric=metric_name(judgement.metric, language),
        best=best,
        best_score=numbers.number(best_score, digits),
        worst=worst,
        worst_score=numbers.number(worst_score, digits),
    )


def tuning(result: StudyResult, language: str | None = None) -> str:
    """What the last tuning point still brought, and which best values lie at a border."""
    judgement = result.judgement
    sign = 1 if judgement.higher_is_better else -1
    gains = [
        (gain, a.arm, a.tuning_curve[-1].points)
        for a in judgement.arms
        if len(a.tuning_curve) > 1
        and (
            gain := finite(
                sign * (a.tuning_curve[-1].expected_best - a.tuning_curve[-2].expected_best)
            )
        )
        is not None
    ]
    if gains:
        gain, arm, points = max(gains)
        sentences = [
            say(
                "report.tuning_finding",
                language,
                points=points,
                gain=numbers.number(max(gain, 0.0), numbers.decimals(judgement) + 1),
                arm=arm,
            )
        ]
    else:
        sentences = [say("report.tuning_finding_none", language)]
    if borders := bordering(judgement.arms, language):
        sentences.append(say("report.border_finding", language, borders=borders))
    return _join(sentences, language)


def stability(result: StudyResult, language: str | None = None) -> str:
    """Which arms diverged and how often, in evaluation and in tuning."""
    judgement = result.judgement
    diverged = diverging(judgement.arms, language)
    sentences = [
        say("report.stability_finding", language, arms=diverged)
        if diverged
        else say("report.stability_finding_none", language)
    ]
    runs = sum(a.tuning_runs for a in judgement.arms)
    if runs:
        sentences.append(
            say(
                "report.tuning_diverged_finding",
                language,
                diverged=sum(a.tuning_diverged for a in judgement.arms),
                runs=runs,
            )
        )
    return _join(sentences, language)


def cost(result: StudyResult, language: str | None = None) -> str:
    """The cheapest and the dearest step, and who reaches the reference's score first."""
    judgement = result.judgement
    timed = sorted(
        (a.seconds_per_step, a.arm)
        for a in judgement.arms
        if finite(a.seconds_per_step) is not None
    )
    if not timed:
        return say("report.cost_finding_none", language)
    (low, cheapest), (high, dearest) = timed[0], timed[-1]
    sentences = [
        say(
            "report.cost_finding" if len(timed) > 1 else "report.cost_finding_one",
            language,
            cheapest=cheapest,
            low=numbers.milliseconds(low),
            dearest=dearest,
            high=numbers.milliseconds(high),
        )
    ]
    reached = [(steps, a.arm) for a in judgement.arms if (steps := finite(a.steps_to_reference))]
    if reached and len(judgement.arms) > 1:
        steps, arm = min(reached)
        sentences.append(
            say(
                "report.steps_finding",
                language,
                arm=arm,
                reference=judgement.reference,
                steps=numbers.count(steps),
            )
        )
    never = [a.arm for a in judgement.arms if finite(a.steps_to_reference) is None]
    if never:
        sentences.append(say("report.steps_never", language, arms=enumerated(never, language)))
    return _join(sentences, language)


def method(result: StudyResult, language: str | None = None) -> str:
    """How the study was done and what its number of seeds can show."""
    judgement = result.judgement
    comparisons = len(judgement.arms) - 1
    sentences = []
    if result.records:
        sentences.append(
            say(
                "report.method_summary",
                language,
                arms=len(judgement.arms),
                points=len({r.point for r in result.records if r.phase == "tune"}),
                pairs=judgement.pairs,
                runs=len(result.records),
                time=numbers.duration(result.timings.get("total"), language),
            )
        )
    if comparisons:
        sentences.append(
            say(
                "report.method_power",
                language,
                pairs=judgement.pairs,
                smallest_p=f"{judgement.smallest_p:.3g}",
                comparisons=comparisons,
                can=say(
                    "report.can" if judgement.can_be_significant else "report.cannot", language
                ),
                alpha=f"{alpha(judgement):g}",
            )
        )
    return _join(sentences, language)


def bordering(arms: Sequence[ArmVerdict], language: str | None = None) -> str:
    """The arms whose best values lie at a border of the space, and which values."""
    return enumerated(
        [
            say(
                "report.border_item",
                language,
                arm=a.arm,
                names=enumerated(list(a.border), language),
            )
            for a in arms
            if a.border
        ],
        language,
    )


def diverging(arms: Sequence[ArmVerdict], language: str | None = None) -> str:
    """The arms that diverged in evaluation, and how often."""
    return enumerated(
        [
            say("report.stability_item", language, arm=a.arm, diverged=a.diverged, runs=a.runs)
            for a in arms
            if a.diverged
        ],
        language,
    )


def _by_goodness(items: list, judgement: Judgement) -> list:
    return sorted(items, key=lambda item: item[1], reverse=judgement.higher_is_better)


def _join(sentences: list[str], language: str | None) -> str:
    return say("report.sentence_gap", language).join(sentences)
