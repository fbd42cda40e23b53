"""The answer on a terminal: one sentence, the ranked table, what to do next."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from throughtime.language import say
from throughtime.report import numbers
from throughtime.report.findings import alpha, best_baseline, bordering, diverging, level
from throughtime.report.numbers import finite
from throughtime.report.rows import chosen
from throughtime.report.words import enumerated, known, metric_name, verdict
from throughtime.study.verdict import ArmVerdict, Judgement, leaves_open
from throughtime.study.wording import answer

__all__ = ["advice", "answer", "ranked_table"]

_STYLES = {"better": "green", "worse": "red", "undecided": "dim", "equivalent": "", "reference": ""}
_MOST_SEEDS = 1000
_MANY = 0.2
_WIDE = 110


def ranked_table(judgement: Judgement, language: str | None = None, width: int = 80) -> Table:
    """The arms by rank, to be printed by rich.

    Args:
        judgement: the verdicts.
        language: ``"en"`` or ``"zh"``; the current language by default.
        width: columns of the terminal; from 110 on, the intervals of the scores and the
            probability of beating the reference are shown too. 80 columns suffice for the rest.

    Example:
        >>> rich.print(ranked_table(judgement))  # doctest: +SKIP
    """
    wide = width >= _WIDE
    digits = numbers.decimals(judgement)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column(say("report.arm", language), overflow="fold", min_width=8)
    metric = metric_name(judgement.metric, language)
    table.add_column(
        metric if wide else say("report.score", language), justify="right", no_wrap=True
    )
    if wide:
        table.add_column(_interval_title(judgement, language), no_wrap=True)
    table.add_column(
        say("report.column_against", language, reference=judgement.reference),
        justify="right",
        overflow="ellipsis",
        max_width=14,
        no_wrap=True,
    )
    table.add_column(_interval_title(judgement, language), no_wrap=True)
    if wide:
        table.add_column(say("report.column_win_short", language), justify="right", no_wrap=True)
    table.add_column(say("report.column_verdict", language), no_wrap=True)
    table.add_column(say("report.column_diverged_short", language), justify="right", no_wrap=True)
    table.add_column(
        say("report.column_milliseconds_short", language), justify="right", no_wrap=True
    )
    for column in table.columns:
        column.header = Text(str(column.header))
    for arm in judgement.arms:
        table.add_row(
            *_cells(judgement, arm, language, digits, wide),
            style="bold" if arm is chosen(judgement) else "",
        )
    table.caption = Text(
        say(
            "report.terminal_note",
            language,
            margin=numbers.number(judgement.smallest_difference, digits),
        )
    )
    table.caption_justify = "left"
    return table


def advice(judgement: Judgement, language: str | None = None) -> list[str]:
    """What to do next beyond the answer itself, a sentence a matter; often empty.

    Example:
        >>> for line in advice(judgement, "en"):  # doctest: +SKIP
        ...     print(line)
    """
    said = judgement.reason
    if said == "all_diverged":
        return []
    sentences = []
    baseline = best_baseline(judgement)
    if (
        baseline
        and not judgement.beats_baseline
        and said not in ("nothing_beats_baseline", "all_diverged")
    ):
        name, score = baseline
        sentences.append(
            say(
                "report.advice_baseline",
                language,
                arm=judgement.recommended,
                name=known("baseline", name, language),
                score=numbers.number(score, numbers.decimals(judgement)),
            )
        )
    undecided = [a for a in judgement.arms if leaves_open(a, judgement.smallest_difference)]
    if len(judgement.arms) > 1 and not judgement.can_be_significant and said != "too_few_pairs":
        from throughtime.study import power  # SciPy's statistics take half a second to load

        sentences.append(
            say(
                "report.advice_pairs",
                language,
                pairs=judgement.pairs,
                alpha=f"{alpha(judgement):g}",
                smallest_p=f"{judgement.smallest_p:.3g}",
                needed=power.pairs_needed_for_significance(
                    len(judgement.arms) - 1, judgement.level
                ),
            )
        )
    if undecided and not (len(undecided) == 1 and said.startswith(("undecided", "too_few"))):
        sentences.append(
            say(
                "report.advice_undecided",
                language,
                reference=judgement.reference,
                arms=enumerated([_seeds_wanted(a, language) for a in undecided], language),
            )
        )
    contenders = [
        a
        for a in judgement.arms
        if a.in_best_set or a.arm in (judgement.reference, judgement.recommended)
    ]
    if borders := bordering(contenders, language):
        sentences.append(say("report.advice_border", language, borders=borders))
    if diverged := diverging(
        [a for a in contenders if a.runs and a.diverged / a.runs >= _MANY], language
    ):
        sentences.append(say("report.advice_diverged", language, arms=diverged))
    return sentences


def _cells(
    judgement: Judgement, arm: ArmVerdict, language: str | None, digits: int, wide: bool
) -> list[Text]:
    star = "★" if arm.in_best_set else " "
    cells = [
        str(arm.rank),
        f"{arm.arm} {star}".rstrip(),
        numbers.number(arm.score, digits),
        *([numbers.interval(arm.score_interval, digits)] if wide else []),
        numbers.signed(arm.difference, digits),
        numbers.interval(arm.difference_interval, digits, sign=True),
        *([numbers.percent(arm.win_probability)] if wide else []),
        verdict(arm.verdict, language),
        f"{arm.diverged}/{arm.runs}",
        numbers.milliseconds(arm.seconds_per_step),
    ]
    texts = [Text(cell) for cell in cells]
    texts[-3].stylize(_STYLES[arm.verdict])
    return texts


def _interval_title(judgement: Judgement, language: str | None) -> str:
    return say("report.column_interval", language, level=level(judgement))


def _seeds_wanted(arm: ArmVerdict, language: str | None) -> str:
    seeds = finite(arm.seeds_needed)
    if seeds is None:
        return say("report.advice_undecided_unknown", language, arm=arm.arm)
    if seeds > _MOST_SEEDS:
        return say("report.advice_undecided_many", language, arm=arm.arm, seeds=_MOST_SEEDS)
    return say("report.advice_undecided_item", language, arm=arm.arm, seeds=round(seeds))
