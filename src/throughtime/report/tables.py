"""The tables of the page, in both languages at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from throughtime.language import LANGUAGES, say
from throughtime.report import findings, numbers, rows
from throughtime.report.words import known, metric_name, settings, verdict
from throughtime.study.result import StudyResult

TAGS = {"en": "en", "zh": "zh-Hans"}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value it is sorted and saved by."""

    shown: Markup
    value: float | str | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column (``heads``) names its rows.

    ``numeric`` says for every column whether it holds numbers; ``marked`` is the row to stand out.
    """

    caption: Markup
    columns: tuple[Markup, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]
    marked: int | None = None
    head: int = 0


def both(texts: dict[str, str]) -> Markup:
    """The text in both languages; the page shows one of them."""
    if texts["en"] == texts["zh"]:
        return escape(texts["en"])
    return Markup("").join(
        Markup('<span class="{}" lang="{}">{}</span>').format(language, TAGS[language], text)
        for language, text in texts.items()
    )


def told(key: str, /, **fields: Any) -> Markup:
    """An entry of the catalogue in both languages."""
    return both({language: say(key, language, **fields) for language in LANGUAGES})


def named(kind: str, name: str) -> Markup:
    """A name the catalogue may know, in both languages."""
    return both({language: known(kind, name, language) for language in LANGUAGES})


def ranking(result: StudyResult) -> Table:
    """The arms by rank with all their verdicts."""
    judgement = result.judgement
    digits = numbers.decimals(judgement)
    reference = judgement.reference
    columns = (
        told("report.rank"),
        told("report.arm"),
        told("report.column_verdict"),
        both({k: _capital(metric_name(judgement.metric, k)) for k in LANGUAGES}),
        told("report.column_difference", reference=reference),
        told("report.column_win", reference=reference),
        told("report.column_p"),
        told("report.column_diverged"),
        told("report.column_milliseconds"),
    )
    best = rows.chosen(judgement)
    lines = []
    for a in judgement.arms:
        name = Markup('<span class="arm">{}</span>').format(a.arm)
        if a.in_best_set:
            name += Markup(' <span class="star" aria-hidden="true">★</span>')
            name += Markup('<span class="unseen"> ({})</span>').format(told("report.in_best_set"))
        if a is best:
            name += Markup(' <span class="tag">{}</span>').format(told("report.recommended_mark"))
        lines.append(
            (
                Cell(escape(str(a.rank)), a.rank),
                Cell(name, a.arm),
                Cell(
                    Markup('<span class="verdict {}">{}</span>').format(
                        a.verdict, both({k: verdict(a.verdict, k) for k in LANGUAGES})
                    ),
                    a.verdict,
                ),
                _bounded(
                    numbers.number(a.score, digits),
                    numbers.interval(a.score_interval, digits),
                    a.score,
                ),
                _bounded(
                    numbers.signed(a.difference, digits),
                    numbers.interval(a.difference_interval, digits, sign=True),
                    a.difference,
                ),
                _bounded(
                    numbers.percent(a.win_probability),
                    numbers.shares(a.win_interval),
                    a.win_probability,
                ),
                _cell(numbers.p_value(a.p_holm), a.p_holm),
                _cell(f"{a.diverged}/{a.runs}", a.diverged / a.runs if a.runs else None),
                _cell(numbers.milliseconds(a.seconds_per_step), a.seconds_per_step),
            )
        )
    return Table(
        caption=told(
            "report.table_caption",
            arms=len(judgement.arms),
            reference=reference,
            level=findings.level(judgement),
        ),
        columns=columns,
        rows=tuple(lines),
        numeric=(True, False, False, *[True] * 6),
        marked=next((i for i, a in enumerate(judgement.arms) if a is best), None),
        head=1,
    )


def scores(result: StudyResult) -> Table:
    """Every seed's score, by arm; the naive baselines below."""
    judgement = result.judgement
    digits = numbers.decimals(judgement)
    by_seed = _matrix(
        told("report.scores_heading"),
        told("report.arm"),
        [
            (r["arm"], r["seed"], _with_cross(r["score"], r["diverged"], digits))
            for r in rows.seeds(result)
        ],
        lambda seed: _titled("report.seed", seed),
    )
    width = len(by_seed.columns) - 1
    naive = tuple(
        (
            Cell(named("baseline", name), name),
            _cell(numbers.number(score, digits), score),
            *[_cell("", None)] * (width - 1),
        )
        for name, score in judgement.baselines.items()
        if width
    )
    return Table(by_seed.caption, by_seed.columns, (*by_seed.rows, *naive), by_seed.numeric)


def differences(result: StudyResult) -> Table:
    """Every pair's difference from the reference, by arm."""
    digits = numbers.decimals(result.judgement)
    return _matrix(
        told("report.differences_heading", reference=result.judgement.reference),
        told("report.arm"),
        [
            (r["arm"], r["seed"], _with_cross(r["difference"], r["diverged"], digits, sign=True))
            for r in rows.pairs(result)
        ],
        lambda seed: _titled("report.seed", seed),
    )


def learning(result: StudyResult) -> Table:
    """Median and middle half of the validation score, by epoch and arm."""
    return _curves(
        result, rows.learning(result), "epoch", "median", told("report.learning_heading")
    )


def tuning(result: StudyResult) -> Table:
    """Expected best validation score with its band, by tuning points and arm."""
    return _curves(result, rows.tuning(result), "points", "expected", told("report.tuning_heading"))


def best_points(result: StudyResult) -> Table:
    """The tuned values each arm was evaluated with."""
    return Table(
        caption=told("report.best_points"),
        columns=(told("report.arm"), told("report.run_values"), told("report.column_border")),
        rows=tuple(
            (
                _cell(a.arm, a.arm),
                _cell(settings(a.best_point) or numbers.NONE, None),
                _cell(", ".join(a.border) or numbers.NONE, None),
            )
            for a in result.judgement.arms
        ),
        numeric=(False, False, False),
    )


def stability(result: StudyResult) -> Table:
    """Diverged runs of both phases and the shares known at the end of training."""
    others = sorted({name for a in result.judgement.arms for name in a.stability})
    return Table(
        caption=told("report.stability_heading"),
        columns=(
            told("report.arm"),
            told("report.column_diverged"),
            told("report.column_interval", level=findings.level(result.judgement)),
            told("report.column_tuning_diverged"),
            *(named("share", name) for name in others),
        ),
        rows=tuple(
            (
                _cell(a.arm, a.arm),
                _cell(f"{a.diverged}/{a.runs}", a.diverged / a.runs if a.runs else None),
                _cell(numbers.shares(a.divergence_interval), a.divergence_interval.high),
                _cell(
                    f"{a.tuning_diverged}/{a.tuning_runs}",
                    a.tuning_diverged / a.tuning_runs if a.tuning_runs else None,
                ),
                *(_share(name, a.stability.get(name)) for name in others),
            )
            for a in result.judgement.arms
        ),
        numeric=(False, *[True] * (3 + len(others))),
    )


def cost(result: StudyResult) -> Table:
    """Time of a step, steps to the reference's score, time in all."""
    return Table(
        caption=told("report.cost_heading"),
        columns=(
            told("report.arm"),
            told("report.column_milliseconds"),
            told("report.column_steps", reference=result.judgement.reference),
            told("report.column_seconds"),
        ),
        rows=tuple(
            (
                _cell(r["arm"], r["arm"]),
                _cell(
                    numbers.milliseconds(r["milliseconds"] and r["milliseconds"] / 1000),
                    r["milliseconds"],
                ),
                Cell(told("report.never_reached"), None)
                if r["steps"] is None
                else _cell(numbers.count(r["steps"]), r["steps"]),
                Cell(both({k: numbers.duration(r["seconds"], k) for k in LANGUAGES}), r["seconds"]),
            )
            for r in rows.costs(result)
        ),
        numeric=(False, True, True, True),
    )


def plan(result: StudyResult) -> Table:
    """The plan, a setting a row."""
    return _pairs(
        told("report.plan_heading"), "report.plan_name", "report.plan_value", rows.flat(result.plan)
    )


def versions(result: StudyResult) -> Table:
    """The versions of the packages used."""
    return _pairs(
        told("report.versions_heading"),
        "report.version_package",
        "report.version",
        sorted(result.versions.items()),
    )


def runs(result: StudyResult) -> Table:
    """Every run of the ledger."""
    digits = numbers.decimals(result.judgement) + 1
    names = (
        "arm",
        "run_phase",
        "run_point",
        "run_values",
        "seed",
        "run_validation",
        "run_test",
        "diverged",
        "run_epochs",
        "run_key",
    )
    return Table(
        caption=told("report.runs_heading", runs=len(result.records)),
        columns=tuple(told(f"report.{name}") for name in names),
        rows=tuple(
            (
                _cell(r["arm"], r["arm"]),
                Cell(told(f"report.phase_{r['phase']}"), r["phase"]),
                _cell(str(r["point"]), r["point"]),
                _cell(settings(r["values"]), str(r["values"])),
                _cell(str(r["seed"]), r["seed"]),
                _cell(numbers.number(r["validation"], digits), r["validation"]),
                _cell(numbers.number(r["test"], digits), r["test"]),
                Cell(told("report.yes" if r["diverged"] else "report.no"), float(r["diverged"])),
                _cell(str(r["epochs"]), r["epochs"]),
                Cell(Markup("<code>{}</code>").format(r["key"][:12]), r["key"]),
            )
            for r in rows.runs(result)
        ),
        numeric=(False, False, True, False, True, True, True, False, True, False),
    )


def _cell(text: str, value: float | str | None) -> Cell:
    return Cell(escape(text), value if isinstance(value, str) else numbers.finite(value))


def _bounded(text: str, bounds: str, value: float | None) -> Cell:
    """A figure with its interval under it."""
    if bounds == numbers.NONE:
        return _cell(text, value)
    shown = Markup('{} <span class="range">{}</span>').format(text, bounds)
    return Cell(shown, numbers.finite(value))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_cross(value: float | None, diverged: bool, digits: int, *, sign: bool = False) -> Cell:
    text = numbers.signed(value, digits) if sign else numbers.number(value, digits)
    if not diverged:
        return _cell(text, value)
    return Cell(
        Markup(
            '{} <span class="cross" aria-hidden="true">×</span><span class="unseen"> ({})</span>'
        ).format(text, told("report.diverged")),
        value,
    )


def _share(name: str, value: float | None) -> Cell:
    text = numbers.percent(value, 1) if name in rows.SHARES else numbers.number(value, 3)
    return _cell(text, value)


def _titled(key: str, number: int) -> Markup:
    return Markup("{} {}").format(told(key), number)


def _matrix(caption: Markup, corner: Markup, cells: list[tuple], heading: Any) -> Table:
    """``(row, column, cell)`` as a table; columns in order of their numbers."""
    across = sorted({column for _, column, _ in cells})
    down = list(dict.fromkeys(row for row, _, _ in cells))
    held = {(row, column): cell for row, column, cell in cells}
    blank = _cell(numbers.NONE, None)
    return Table(
        caption=caption,
        columns=(corner, *(heading(column) for column in across)),
        rows=tuple(
            (_cell(row, row), *(held.get((row, column), blank) for column in across))
            for row in down
        ),
        numeric=(False, *[True] * len(across)),
    )


def _curves(result: StudyResult, data: rows.Rows, step: str, value: str, caption: Markup) -> Table:
    digits = numbers.decimals(result.judgement)
    arms = [arm for arm in rows.order(result) if any(r["arm"] == arm for r in data)]
    held = {(r[step], r["arm"]): r for r in data}
    blank = _cell(numbers.NONE, None)

    def cell(key: tuple[int, str]) -> Cell:
        if key not in held:
            return blank
        r = held[key]
        band = f"[{numbers.number(r['low'], digits)}, {numbers.number(r['high'], digits)}]"
        return _cell(f"{numbers.number(r[value], digits)} {band}", r[value])

    return Table(
        caption=caption,
        columns=(told(f"report.{step}"), *map(escape, arms)),
        rows=tuple(
            (_cell(str(n), n), *(cell((n, arm)) for arm in arms))
            for n in sorted({r[step] for r in data})
        ),
        numeric=(True, *[True] * len(arms)),
    )


def _pairs(caption: Markup, left: str, right: str, items: Iterable[tuple[str, str]]) -> Table:
    return Table(
        caption=caption,
        columns=(told(left), told(right)),
        rows=tuple((_cell(name, name), _cell(value, value)) for name, value in items),
        numeric=(False, False),
    )
