"""The section "why" of a study's report: what flows back in the network of each arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from throughtime.language import LANGUAGES, say
from throughtime.report.gradients.draw import Plot, span
from throughtime.report.gradients.figures import (
    NONE,
    curve,
    factor,
    number,
    percent,
    real,
    steps,
)
from throughtime.report.gradients.panels.units import classes
from throughtime.report.palette import FOLLOWING
from throughtime.study.result import Section

Flow = Mapping[str, Any]
Row = tuple[str, str, Flow]

_WIDTH, _HEIGHT = 186, 112
_MARGINS = (42, 8, 8, 22)
_WELL = ("ordinary", "always_on")


def sections(arms: Mapping[str, Mapping[str, Flow]]) -> Section:
    """The section in every language, as :class:`~throughtime.study.result.StudyResult` holds it.

    Args:
        arms: see :func:`section`.
    """
    return Section(
        title={k: say("traces.why_title", k) for k in LANGUAGES},
        html={k: str(section(arms, k)) for k in LANGUAGES},
    )


def section(arms: Mapping[str, Mapping[str, Flow]], language: str) -> Markup:
    """Signal, split, horizon and census of every arm side by side, a sentence each, the numbers.

    Args:
        arms: by name of the arm, in the order to be shown, what
            :func:`throughtime.gradients.summary.flow_summary` gave for the arm's network; it may
            have been written as JSON and read again.
        language: ``"en"`` or ``"zh"``.

    Returns:
        Markup without scripts, for the body of a section of the report; its colours follow the
        page. It holds no ``id``, so several sections may stand on one page.

    Example:
        >>> section({"tanh": flow_summary(trace.records)}, "en")  # doctest: +SKIP
        Markup('<p>For each arm, ...')
    """
    rows = [(arm, key, flow) for arm, flows in arms.items() for key, flow in flows.items()]
    if not rows:
        return Markup("<p>{}</p>").format(_say("why_none", language))
    several = any(len(flows) > 1 for flows in arms.values())
    return Markup("\n").join(
        (
            Markup('<ul style="max-width:46rem">{}</ul>').format(
                Markup("").join(
                    Markup("<li>{}</li>").format(_sentence(row, several, language)) for row in rows
                )
            ),
            Markup('<p class="key">{}</p>').format(_say("why_lead", language)),
            _pictures(rows, several, language),
            _numbers(rows, several, language),
        )
    )


def _pictures(rows: list[Row], several: bool, language: str) -> Markup:
    epsilon = number(rows[0][2]["epsilon"])
    heads = [
        (f"why_{name}", f"why_{name}_key", {"epsilon": epsilon} if name == "reach" else {})
        for name in ("signal", "split", "reach", "census")
    ]
    head = Markup("").join(
        Markup('<th scope="col">{}<br/><small>{}</small></th>').format(
            _say(title, language), _say(key, language, **fields)
        )
        for title, key, fields in heads
    )
    shared = _Shared(rows)
    body = Markup("").join(
        Markup(
            '<tr><th scope="row" style="vertical-align:middle"><span class="arm">{}</span></th>'
            "{}</tr>"
        ).format(
            _name(row, several),
            Markup("").join(
                Markup('<td style="padding:.3rem .1rem">{}</td>').format(picture)
                for picture in shared.pictures(row, language)
            ),
        )
        for row in rows
    )
    return Markup(
        '<div class="scroll" style="max-height:none" role="region" tabindex="0" aria-label="{}">'
        '<table class="why"><thead><tr><th scope="col">{}</th>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(_say("why_title", language), _say("why_arm", language), head, body)


class _Shared:
    """The axes that the arms share, so that rows can be compared by eye."""

    def __init__(self, rows: list[Row]):
        flows = [flow for _, _, flow in rows]
        self.time = (0.0, max(1.0, max(f["steps"] - 1 for f in flows)))
        self.signal = span([curve(f[k]) for f in flows for k in ("total", "injected")], log=True)
        gains = [real(f["split"][k]) for f in flows for k in ("slope", "weights", "total")]
        low, high = span([np.array(gains)], at_least=[-0.05, 0.05])
        room = 0.4 * (high - low)  # for the numbers at the ends of the bars
        self.gain = (low - room, high + room)
        self.lag = (0.0, max(1.0, max(max(curve(f["lag"])) for f in flows)))
        low, high = span([curve(f["rho"]) for f in flows], log=True)
        floor = min(real(f["epsilon"]) for f in flows) / 100
        self.rho = (min(max(low, floor), high / 10), high)

    def pictures(self, row: Row, language: str) -> Iterator[Markup]:
        for draw in (self._signal, self._split, self._reach, self._census):
            yield draw(row[2], language)

    def _plot(self, x: tuple[float, float], y: tuple[float, float], language: str, **more) -> Plot:
        return Plot(
            _WIDTH, _HEIGHT, x, y, language=language, ink=FOLLOWING, margins=_MARGINS, **more
        )

    def _signal(self, flow: Flow, language: str) -> Markup:
        plot = self._plot(self.time, self.signal, language, log_y=True)
        plot.ticks(x_count=3, y_count=4)
        time = curve(flow["time"])
        plot.line(time, curve(flow["injected"]), "warn", dash="points", width=2)
        plot.line(time, curve(flow["total"]), "accent")
        return plot.svg(f"{say('traces.why_signal', language)}: {_ratio(flow)}")

    def _split(self, flow: Flow, language: str) -> Markup:
        plot = Plot(_WIDTH, _HEIGHT, self.gain, (0, 3), language=language, ink=FOLLOWING,
                    margins=(48, 8, 8, 22))  # fmt: skip
        plot.ticks(x_count=3, y_count=0)
        names = {"slope": "φ′", "weights": "W_hh", "total": say("traces.why_both", language)}
        for i, (part, name) in enumerate(names.items()):
            value = real(flow["split"][part])
            colour = {"slope": "warn", "weights": "green", "total": "ink"}[part]
            plot.bar_across(2.5 - i, value, colour)
            plot.text(44, float(plot.up(2.5 - i)) + 4, name, anchor="end")
            if np.isfinite(value):
                side = 4 if value >= 0 else -4
                at = float(plot.across(value)) + side
                plot.text(at, float(plot.up(2.5 - i)) + 4, number(value, 2), colour="ink",
                          anchor="start" if side > 0 else "end", size=10.5)  # fmt: skip
        plot.upright(0.0, "faint", dash="solid")
        spoken = ", ".join(f"{name} {number(flow['split'][part])}" for part, name in names.items())
        return plot.svg(f"{say('traces.why_split', language)}: {spoken}")

    def _reach(self, flow: Flow, language: str) -> Markup:
        plot = self._plot(self.lag, self.rho, language, log_y=True)
        plot.ticks(x_count=3, y_count=4)
        plot.level(real(flow["epsilon"]), "faint", dash="dotted")
        plot.upright(real(flow["horizon"]["value"]), "warn")
        rho = curve(flow["rho"])
        plot.line(curve(flow["lag"]), np.where(rho >= self.rho[0], rho, np.nan), "accent")
        return plot.svg(f"{say('traces.why_horizon', language)}: {_horizon(flow, language)}")

    def _census(self, flow: Flow, language: str) -> Markup:
        shares = _classes(flow)
        plot = Plot(_WIDTH, _HEIGHT, (0, 1), (0, 4), language=language, ink=FOLLOWING,
                    margins=(78, 8, 44, 22))  # fmt: skip
        for i, (name, share) in enumerate(shares[:4]):
            y = 3.5 - i
            plot.bar_across(y, share, "accent" if name in _WELL else "warn")
            at = float(plot.up(y)) + 4
            plot.text(74, at, say(f"traces.short_{name}", language), anchor="end")
            plot.text(float(plot.across(share)) + 4, at, percent(share), colour="ink", size=10.5)
        if shares[4:]:
            rest = percent(sum(share for _, share in shares[4:]))
            plot.text(74, _HEIGHT - 6, f"+ {rest}", anchor="end")
        return plot.svg(
            f"{say('traces.why_census', language)}: {classes(flow['census'], language)}"
        )


def _sentence(row: Row, several: bool, language: str) -> str:
    _, _, flow = row
    name = _name(row, several)
    if not real(flow["last"]) > 0 and not real(flow["first"]) > 0:
        return _say("why_sentence_none", language, arm=name)
    horizon, last = flow["horizon"], real(flow["last_steps"])
    reach = _say(
        "why_reaches_all" if flow["censored"] else "why_reaches",
        language,
        **{name: steps(horizon[part]) for name, part in _PARTS.items()},
    )
    update = "" if np.isnan(last) else _say(
        "why_update" if last < flow["steps"] else "why_update_all",
        language, last=steps(last), steps=flow["steps"],
    )  # fmt: skip
    factors = {part: factor(flow["split"][part]) for part in ("slope", "weights", "total")}
    return _say(
        "why_sentence" if flow["kind"] == "elman" else "why_sentence_gated",
        language,
        arm=name,
        ratio=_ratio(flow),
        phi=flow["activation"],
        reach=reach,
        update=update,
        units=_say("why_units", language, classes=classes(flow["census"], language)),
        **factors,
    ).strip()


_PARTS = {"horizon": "value", "low": "low", "high": "high"}


def _numbers(rows: list[Row], several: bool, language: str) -> Markup:
    columns = ("arm", "ratio", "slope", "weights", "horizon", "half_life", "last_steps", "census")
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(
            Markup("") if name in ("arm", "census") else Markup(' class="n" style="min-width:6em"'),
            _say(f"why_{name}", language),
        )
        for name in columns
    )
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}<td style="min-width:12rem">{}</td></tr>').format(
            _name(row, several),
            Markup("").join(
                Markup('<td class="n">{}</td>').format(text)
                for text in (
                    _ratio(row[2]),
                    factor(row[2]["split"]["slope"]),
                    factor(row[2]["split"]["weights"]),
                    _horizon(row[2], language),
                    _interval(row[2]["half_life"]),
                    steps(row[2]["last_steps"]),
                )
            ),
            classes(row[2]["census"], language),
        )
        for row in rows
    )
    return Markup(
        '<details><summary>{}</summary><div class="scroll" role="region" tabindex="0" '
        'aria-label="{}"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>'
    ).format(_say("why_numbers", language), _say("why_numbers", language), head, body)


def _name(row: Row, several: bool) -> str:
    arm, key, _ = row
    return f"{arm} · {key}" if several else arm


def _ratio(flow: Flow) -> str:
    first, last = real(flow["first"]), real(flow["last"])
    if last == 0 or np.isnan(first / last if last else np.nan):
        return NONE
    return number(first / last)


def _horizon(flow: Flow, language: str) -> str:
    if flow["censored"]:
        return _say("why_at_least", language, steps=steps(flow["horizon"]["value"]))
    return _interval(flow["horizon"])


def _interval(estimate: Mapping[str, Any]) -> str:
    value, low, high = (steps(estimate[part]) for part in ("value", "low", "high"))
    return value if NONE in (low, high) else f"{value} [{low}, {high}]"


def _classes(flow: Flow) -> list[tuple[str, float]]:
    return sorted(flow["census"].items(), key=lambda item: -item[1])


def _say(entry: str, language: str, **fields: Any) -> str:
    return say(f"traces.{entry}", language, **fields)
