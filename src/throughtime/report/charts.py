"""The charts of the report, in Altair: each a pure function of the result and a language.

Every chart can be shown, saved (``charts.scores(result).save("scores.svg")``) or composed by
itself; the page draws the same ones with colours that follow light and dark.
"""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from throughtime.language import say
from throughtime.report import marks, numbers, rows
from throughtime.report.marks import Sheet
from throughtime.report.palette import LIGHT, Palette
from throughtime.report.rows import Rows
from throughtime.report.words import known, metric_name, verdict
from throughtime.study.result import StudyResult

ROW = 38
_LANES = [-5.25, 4.25]
_SHAPES = {
    "better": "triangle-up",
    "equivalent": "square",
    "worse": "triangle-down",
    "undecided": "circle",
}


def scores(
    result: StudyResult, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """Score on the test block by arm: mean with interval, every seed a dot, naive baselines.

    Example:
        >>> charts.scores(result, "en").save("scores.svg")  # doctest: +SKIP
    """
    judgement = result.judgement
    sheet = Sheet()
    spots = rows.seeds(result)
    means = rows.scores(result)
    margin = numbers.finite(judgement.smallest_difference) or 0.0
    low, high = marks.domain(
        [r["score"] for r in spots] + [r[k] for r in means for k in ("score", "low", "high")],
        least=4 * margin,
        near=[numbers.finite(v) for v in judgement.baselines.values()],
    )
    title = _score_title(result, language)

    def x(field: str) -> alt.X:
        scale = alt.Scale(domain=[low, high], nice=False, zero=False)
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6))

    y = marks.arms(result, palette)
    digits = numbers.decimals(judgement)
    form = f".{digits}f"
    best = alt.datum.best
    accent = alt.condition(best, alt.value(palette.accent), alt.value(palette.muted))
    tip = [
        alt.Tooltip("arm:N", title=say("report.arm", language)),
        alt.Tooltip("score:Q", title=say("report.score", language), format=form),
    ]
    mean = sheet.chart(means)
    layers: list[Any] = [
        *_baselines(sheet, result, language, palette, low, high, digits),
        mean.mark_rule(strokeWidth=2.5, yOffset=-7).encode(
            x=x("low"), x2="high:Q", y=y, color=accent
        ),
        mean.mark_point(shape="diamond", size=75, filled=True, opacity=1, yOffset=-7).encode(
            x=x("score"),
            y=y,
            fill=alt.condition(best, alt.value(palette.accent), alt.value(palette.paper)),
            stroke=accent,
            strokeWidth=alt.value(1.5),
            tooltip=[
                *tip,
                alt.Tooltip("low:Q", title=say("report.low", language), format=form),
                alt.Tooltip("high:Q", title=say("report.high", language), format=form),
            ],
        ),
        sheet.chart(spots, name="seeds")
        .mark_point(filled=False, opacity=0.8, strokeWidth=1.1)
        .encode(
            size=marks.diverged_size(),
            x=x("score"),
            y=y,
            yOffset=alt.YOffset("lane:Q", scale=alt.Scale(domain=_LANES)),
            shape=marks.diverged_shape(),
            color=alt.condition(
                alt.datum.diverged, alt.value(palette.warn), alt.value(palette.ink)
            ),
            tooltip=[
                *tip,
                alt.Tooltip("seed:O", title=say("report.seed", language)),
            ],
        ),
    ]
    return sheet.finish(layers, palette, height=ROW * len(means))


def differences(
    result: StudyResult, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """Paired difference from the reference by arm; the band holds what does not matter."""
    judgement = result.judgement
    sheet = Sheet()
    means = rows.differences(result)
    spots = rows.pairs(result)
    margin = numbers.finite(judgement.smallest_difference) or 0.0
    low, high = marks.domain(
        [r["difference"] for r in spots]
        + [r[k] for r in means for k in ("difference", "low", "high")]
        + [-1.3 * margin, 1.3 * margin],
        least=margin,
    )
    title = say(
        "report.axis_difference",
        language,
        metric=metric_name(judgement.metric, language),
        reference=judgement.reference,
    )

    def x(field: str) -> alt.X:
        return alt.X(
            f"{field}:Q",
            title=title,
            scale=alt.Scale(domain=[low, high], nice=False, zero=False),
            axis=alt.Axis(
                format=f"+.{numbers.decimals(judgement)}~f",
                labelExpr="datum.value == 0 ? '0' : datum.label",
                tickCount=6,
            ),
        )

    arms = [r["arm"] for r in means]
    named = marks.arms(result, palette, arms)
    bare = alt.Y("arm:N", sort=arms, axis=None)
    labels = [verdict(r["verdict"], language) for r in means]
    beside = alt.Y(
        "arm:N",
        sort=arms,
        title=None,
        axis=alt.Axis(
            orient="right",
            labelExpr=f"{json.dumps(labels)}[indexof({json.dumps(arms)}, datum.value)]",
            labelColor=palette.ink,
            labelPadding=8,
            labelLimit=90,
            domain=False,
            ticks=False,
        ),
    )
    form = f"+.{numbers.decimals(judgement)}f"
    tones = alt.Scale(
        domain=list(_SHAPES), range=[palette.accent, palette.ink, palette.warn, palette.muted]
    )
    mean = sheet.chart(means)
    layers: list[Any] = [
        sheet.chart([{"low": -margin, "high": margin}])
        .mark_rect(color=palette.band)
        .encode(x=x("low"), x2="high:Q"),
        sheet.chart([{"difference": 0}])
        .mark_rule(color=palette.ink, strokeWidth=1)
        .encode(x=x("difference")),
        mean.mark_rule(strokeWidth=2.5, yOffset=-7).encode(
            x=x("low"), x2="high:Q", y=bare, color=alt.Color("verdict:N", scale=tones, legend=None)
        ),
        mean.mark_point(size=70, opacity=1, filled=True, yOffset=-7).encode(
            x=x("difference"),
            y=named,
            shape=alt.Shape(
                "verdict:N",
                scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())),
                legend=None,
            ),
            stroke=alt.Stroke("verdict:N", scale=tones, legend=None),
            strokeWidth=alt.value(1.5),
            fill=alt.condition(
                alt.datum.verdict == "undecided",
                alt.value(palette.paper),
                alt.Fill("verdict:N", scale=tones, legend=None),
            ),
            tooltip=[
                alt.Tooltip("arm:N", title=say("report.arm", language)),
                alt.Tooltip("difference:Q", title=say("report.difference", language), format=form),
                alt.Tooltip("low:Q", title=say("report.low", language), format=form),
                alt.Tooltip("high:Q", title=say("report.high", language), format=form),
            ],
        ),
        sheet.chart(spots, name="pairs")
        .mark_point(filled=False, opacity=0.8, strokeWidth=1.1, yOffset=8)
        .encode(
            size=marks.diverged_size(),
            x=x("difference"),
            y=beside,
            shape=marks.diverged_shape(),
            color=alt.condition(
                alt.datum.diverged, alt.value(palette.warn), alt.value(palette.ink)
            ),
            tooltip=[
                alt.Tooltip("arm:N", title=say("report.arm", language)),
                alt.Tooltip("seed:O", title=say("report.seed", language)),
                alt.Tooltip("difference:Q", title=say("report.difference", language), format=form),
            ],
        ),
    ]
    chart = sheet.finish(layers, palette, height=ROW * len(means))
    return chart.resolve_axis(y="independent").resolve_scale(shape="independent")


def learning(
    result: StudyResult, arm: str, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """Validation score by epoch of one arm: median and middle half, the other arms behind it."""
    data = rows.learning(result)
    return _panel(
        result,
        arm,
        data,
        palette,
        step="epoch",
        value="median",
        name=say("report.median", language),
        language=language,
    )


def tuning(
    result: StudyResult, arm: str, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """Expected best validation score by tuning points of one arm, the other arms behind it."""
    data = rows.tuning(result)
    return _panel(
        result,
        arm,
        data,
        palette,
        step="points",
        value="expected",
        name=say("report.expected_best", language),
        language=language,
    )


def stability(
    result: StudyResult, share: str, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """A share by arm: runs that diverged (with interval), dead units, saturated units."""
    data = rows.stability(result, share)
    top = max([r.get("high") or r["share"] or 0.0 for r in data], default=0.0)
    return _bars(
        result,
        data,
        "share",
        say(f"report.share_{share}", language),
        palette,
        language,
        domain=[0, min(1.0, max(0.1, 1.05 * top))],
        form=".0%",
    )


def cost(
    result: StudyResult, quantity: str, language: str | None = None, palette: Palette = LIGHT
) -> alt.LayerChart:
    """``"milliseconds"`` a training step, or ``"steps"`` to reach the reference's score, by arm."""
    data = rows.costs(result)
    top = max([r[quantity] or 0.0 for r in data], default=0.0)
    return _bars(
        result,
        data,
        quantity,
        say(f"report.axis_{quantity}", language, reference=result.judgement.reference),
        palette,
        language,
        domain=[0, 1.05 * top or 1.0],
        form=".3~s" if quantity == "steps" else ".3~r",
    )


def _baselines(
    sheet: Sheet,
    result: StudyResult,
    language: str | None,
    palette: Palette,
    low: float,
    high: float,
    digits: int,
) -> list[alt.Chart]:
    """A dashed rule a baseline, named above the plot; an arrow where it lies off the scale."""
    known_scores = sorted(
        (
            (name, value)
            for name, score in result.judgement.baselines.items()
            if (value := numbers.finite(score)) is not None
        ),
        key=lambda item: item[1],
    )
    layers = []
    for i, (name, value) in enumerate(known_scores):
        words = f"{known('baseline', name, language)} {numbers.number(value, digits)}"
        off_left, off_right = value < low, value > high
        right = off_right or (not off_left and value > (low + high) / 2)
        words = f"◂ {words}" if off_left else f"{words} ▸" if off_right else words
        x: Any = alt.X("score:Q")
        if off_left or off_right:
            x = alt.value("width" if off_right else 0)
        else:
            layers.append(
                sheet.chart([{"score": value}])
                .mark_rule(color=palette.muted, strokeDash=[4, 3], strokeWidth=1.2)
                .encode(x=x)
            )
        layers.append(
            sheet.chart([{"score": value, "words": words}])
            .mark_text(
                align="right" if right else "left",
                color=palette.muted,
                fontSize=11,
                baseline="bottom",
            )
            .encode(x=x, y=alt.value(-4 - 15 * i), text="words:N")
        )
    return layers


def _panel(
    result: StudyResult,
    arm: str,
    data: Rows,
    palette: Palette,
    *,
    step: str,
    value: str,
    name: str,
    language: str | None,
) -> alt.LayerChart:
    """One of the small multiples: this arm in colour, the reference dashed, the others faint."""
    sheet = Sheet()
    reference = result.judgement.reference
    step_name = say(f"report.{step}", language)
    last = max((r[step] for r in data), default=1)
    x = alt.X(
        f"{step}:Q",
        title=step_name,
        axis=marks.whole(last),
        scale=alt.Scale(domain=[1, last] if last > 1 else [0, 2], nice=False, zero=False),
    )
    y = alt.Y(
        f"{value}:Q",
        title=None,
        scale=alt.Scale(domain=marks.usual_domain(data, step, value), nice=False, zero=False),
        axis=alt.Axis(tickCount=3, format="~g"),
    )
    form = f".{numbers.decimals(result.judgement)}f"
    ours = alt.FieldEqualPredicate(field="arm", equal=arm)
    base = sheet.chart(data)
    mine = base.transform_filter(ours)
    single = len({r[step] for r in data}) < 2
    layers = [
        base.mark_line(color=palette.faint, strokeWidth=0.8, clip=True).encode(
            x=x, y=y, detail="arm:N"
        ),
        mine.mark_area(color=palette.accent, opacity=0.2, clip=True).encode(
            x=x, y=alt.Y("low:Q"), y2="high:Q"
        ),
        base.transform_filter(alt.FieldEqualPredicate(field="arm", equal=reference))
        .mark_line(color=palette.ink, strokeWidth=1.2, strokeDash=[4, 3], clip=True)
        .encode(x=x, y=y),
        mine.mark_line(color=palette.accent, strokeWidth=2, clip=True, point=single).encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("arm:N", title=say("report.arm", language)),
                alt.Tooltip(f"{step}:Q", title=step_name),
                alt.Tooltip(f"{value}:Q", title=name, format=form),
            ],
        ),
    ]
    best = rows.chosen(result.judgement)
    title = alt.TitleParams(
        text=arm,
        anchor="start",
        frame="group",
        fontSize=12,
        fontWeight="bold" if best and arm == best.arm else "normal",
        color=palette.ink,
        limit=200,
        offset=6,
    )
    return sheet.finish(layers, palette, height=110, title=title)


def _bars(
    result: StudyResult,
    data: Rows,
    field: str,
    title: str,
    palette: Palette,
    language: str | None,
    *,
    domain: list[float],
    form: str,
) -> alt.LayerChart:
    """A dot on a thin line from zero, by arm; an interval where there is one."""
    x = alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=domain, nice=False),
        axis=alt.Axis(format=form, tickCount=4),
    )
    sheet = Sheet()
    y = marks.arms(result, palette)
    present = sheet.chart([r | {"zero": 0} for r in data if r[field] is not None])
    layers: list[Any] = [
        present.mark_rule(color=palette.faint, strokeWidth=1).encode(
            x=alt.X("zero:Q", title=title), x2=f"{field}:Q", y=y
        ),
    ]
    if any(r.get("high") is not None for r in data):
        layers.append(
            present.mark_rule(color=palette.muted, strokeWidth=2.5, opacity=0.7).encode(
                x=alt.X("low:Q", title=title), x2="high:Q", y=y
            )
        )
    layers.append(
        present.mark_point(filled=True, size=55, opacity=1, color=palette.accent).encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("arm:N", title=say("report.arm", language)),
                alt.Tooltip(f"{field}:Q", title=title, format=form),
            ],
        )
    )
    if missing := [{"arm": r["arm"]} for r in data if r[field] is None]:
        words = say("report.never_reached" if field == "steps" else "report.not_known", language)
        layers.append(
            sheet.chart(missing)
            .mark_text(align="left", dx=4, color=palette.muted, fontSize=11, text=words)
            .encode(x=alt.value(0), y=y)
        )
    return sheet.finish(layers, palette, height=24 * len(data))


def _score_title(result: StudyResult, language: str | None) -> str:
    judgement = result.judgement
    direction = "higher" if judgement.higher_is_better else "lower"
    return say(
        "report.axis_test",
        language,
        metric=metric_name(judgement.metric, language),
        direction=say(f"report.{direction}_is_better", language),
    )
