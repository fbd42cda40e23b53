"""An activation for a person to look at: the catalogue, one entry's facts, a drawing."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from throughtime.activations import activation, names
from throughtime.activations.emit import text as formula_text
from throughtime.errors import ActivationError
from throughtime.files import whole
from throughtime.language import current_language, say

if TYPE_CHECKING:
    import altair as alt

    from throughtime.activations import Activation
    from throughtime.activations.facts import Facts, Zone

_WIDE = 110
_DEVIATIONS = (0.1, 0.5, 1.0, 2.0)
_BLOCKS = "▁▂▃▄▅▆▇█"
_KINDS = (".svg", ".png", ".html")
_SHOWN = 6


def catalogue_table(language: str | None = None, width: int = 80) -> Table:
    """The catalogue as a table, to be printed by rich.

    Args:
        language: ``"en"`` or ``"zh"``; the current language by default.
        width: columns of the terminal; from 110 on, range and critical gain are shown too.

    Example:
        >>> import rich
        >>> rich.print(catalogue_table())  # doctest: +SKIP
    """
    wide = width >= _WIDE
    table = Table(
        title=say("activations.title", language, count=len(names())),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(_label("name_column", language), style="bold", no_wrap=True)
    table.add_column(_label("formula", language), overflow="fold", max_width=40)
    if wide:
        table.add_column(_label("range", language), no_wrap=True)
        table.add_column(_label("gain", language), justify="right", no_wrap=True)
    table.add_column(_label("when", language), overflow="fold")
    for name in names():
        phi = activation(name)
        derived = [str(phi.facts.range), _number(phi.facts.critical_gain)] if wide else []
        table.add_row(*map(Text, [name, phi.formula, *derived, _note(phi, language)]))
    return table


def facts_panel(phi: Activation, language: str | None = None) -> Table:
    """Everything known of one activation, to be printed by rich.

    Args:
        phi: the activation; its facts are those at its parameters' defaults.
        language: ``"en"`` or ``"zh"``; the current language by default.

    Example:
        >>> import rich
        >>> rich.print(facts_panel(activation("elu")))  # doctest: +SKIP
    """
    table = Table(title=phi.name, title_style="bold", show_header=False, box=SIMPLE_HEAD)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row, text in _rows(phi, language).items():
        if text:
            table.add_row(_label(row, language), Text(text))
    return table


def plot(phi: Activation, path: str | os.PathLike[str], language: str | None = None) -> Path:
    """Draw φ and φ' with their dead and saturated zones, in a file that opens offline.

    Args:
        phi: the activation, drawn at its parameters' defaults.
        path: ``.svg``, ``.png`` or ``.html``; written beside and moved into place.
        language: ``"en"`` or ``"zh"``; the current language by default.

    Returns:
        The path.

    Raises:
        ActivationError: another kind of file, or a folder that is not there.

    Example:
        >>> plot(activation("elu"), "elu.svg")  # doctest: +SKIP
        PosixPath('elu.svg')
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise ActivationError("activations.plot_kind", path=str(path), kinds=", ".join(_KINDS))
    if not path.parent.is_dir():
        raise ActivationError("activations.plot_folder", path=str(path), folder=str(path.parent))
    drawing = chart(phi, language)
    options: dict[str, Any] = {
        ".html": {"inline": True, "embed_options": {"actions": False}},
        ".png": {"ppi": 144},
    }.get(kind, {})
    with whole(path) as beside:
        drawing.save(str(beside), **options)
    return path


def chart(phi: Activation, language: str | None = None) -> alt.LayerChart:
    """The drawing of :func:`plot` as an Altair chart.

    Example:
        >>> chart(activation("tanh")).to_dict()["title"]["text"]
        'tanh'
    """
    import altair as alt

    from throughtime.report.palette import FONT, LIGHT

    reach = _reach(phi.facts)
    rule = {"color": LIGHT.faint, "strokeWidth": 1}
    axes = alt.Chart(alt.Data(values=[{"zero": 0}]))
    cross = [axes.mark_rule(**rule).encode(x="zero:Q"), axes.mark_rule(**rule).encode(y="zero:Q")]
    title = alt.TitleParams(
        phi.name,
        subtitle=_subtitle(phi),
        anchor="start",
        offset=24,
        fontSize=16,
        subtitleColor=LIGHT.muted,
    )
    return (
        alt.LayerChart(layer=[*_shades(phi, reach, language), *cross, _lines(phi, reach)])
        .properties(width=560, height=300, title=title, description=_described(phi, language))
        .configure(font=FONT, background=LIGHT.paper, padding=16)
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=LIGHT.line,
            domain=False,
            tickColor=LIGHT.faint,
            labelColor=LIGHT.muted,
            labelFlush=False,
            titleColor=LIGHT.muted,
            titleFontWeight="normal",
        )
    )


def _lines(phi: Activation, reach: float) -> alt.Chart:
    import altair as alt

    from throughtime.report.palette import LIGHT

    x = np.unique([*np.linspace(-reach, reach, 801), *_beside_kinks(phi.facts, reach)])
    labels = ["φ(x)", "φ′(x)"]
    rows = [
        {"x": float(a), "y": float(v), "line": label}
        for label, values in zip(labels, (phi(x), phi.derivative(x)), strict=True)
        for a, v in zip(x, values, strict=True)
    ]
    legend = alt.Legend(title=None, orient="right", symbolSize=400, symbolStrokeWidth=2.5)
    colours = alt.Scale(domain=labels, range=[LIGHT.accent, LIGHT.warn])
    dashes = alt.Scale(domain=labels, range=[[1, 0], [6, 3]])
    heights = alt.Scale(domain=_heights(rows, reach), nice=False)
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(clip=True, strokeWidth=2.5)
        .encode(
            x=alt.X("x:Q", title="x", scale=_across(reach), axis=alt.Axis(tickCount=9)),
            y=alt.Y("y:Q", title=None, scale=heights, axis=alt.Axis(tickCount=7)),
            color=alt.Color("line:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("line:N", scale=dashes, legend=legend),
            tooltip=[
                alt.Tooltip("line:N", title=" "),
                alt.Tooltip("x:Q", format=".3f"),
                alt.Tooltip("y:Q", format=".4f"),
            ],
        )
    )


def _shades(phi: Activation, reach: float, language: str | None) -> list[alt.Chart]:
    """A band for each zone, its name above."""
    import altair as alt

    from throughtime.report.palette import LIGHT

    bands = []
    for zone in phi.facts.zones:
        low, high = max(zone.low, -reach), min(zone.high, reach)
        if low >= high:
            continue
        outer = "left" if low == -reach else "right" if high == reach else "center"
        at = {"left": low, "right": high, "center": (low + high) / 2}[outer]
        word = say(f"activations.{zone.kind}_short", language)
        data = alt.Chart(alt.Data(values=[{"low": low, "high": high, "at": at, "zone": word}]))
        caption = data.mark_text(align=outer, color=LIGHT.muted, fontSize=11)
        bands += [
            data.mark_rect(color=LIGHT.band, opacity=0.8).encode(
                x=alt.X("low:Q", scale=_across(reach)), x2="high:Q"
            ),
            caption.encode(x="at:Q", y=alt.value(-8), text="zone:N"),
        ]
    return bands


def _across(reach: float) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=[-reach, reach], nice=False)


def _rows(phi: Activation, language: str | None) -> dict[str, str]:
    facts = phi.facts
    sample = np.linspace(-4, 4, 33)
    return {
        "formula": phi.formula,
        "slope_row": formula_text.emit(phi.derivative_expression),
        "parameters": "\n".join(_parameters(phi, language)),
        "sketch": f"φ  {_sparkline(phi(sample))}\nφ′ {_sparkline(phi.derivative(sample))}",
        "range": _range(facts, language),
        "at_zero": f"φ(0) = {_number(facts.value_at_zero)}, φ′(0) = {_number(facts.slope_at_zero)}",
        "mean": _mean(facts, language),
        "steepest": _steepest(facts, language),
        "zones": "\n".join(_zones(facts, language)) or say("activations.no_zones", language),
        "shape": _shape(facts, language),
        "passed": _over_deviations(facts.mean_squared_slope),
        "gains": _over_deviations(facts.critical_gain_at),
        "when": _note(phi, language),
        "source": phi.reference,
    }


def _label(row: str, language: str | None) -> str:
    return say(f"activations.row_{row}", language)


def _note(phi: Activation, language: str | None) -> str:
    return phi.note_zh if (language or current_language()) == "zh" else phi.note


def _parameters(phi: Activation, language: str | None) -> list[str]:
    lines = []
    for p in phi.parameters.values():
        low = f"[{_number(p.low)}" if math.isfinite(p.low) else "(−∞"
        high = f"{_number(p.high)}]" if math.isfinite(p.high) else "∞)"
        learnt = say(f"activations.learnt_{p.learnable}", language) if p.learnable else ""
        lines.append(f"{p.name} = {_number(p.default)} ∈ {low}, {high}{learnt}")
    return lines


def _range(facts: Facts, language: str | None) -> str:
    bounded = "bounded" if facts.range.bounded else "unbounded"
    return f"{facts.range}{say(f'activations.{bounded}', language)}"


def _mean(facts: Facts, language: str | None) -> str:
    centred = "centred" if facts.zero_mean else "not_centred"
    return f"{_number(facts.mean)}{say(f'activations.{centred}', language)}"


def _steepest(facts: Facts, language: str | None) -> str:
    jumps = say("activations.jumps", language) if facts.lipschitz > facts.steepest else ""
    return f"{_number(facts.steepest)}{jumps}"


def _zones(facts: Facts, language: str | None) -> list[str]:
    central = sorted(facts.zones, key=lambda z: min(abs(z.low), abs(z.high)))[:_SHOWN]
    lines = [_zone(zone, language) for zone in facts.zones if zone in central]
    return lines + ["…"] * (len(facts.zones) > _SHOWN)


def _zone(zone: Zone, language: str | None) -> str:
    low = f"({_number(zone.low)}"
    return f"{low}, {_number(zone.high)})  {say(f'activations.{zone.kind}', language)}"


def _shape(facts: Facts, language: str | None) -> str:
    words = [facts.monotone or "not_monotone"]
    words += [
        word for word, holds in (("odd", facts.odd), ("homogeneous", facts.homogeneous)) if holds
    ]
    shapes = [say(f"activations.{word}", language) for word in words]
    if math.isinf(facts.smoothness):
        shapes.append(say("activations.smooth", language))
    elif facts.smoothness > 0:
        shapes.append(say("activations.smooth_to", language, order=f"{facts.smoothness:g}"))
    else:
        at = ", ".join(_number(k) for k in _central(facts.kinks))
        at += ", …" * (len(facts.kinks) > _SHOWN)
        word = "kinks" if facts.smoothness == 0 else "breaks"
        shapes.append(say(f"activations.{word}", language, at=at))
    return say("activations.comma", language).join(shapes)


def _central(points: tuple[float, ...]) -> list[float]:
    """Those nearest to 0: an oscillation has kinks without end."""
    return sorted(sorted(points, key=abs)[:_SHOWN])


def _over_deviations(function: Any) -> str:
    return "   ".join(f"s={s:g}: {_number(function(s))}" for s in _DEVIATIONS)


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value if abs(value) >= 1e-9 else 0.0:.4g}"
    return text.replace("-", "−")


def _sparkline(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return _BLOCKS[0] * len(values)
    heights = np.rint((values - low) / (high - low) * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[h] for h in heights)


def _reach(facts: Facts) -> float:
    """Half the width of the drawing: 4, or what shows every kink and most saturation points."""
    ends = [abs(e) for z in facts.zones for e in (z.low, z.high) if math.isfinite(e)]
    marks = [abs(k) for k in _central(facts.kinks)] + [e for e in ends if e <= 10]
    return float(max(4.0, min(1.25 * max(marks, default=0.0), 1000.0)))


def _beside_kinks(facts: Facts, reach: float) -> list[float]:
    """Two points at each kink, so that a jump is drawn upright."""
    return [k + side * 1e-6 * reach for k in facts.kinks if abs(k) < reach for side in (-1, 1)]


def _heights(rows: list[dict[str, Any]], reach: float) -> list[float]:
    """All of both curves, or as much as lets the rest be seen."""
    values = [r["y"] for r in rows if math.isfinite(r["y"])]
    low, high = max(min(values), -4 * reach), min(max(values), 4 * reach)
    margin = 0.06 * (high - low) or 1.0
    return [low - margin, high + margin]


def _subtitle(phi: Activation) -> str:
    formula = phi.formula if len(phi.formula) <= 80 else phi.formula[:77] + "…"
    values = "".join(f", {p.name} = {_number(p.default)}" for p in phi.parameters.values())
    return f"φ(x) = {formula}{values}"


def _described(phi: Activation, language: str | None) -> str:
    return say(
        "activations.described",
        language,
        name=phi.name,
        range=str(phi.facts.range),
        steepest=_number(phi.facts.steepest),
    )
