"""The page of a trace: one HTML file that opens from disk and asks nothing of any network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from throughtime import __version__
from throughtime.errors import ThroughtimeError
from throughtime.gradients.advise import Finding, folded
from throughtime.gradients.measure.census import CLASSES
from throughtime.language import LANGUAGES, say
from throughtime.report.embed import digest, embeddable, environment, text_of
from throughtime.report.gradients import training
from throughtime.report.gradients.crop import cropped
from throughtime.report.gradients.figures import curve, number, percent, real, steps
from throughtime.report.gradients.panels import Measured, Panel, forms
from throughtime.report.gradients.panels.base import SMALL, longest
from throughtime.report.gradients.tables import series, table, tables, told
from throughtime.report.tables import TAGS, both

_WORDS = (
    "arithmetic_none", "sum_gain", "sum_gain_gated", "sum_arrives", "sum_injected", "sum_passed",
    "sum_share", "sum_on", "step", "look_value", "unit_option", "unit_among", "class_none",
    *(f"class_{name}" for name in CLASSES),
)  # fmt: skip
_FIGURES = ("on", "saturated_low", "saturated_high", "silent_sequences", "latched_sequences",
            "gradient")  # fmt: skip


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes:
        title: what the page calls the model.
        records: by key, what :func:`throughtime.gradients.measured.measured` gave.
        findings: causes before consequences.
        lag: the lag the task needs, if it was told.
        loss: of the batch; None where there is no single one.
        check: exactness by module; None where it was not compared.
        seconds, step_seconds, measuring_seconds: what recording, the model's own pass and the
            measures took.
        history: what :func:`throughtime.gradients.measured.looks` gave of a training run.
        overhead: of the monitor, over the time of training.
    """

    title: str
    records: Mapping[str, Measured]
    findings: Sequence[Finding] = ()
    lag: int | None = None
    loss: float | None = None
    check: Mapping[str, float] | None = None
    seconds: float = math.nan
    step_seconds: float = math.nan
    measuring_seconds: float = math.nan
    history: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    overhead: float | None = None


def render(view: View, *, language: str | None = None) -> str:
    """The page as HTML.

    Args:
        view: what to show.
        language: ``"en"`` or ``"zh"`` to open in; by default the reader's browser decides. Either
            way both languages are in the page, with a switch.

    Returns:
        One HTML document. Without JavaScript the findings, every drawing and every table are there.

    Raises:
        ThroughtimeError: the language is not known.
    """
    if language is not None and language not in LANGUAGES:
        raise ThroughtimeError("language.unknown", wanted=language, known=", ".join(LANGUAGES))
    script = text_of("trace.js")
    keys = list(view.records)
    layers = [_Layer(i, key, m, view) for i, (key, m) in enumerate(view.records.items())]
    data = {
        "records": [_data(layer, len(view.history)) for layer in layers],
        "looks": [look["step"] for look in view.history],
        "words": {k: {w: say(f"traces.{w}", k) for w in _WORDS} for k in LANGUAGES},
    }
    return (
        environment()
        .get_template("trace.html.j2")
        .render(
            view=view,
            language=language,
            initial=language or "en",
            tags=TAGS,
            version=__version__,
            titles={k: _title(view, k) for k in LANGUAGES},
            titles_both=both({k: _title(view, k) for k in LANGUAGES}),
            no_finding=_no_finding(view.lag),
            training_table=_training_table(view.history),
            told=told,
            unit_figures=("class", *_FIGURES, "linearity"),
            cards=[_card(alike, keys) for alike in folded(view.findings)],
            layers=layers,
            over_training=training.figures(view.history),
            followed=list(view.history[-1]["layers"]) if view.history else [],
            notes=list(_notes(view)),
            style=Markup(text_of("report.css") + text_of("trace.css")),
            script=Markup(script),
            data=Markup(embeddable(data)),
            hashes=f"'sha256-{digest(script)}'",
        )
    )


@dataclass(frozen=True)
class Figure:
    """A panel as it stands on the page."""

    name: str
    drawings: tuple[Markup, ...]
    sentence: Markup
    timed: bool
    followed: bool


class _Layer:
    """One record on the page."""

    def __init__(self, index: int, key: str, m: Measured, view: View):
        frames = [look["layers"][key] for look in view.history if key in look["layers"]]
        self.index, self.key = index, key
        self.m = {**cropped(m, frames), "lag": view.lag}
        self.figures = [f for f in self._figures() if f.drawings or f.sentence]
        self.timed = [f for f in self.figures if f.timed]
        self.others = [f for f in self.figures if not f.timed]

    def _figures(self) -> Iterator[Figure]:
        for name, panel in forms(self.m):
            sentence = both({k: panel.sentence(self.m, k) for k in LANGUAGES})
            drawings = tuple(self._drawings(panel))
            yield Figure(name, drawings, sentence, panel.timed, panel.followed)

    def _drawings(self, panel: Panel) -> Iterator[Markup]:
        """What a panel draws; what runs over the whole page is drawn for phones too."""
        plot = panel.draw(self.m, None)
        if plot is None:
            return
        if plot.width <= SMALL:
            yield plot.svg()
            return
        yield plot.svg(**{"class": "wide"})
        narrow = panel.draw({**self.m, "narrow": True}, None)
        assert narrow is not None
        yield narrow.svg(**{"class": "narrow"})

    @property
    def facts(self) -> Iterator[tuple[str, Markup]]:
        m = self.m
        yield "fact_kind", told(f"kind_{m['kind']}")
        yield "fact_activation", escape(m["activation"])
        yield "fact_units", escape(m["units"])
        yield "fact_steps", escape(f"{longest(m)} × {m['sequences']}")
        yield "fact_horizon", _reach(m)
        last = m["budget"]["last_steps"]
        known = np.isfinite(curve(m["budget"]["share"])).any()
        yield (
            "fact_ninety",
            told("last_few", last=min(last, longest(m)), steps=longest(m))
            if known
            else escape("–"),
        )

    @property
    def tables(self) -> Iterator[tuple[str, Markup]]:
        return tables(self.m)


def _data(layer: _Layer, looks: int) -> dict[str, Any]:
    """What the script needs of one record, in six digits."""
    m, frames = layer.m, _shorter(layer.m["frames"])
    return {
        "key": layer.key,
        "kind": m["kind"],
        "reverse": m["reverse"],
        "steps": m["steps"],
        "series": {name: _short(values) for name, values in series(m).items()},
        "frames": frames if len(frames) == looks else [],
        "units": _units(m),
    }


def _units(m: Measured) -> dict[str, Any]:
    """The units of the barcode, each with its figures and its pre-activations, in 10⁻⁴."""
    shown, held = m["barcode"]["units"], m["census"]
    figures = {name: held[name] for name in _FIGURES}
    figures["linearity"] = m["usage"][m["barcode"]["place"]]["linearity"]
    return {
        "unit": shown,
        "class": m["barcode"]["classes"],
        "place": m["barcode"]["place"],
        "density": [[round(1e4 * share) for share in row] for row in m["barcode"]["density"]],
        **{name: _short([values[unit] for unit in shown]) for name, values in figures.items()},
    }


def _short(values: Sequence[Any] | np.ndarray, digits: int = 6) -> list[float | None]:
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(real, values)]


def _shorter(values: Any) -> Any:
    """What stood in JSON, in the four digits that an earlier look is told in."""
    if isinstance(values, Mapping):
        return {name: _shorter(value) for name, value in values.items()}
    if isinstance(values, list) and values and isinstance(values[0], Mapping):
        return [_shorter(value) for value in values]
    return _short(values, 4) if isinstance(values, Sequence) else values


def _card(alike: Sequence[Finding], keys: Sequence[str]) -> dict[str, Any]:
    """Findings of one kind, the worst first, each with the record it can be seen in."""
    places = [_found(found, keys) for found in alike]
    return {**places[0], "panel": _SHOWS.get(alike[0].cause, "signal"), "places": places}


def _found(found: Finding, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "cause": found.cause,
        "place": found.place,
        "shown": keys.index(found.place) if found.place in keys else None,
        "number": number(found.number),
        "reference": number(found.reference),
        **{
            part: both({k: getattr(found, part)(k) for k in LANGUAGES})
            for part in ("sentence", "rule", "suggestion")
        },
    }


_SHOWS = {
    "dead": "census",
    "saturated": "barcode",
    "forgets": "gate_times",
    "explodes": "transport",
    "vanishes": "transport",
    "cut": "transport",
}


def _title(view: View, language: str) -> str:
    if not view.title:
        return say("traces.page_title_bare", language)
    return say("traces.page_title", language, title=view.title)


def _no_finding(lag: int | None) -> Markup:
    name = "lag_untold" if lag is None else "lag_told"
    return both(
        {
            k: say("traces.no_finding_said", k, lag=say(f"traces.{name}", k, lag=lag))
            for k in LANGUAGES
        }
    )


def _training_table(looks: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        [str(look["step"]), name, number(update), number(look["clips"].get(name))]
        for look in looks
        for name, update in look["updates"].items()
    ]
    return table("table_training", ("look", "name", "update", "clip"), rows)


def _reach(m: Measured) -> Markup:
    held = m["transport"]
    value, low, high = (steps(held["horizon"][part]) for part in ("value", "low", "high"))
    return told("why_at_least", steps=value) if held["censored"] else escape(
        value if "–" in (low, high) else f"{value} [{low}, {high}]"
    )  # fmt: skip


def _notes(view: View) -> Iterator[Markup]:
    if view.check is not None:
        apart = float(np.max(list(view.check.values()) or [math.nan]))
        known = not math.isnan(apart)
        yield told("check_said", apart=number(apart, 2)) if known else told("check_none")
    if math.isfinite(view.seconds):
        yield told(
            "cost_said",
            seconds=number(view.seconds),
            own=number(view.step_seconds),
            factor=number(view.seconds / max(view.step_seconds, 1e-9), 2),
            measuring=number(view.measuring_seconds),
        )
    if view.overhead is not None:
        yield told("overhead_said", share=percent(view.overhead, 1))
    yield from _sample(view.records.values())
    if view.loss is not None:
        yield told("loss_said", loss=number(view.loss, 4))
    names = dict.fromkeys(name for m in view.records.values() for name in m["left_out"])
    if not names:
        yield told("nothing_left_out")
    else:
        yield both(
            {
                k: say(
                    "traces.left_out_said", k,
                    names=say("traces.comma", k).join(say(f"traces.name_{n}", k) for n in names),
                )
                for k in LANGUAGES
            }
        )  # fmt: skip


def _sample(records: Iterable[Measured]) -> Iterator[Markup]:
    """How many sequences the measures are taken of, where these are not all."""
    some = [m for m in records if m["sample"]["sequences"] < m["sequences"]]
    if some:
        yield told(
            "sample_said", looked=max(m["sample"]["sequences"] for m in some),
            whole=max(m["sequences"] for m in some),
            error=percent(max(real(m["sample"]["error"]) for m in some)),
        )  # fmt: skip
