"""The panels of a trace: a drawing, a sentence and a table each, from plain numbers.

Every drawing is a function of what :func:`throughtime.gradients.measured.measured` gave for one
record and of a language; None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.language import say
from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import (
    Curve,
    curve,
    factor,
    matrix,
    number,
    percent,
    real,
    steps,
)

Measured = Mapping[str, Any]
Draw = Callable[[Measured, str | None], Plot | None]
Sentence = Callable[[Measured, str], str]

WIDE, SMALL = 900, 430
_LINES = (("ink", "solid"), ("orange", "dashed"), ("green", "mixed"), ("purple", "dotted"),
          ("blue", "dashed"), ("ink", "dotted"))  # fmt: skip
_FLOOR = 1e-9


@dataclass(frozen=True)
class Panel:
    """One kind of panel.

    Attributes:
        draw: its drawing.
        sentence: what it says in one sentence with its number; "" for none.
        timed: whether it runs over time, under one another with the others that do.
    """

    draw: Draw
    sentence: Sentence
    timed: bool = False


def forms(m: Measured) -> Iterator[tuple[str, Panel]]:
    """The panels of one record by name, those over time first; one a place for the activations."""
    yield from PANELS.items()
    for place in m["usage"]:
        yield f"usage_{place}", _usage_at(place)


def moments(m: Measured) -> Curve:
    """The time steps."""
    return np.arange(m["steps"], dtype=float)


def _timed(
    m: Measured, y: tuple[float, float], height: float, language: str | None, *,
    log_y: bool = False, keyed: bool = True,
) -> Plot:  # fmt: skip
    """A plot over time, with room for a legend if it is to have one."""
    margins = (70, 26 if keyed else 8, 14, 40)
    return Plot(WIDE, height if keyed else height - 18, (-0.5, m["steps"] - 0.5), y, log_y=log_y,
                language=language, time=True, margins=margins)  # fmt: skip


def signal(m: Measured, language: str | None = None) -> Plot | None:
    """Rms‖g_t‖ with its spread, rms‖e_t‖, and where sequences get exactly nothing."""
    held = {name: curve(m["signal"][name]) for name in _SIGNAL}
    shown = [held[n] for n in ("total", "injected")] + _history(m, "total", "injected")
    plot = _timed(m, _decades(shown), 220, language, log_y=True)
    plot.axes("axis_time", "axis_signal")
    t = moments(m)
    plot.band(t, held["total_low"], held["total_high"], "blue", name="spread")
    sparse = int((held["injected"] > 0).sum()) <= 60
    if sparse and not m.get("frames"):
        plot.dots(t, held["injected"], "orange", size=3.5, name="injected")
    else:
        plot.line(t, held["injected"], "orange", dash="dotted", name="injected")
    plot.line(t, held["total"], "blue", width=2.2, name="total")
    low = plot.up.start
    plot.cells(held["total_zero"][None], "orange", top=low - 5, bottom=low)
    plot.legend(
        [
            Key("blue", "legend_total"),
            Key("blue", "legend_spread", form="band"),
            Key("orange", "legend_injected", dash="dotted"),
            Key("orange", "legend_zero", form="block"),
        ]
    )
    return plot


_SIGNAL = ("total", "total_low", "total_high", "total_zero", "injected")


def signal_said(m: Measured, language: str) -> str:
    """The ends of the signal."""
    total, zero = curve(m["signal"]["total"]), curve(m["signal"]["total_zero"])
    kept = np.flatnonzero(np.isfinite(total))
    if not len(kept) or not np.nanmax(total) > 0:
        return say("traces.signal_none", language)
    first, last = (kept[-1], kept[0]) if m["reverse"] else (kept[0], kept[-1])
    ratio = total[first] / total[last] if total[last] else np.nan
    said = say(
        "traces.signal_said", language, first=int(first), last=int(last),
        early=number(total[first]), late=number(total[last]), ratio=number(ratio),
    )  # fmt: skip
    if zero[first] > 0:
        said += say("traces.signal_zero", language, share=percent(zero[first]), step=int(first))
    return said


def split(m: Measured, language: str | None = None) -> Plot | None:
    """Log-gain of every step back: what φ' does, what W_hh does, and both."""
    held = {name: curve(m["split"][name]) for name in ("slope", "weights", "total")}
    if not any(np.isfinite(v).any() for v in held.values()):
        return None
    curves = [*held.values(), *_history(m, "slope", "weights", "gain")]
    low, high = span([_clear(c) for c in curves], at_least=[0.0])
    plot = _timed(m, _padded(low, high), 190, language)
    plot.axes("axis_time", "axis_gain")
    plot.level(0.0, "faint")
    t = moments(m)
    plot.line(t, held["slope"], "orange", dash="dashed", name="slope")
    plot.line(t, held["weights"], "green", dash="mixed", name="weights")
    plot.line(t, held["total"], "ink", name="gain")
    gated = "_gated" if m["kind"] != "elman" else ""
    plot.legend(
        [
            Key("orange", f"legend_slope{gated}", dash="dashed"),
            Key("green", "legend_weights", dash="mixed"),
            Key("ink", f"legend_gain{gated}"),
        ]
    )
    return plot


def split_said(m: Measured, language: str) -> str:
    """Mean factors a step, and who makes the gradient smaller."""
    slope, weights, total = (_mean(m["split"][n]) for n in ("slope", "weights", "total"))
    if not np.isfinite(total):
        return say("traces.split_none", language)
    who = "slope" if slope < weights else "weights"
    if min(slope, weights) > 0.99:
        who = "neither"
    if m["kind"] != "elman":
        who = "gated"
    return say(
        f"traces.split_said_{who}", language, phi=m["activation"], slope=factor(slope),
        weights=factor(weights), total=factor(total),
    )  # fmt: skip


def paths(m: Measured, language: str | None = None) -> Plot | None:
    """Share of the carry path and of every gate in what arrives one step earlier."""
    held = {name: curve(v) for name, v in m["split"]["paths"].items()}
    if len(held) < 2 or not any(np.isfinite(v).any() for v in held.values()):
        return None
    low, high = span([_clear(v) for v in held.values()], at_least=[0.0, 1.0])
    plot = _timed(m, _padded(max(low, -2), min(high, 3)), 180, language)
    plot.axes("axis_time", "axis_paths", percent=True)
    keys = []
    for (name, values), (colour, dash) in zip(held.items(), _LINES, strict=False):
        plot.line(moments(m), values, colour, dash=dash)
        keys.append(Key(colour, f"path_{name}", dash=dash))
    plot.legend(keys)
    return plot


def paths_said(m: Measured, language: str) -> str:
    """Mean share of the carry path."""
    carry = _mean(m["split"]["paths"].get("carry", []))
    return say("traces.paths_said", language, share=percent(carry)) if np.isfinite(carry) else ""


def budget(m: Measured, language: str | None = None) -> Plot | None:
    """Share of every time step in the gradient of W_hh."""
    share = curve(m["budget"]["share"])
    if not np.isfinite(share).any():
        return None
    low, high = span([share, *_history(m, "share")], at_least=[0.0])
    plot = _timed(m, _padded(low, high), 170, language, keyed=False)
    plot.axes("axis_time", "axis_budget", percent=True)
    plot.bars(moments(m), share, "blue", name="share")
    plot.level(0.0, "faint")
    return plot


def budget_said(m: Measured, language: str) -> str:
    """The last steps that make 90 % of the update; whether steps cancel."""
    held = m["budget"]
    if not np.isfinite(curve(held["share"])).any():
        return say("traces.budget_none", language)
    last = min(held["last_steps"], m["steps"])
    said = say("traces.budget_said", language, last=last, steps=m["steps"])
    return said + say("traces.budget_cancels", language, share=percent(held["cancellation"]))


def barcode(m: Measured, language: str | None = None) -> Plot | None:
    """Unit by time: share of sequences in which a unit is on, units sorted by class."""
    on, classes = matrix(m["barcode"]["on"]), m["barcode"]["classes"]
    height = 66 + max(90, min(4 * len(classes), 240))
    plot = _timed(m, (0, len(classes)), height, language)
    plot.axes("axis_time", "", y_count=0)
    plot.cells(on, "blue")
    for name in dict.fromkeys(classes):
        first, count = classes.index(name), classes.count(name)
        row = (plot.up.start - plot.up.stop) / len(classes)
        top = plot.up.stop + first * row
        if first:
            plot.put('<path d="M18,{y:.1f}H{end:.1f}" stroke="{c}" stroke-dasharray="2 2"/>',
                     y=top, end=plot.across.stop, c=plot.colour("orange"))  # fmt: skip
        if count * row >= 11:
            plot.say(64, top + count * row / 2 + 3.5, f"short_{name}", anchor="end", size=10)
    plot.legend([Key("blue", "legend_on", form="block")])
    return plot


def census_said(m: Measured, language: str) -> str:
    """Shares of the classes of units."""
    told = classes(m["shares"], language)
    return say("traces.census_said", language, classes=told, units=m["units"])


def lag_map(m: Measured, language: str | None = None) -> Plot | None:
    """What each of some steps sends back to each earlier one, six decades of shades."""
    held = m["lag_map"]
    if held is None or not held["steps"]:
        return None
    norm = matrix(held["norm"])
    largest = np.nanmax(norm, initial=0.0)
    if not 0 < largest < np.inf:
        return None
    plot = _timed(m, (0, len(norm)), 66 + max(60, 22 * len(norm)), language)
    plot.axes("axis_time", "axis_lag_rows", y_count=0)
    with np.errstate(divide="ignore"):
        shade = 1 + np.log10(norm / largest) / 6
    plot.cells(shade, "blue", gap=3)
    for row, step in enumerate(held["steps"]):
        y = float(plot.up(len(norm) - row - 0.5))
        x = float(plot.across(float(step)))
        plot.put('<path d="M{x:.1f},{y:.1f}v14" stroke="{c}" stroke-width="2.5"/>',
                 x=x, y=y - 7, c=plot.colour("orange"))  # fmt: skip
        plot.text(64, y + 3.5, str(step), anchor="end", size=10.5)
    plot.legend([Key("blue", "legend_lag", form="block"), Key("orange", "legend_lag_from")])
    return plot


def lag_map_said(m: Measured, language: str) -> str:
    """How much of a step's loss arrives ten steps earlier, or as far as there is."""
    held = m["lag_map"]
    if held is None:
        return say("traces.left_out_lag_map", language)
    profile = curve(held["profile"])
    reached = np.flatnonzero(np.isfinite(profile) & (profile > 0))
    if not len(reached) or not profile[0] > 0:
        return ""
    lag = int(reached[reached <= 10][-1])
    return say("traces.lag_map_said", language, lag=lag, share=number(profile[lag] / profile[0]))


def state(m: Measured, language: str | None = None) -> Plot | None:
    """Rms of the state over time."""
    held = curve(m["state"])
    if not (held > 0).any():
        return None
    plot = _timed(m, _decades([held]), 150, language, log_y=True, keyed=False)
    plot.axes("axis_time", "axis_state", y_count=3)
    plot.line(moments(m), held, "blue")
    return plot


def state_said(m: Measured, language: str) -> str:
    """Growth of the state and the dimensions it uses."""
    held = m["health"]
    return say(
        "traces.state_said", language, growth=number(held["growth"], 2),
        dimension=number(held["participation"]), principal=held["dimension"], units=held["units"],
    )  # fmt: skip


def noise(m: Measured, language: str | None = None) -> Plot | None:
    """How far the sequences of the batch agree about the gradient of a step."""
    held = curve(m["signal_to_noise"])
    if not (np.isfinite(held) & (held > 0)).any():
        return None
    plot = _timed(m, _decades([held]), 150, language, log_y=True, keyed=False)
    plot.axes("axis_time", "axis_noise", y_count=3)
    plot.line(moments(m), held, "blue")
    return plot


def noise_said(m: Measured, language: str) -> str:
    """Share of δ that is exactly 0 or lost to the precision."""
    lost = m["underflow"]
    return say("traces.noise_said", language, zero=percent(lost["zero"], 1),
               subnormal=percent(lost["subnormal"], 1))  # fmt: skip


def transport(m: Measured, language: str | None = None) -> Plot | None:
    """ρ(k) with the horizon and its interval."""
    held = m["transport"]
    rho, horizon = curve(held["rho"]), held["horizon"]
    epsilon = real(held["epsilon"])
    if not (rho > 0).any():
        return None
    low, high = span([rho], log=True, at_least=[epsilon / 10])
    plot = Plot(SMALL, 240, (0, max(1, len(rho) - 1)), (max(low, _FLOOR * high), high), log_y=True,
                language=language)  # fmt: skip
    plot.axes("axis_lag", "axis_rho", x_count=6)
    ends = np.array([real(horizon["low"]), real(horizon["high"])])
    if np.isfinite(ends).all():
        plot.band(ends, np.full(2, plot.y[0]), np.full(2, plot.y[1]), "orange")
    plot.level(epsilon, "faint", dash="dotted")
    plot.upright(real(horizon["value"]), "orange")
    lags = np.arange(len(rho), dtype=float)
    keys = [Key("blue", name="ρ(k)"), Key("orange", "legend_horizon", dash="dashed")]
    if held["rho_cell"] is not None:
        plot.line(lags, _above(curve(held["rho_cell"]), plot), "purple", dash="mixed")
        keys.insert(1, Key("purple", "legend_cell", dash="mixed"))
    if m.get("lag"):
        plot.upright(float(m["lag"]), "green", dash="mixed")
        keys.append(Key("green", "legend_needed", dash="mixed"))
    plot.line(lags, _above(rho, plot), "blue", width=2.2)
    plot.legend(keys, x=20)
    return plot


def transport_said(m: Measured, language: str) -> str:
    """The horizon and the half-life."""
    held = m["transport"]
    fields = {f"{name}": steps(held["horizon"][name]) for name in ("value", "low", "high")}
    name = "transport_all" if held["censored"] else "transport_said"
    return say(f"traces.{name}", language, epsilon=number(held["epsilon"]),
               half=steps(held["half_life"]["value"]), **fields)  # fmt: skip


def cumulative(m: Measured, language: str | None = None) -> Plot | None:
    """The part of the update that the last k steps make."""
    share = curve(m["budget"]["by_lag"])
    if not np.isfinite(share).any():
        return None
    whole = np.cumsum(np.nan_to_num(share))
    low, high = span([whole], at_least=[0.0, 1.1])
    plot = Plot(
        SMALL, 240, (1, max(2, len(whole))), (max(low, -1), min(high, 3)), language=language
    )
    plot.axes("axis_last", "axis_cumulative", percent=True, x_count=6)
    plot.level(0.9, "faint", dash="dotted")
    plot.upright(float(min(m["budget"]["last_steps"], len(whole))), "orange")
    plot.line(np.arange(1, len(whole) + 1, dtype=float), whole, "blue", width=2.2)
    plot.legend([Key("blue", "legend_cumulative"), Key("orange", "legend_ninety", dash="dashed")],
                x=20)  # fmt: skip
    return plot


def lyapunov(m: Measured, language: str | None = None) -> Plot | None:
    """The Lyapunov spectrum, two standard errors about each exponent."""
    if m["lyapunov"] is None:
        return None
    found, error = curve(m["lyapunov"]["exponents"]), curve(m["lyapunov"]["error"])
    if not np.isfinite(found).any():
        return None
    rank = np.arange(1, len(found) + 1, dtype=float)
    low, high = span([_clear(found - 2 * error), _clear(found + 2 * error), found], at_least=[0.0])
    plot = Plot(SMALL, 240, (0, len(found) + 1), _padded(low, high), language=language)
    plot.axes("axis_rank", "axis_exponent", x_count=6)
    plot.level(0.0, "orange", dash="dashed")
    plot.whiskers(rank, found - 2 * error, found + 2 * error, "muted")
    plot.dots(rank, _clear(found), "blue", size=2.6 if len(found) < 80 else 1.4)
    return plot


def lyapunov_said(m: Measured, language: str) -> str:
    """The largest exponent and the dimension."""
    held = m["lyapunov"]
    if held is None:
        return say("traces.left_out_lyapunov", language)
    largest, error = curve(held["exponents"])[0], curve(held["error"])[0]
    said = say(
        "traces.lyapunov_said", language, largest=number(largest), error=number(2 * error, 2),
        dimension=number(held["dimension"]),
    )  # fmt: skip
    lost = int(np.isneginf(curve(held["exponents"])).sum())
    return said + (say("traces.lyapunov_lost", language, count=lost) if lost else "")


def one_step(m: Measured, language: str | None = None) -> Plot | None:
    """Singular values of the Jacobian of one step, by rank."""
    if m["one_step"] is None:
        return None
    held = {k: curve(v) for k, v in m["one_step"]["singular_values"].items()}
    values = held["median"]
    if not (values > 0).any():
        return None
    rank = np.arange(1, len(values) + 1, dtype=float)
    low, high = span([values], log=True, at_least=[1.0])
    plot = Plot(SMALL, 240, (0, len(values) + 1), (max(low, 1e-6 * high), high), log_y=True,
                language=language)  # fmt: skip
    plot.axes("axis_rank", "axis_singular", x_count=6)
    plot.level(1.0, "orange", dash="dashed")
    plot.band(rank, _above(held["low"], plot), held["high"], "blue")
    plot.line(rank, _above(values, plot), "blue", width=2.2)
    plot.legend([Key("blue", "legend_median"), Key("blue", "legend_range", form="band"),
                 Key("orange", "legend_kept", dash="dashed")], x=20)  # fmt: skip
    return plot


def one_step_said(m: Measured, language: str) -> str:
    """Gain, radius and non-normality."""
    held = m["one_step"]
    if held is None:
        return say("traces.left_out_one_step", language)
    said = say(
        "traces.one_step_said", language, gain=number(_mean(held["gain"])),
        radius=number(held["spectral_radius"]), departure=number(held["non_normality"], 2),
    )  # fmt: skip
    if held["weight_radius"] is not None:
        said += say("traces.one_step_weights", language, radius=number(held["weight_radius"]),
                    peak=number(held["weight_peak"]))  # fmt: skip
    return said


def census(m: Measured, language: str | None = None) -> Plot | None:
    """Share of the units in each class."""
    shares = sorted(m["shares"].items(), key=lambda item: -item[1])
    plot = Plot(SMALL, 60 + 24 * max(len(shares), 3), (0, 1), (0, max(len(shares), 3)),
                language=language, margins=(150, 10, 44, 40))  # fmt: skip
    plot.ticks(5, 0)
    plot.say(250, plot.up.start + 32, "axis_share", anchor="middle")
    for i, (name, share) in enumerate(shares):
        y = plot.y[1] - 0.5 - i
        plot.bar_across(y, share, "blue" if name in WELL else "orange")
        at = float(plot.up(y)) + 4
        plot.say(144, at, f"class_{name}", anchor="end", colour="ink")
        plot.text(float(plot.across(share)) + 5, at, percent(share), colour="ink")
    return plot


WELL = ("ordinary", "always_on")


def usage(m: Measured, place: str, language: str | None = None) -> Plot | None:
    """The density of pre-activations over φ and φ'."""
    held = m["usage"][place]
    edges, density = curve(held["edges"]), curve(held["density"])
    value, slope = curve(held["value"]), curve(held["slope"])
    centres = (edges[1:] + edges[:-1]) / 2
    low, high = _padded(*span([value, slope], at_least=[0.0]))
    plot = Plot(SMALL, 240, (float(edges[0]), float(edges[-1])), (low, high), language=language)
    plot.axes("axis_preactivation", "axis_phi", x_count=6)
    largest = np.nanmax(density, initial=0.0)
    if largest > 0:
        shade = low + density / largest * 0.92 * (high - low)
        plot.band(centres, np.full(len(centres), low), shade, "ink")
    plot.level(0.0, "faint")
    plot.line(centres, slope, "orange", dash="dashed")
    plot.line(centres, value, "blue", width=2.2)
    plot.legend(
        [
            Key("blue", name=f"φ = {held['name'][:16]}"),
            Key("orange", name="φ′", dash="dashed"),
            Key("ink", "legend_density", form="band"),
        ],
        x=20,
    )
    return plot


def usage_said(m: Measured, place: str, language: str) -> str:
    """Shares per zone, linearity and rms slope."""
    held = m["usage"][place]
    zones = held["zones"]
    return say(
        "traces.usage_said", language,
        flat=percent(real(zones["flat_low"]) + real(zones["flat_high"])),
        steep=percent(zones["steep"]), linear=number(_mean(held["linearity"]), 2),
        slope=number(held["rms_slope"]),
    )  # fmt: skip


def gate_times(m: Measured, language: str | None = None) -> Plot | None:
    """Time scale of every unit, against the length of the sequences."""
    if m["gates"] is None:
        return None
    scale, length = np.sort(curve(m["gates"]["time_scale"])), real(m["gates"]["length"])
    kept = np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)
    low, high = span([kept], log=True, at_least=[length])
    rank = np.arange(1, len(scale) + 1, dtype=float)
    plot = Plot(SMALL, 240, (0, len(scale) + 1), (low, high), log_y=True, language=language)
    plot.axes("axis_sorted", "axis_time_scale", x_count=6)
    plot.level(length, "orange", dash="dashed")
    plot.dots(rank, np.where(np.isinf(scale), high, kept), "blue", size=2.6)
    plot.legend([Key("blue", "legend_unit"), Key("orange", "legend_length", dash="dashed")], x=20)
    return plot


def gate_times_said(m: Measured, language: str) -> str:
    """The median time scale."""
    if m["gates"] is None:
        return ""
    scale = curve(m["gates"]["time_scale"])
    longer = float(np.mean(scale >= real(m["gates"]["length"])))
    return say("traces.gate_times_said", language, median=steps(np.median(scale)),
               share=percent(longer), length=steps(m["gates"]["length"]))  # fmt: skip


def gate_sides(m: Measured, language: str | None = None) -> Plot | None:
    """Every unit's gates: share of steps shut against share of steps open."""
    if m["gates"] is None:
        return None
    plot = Plot(SMALL, 240, (-0.04, 1.04), (-0.04, 1.04), language=language)
    plot.axes("axis_closed", "axis_open", percent=True, x_count=5)
    keys = []
    names = list(m["gates"]["open"])
    for name, colour in zip(names, ("blue", "orange", "green"), strict=False):
        closed, opened = curve(m["gates"]["closed"][name]), curve(m["gates"]["open"][name])
        plot.dots(closed, opened, colour, size={"blue": 3.4, "orange": 2.6, "green": 1.8}[colour])
        keys.append(Key(colour, name=name, form="block"))
    plot.legend(keys, x=20)
    return plot


def gate_sides_said(m: Measured, language: str) -> str:
    """Mean shares of steps shut and open, a gate."""
    if m["gates"] is None:
        return ""
    parts = [
        say("traces.gate_sides_item", language, gate=name,
            closed=percent(_mean(m["gates"]["closed"][name])), open=percent(_mean(opened)))
        for name, opened in m["gates"]["open"].items()
    ]  # fmt: skip
    return say(
        "traces.gate_sides_said", language, gates=say("traces.semicolon", language).join(parts)
    )


def forecast(m: Measured, language: str | None = None) -> Plot | None:
    """The backward signal as another activation would carry it; a forecast."""
    others = {name: curve(found["total"]) for name, found in m["counterfactual"].items()}
    own = curve(m["signal"]["total"])
    if not others or not (own > 0).any():
        return None
    plot = _timed(m, _decades([own, *others.values()]), 220, language, log_y=True)
    plot.axes("axis_time", "axis_signal")
    plot.legend(_overlaid(plot, moments(m), own, others, m["activation"]))
    return plot


def forecast_reach(m: Measured, language: str | None = None) -> Plot | None:
    """Transport with another activation; a forecast."""
    others = {name: curve(found["rho"]) for name, found in m["counterfactual"].items()}
    own = curve(m["transport"]["rho"])
    if not others or not (own > 0).any():
        return None
    low, high = span([own, *others.values()], log=True)
    plot = Plot(WIDE, 220, (0, max(1, len(own) - 1)), (max(low, _FLOOR * high), high), log_y=True,
                language=language, margins=(70, 26, 14, 40))  # fmt: skip
    plot.axes("axis_lag", "axis_rho")
    plot.level(real(m["transport"]["epsilon"]), "faint", dash="dotted")
    lags = np.arange(len(own), dtype=float)
    above = {name: _above(rho, plot) for name, rho in others.items()}
    plot.legend(_overlaid(plot, lags, _above(own, plot), above, m["activation"]))
    return plot


def forecast_said(m: Measured, language: str) -> str:
    """The horizons side by side."""
    if not m["counterfactual"]:
        return ""
    own = say("traces.forecast_item", language, phi=m["activation"],
              horizon=steps(m["transport"]["horizon"]["value"]))  # fmt: skip
    parts = [
        say("traces.forecast_item", language, phi=name, horizon=steps(found["horizon"]))
        for name, found in m["counterfactual"].items()
    ]
    return say("traces.forecast_said", language, own=own,
               others=say("traces.comma", language).join(parts))  # fmt: skip


def _overlaid(
    plot: Plot, x: Curve, own: Curve, others: Mapping[str, Curve], name: str
) -> list[Key]:
    keys = [Key("blue", name=name[:24])]
    for (other, values), (colour, dash) in zip(others.items(), _LINES[1:], strict=False):
        plot.line(x, values, colour, dash=dash)
        keys.append(Key(colour, name=other[:24], dash=dash))
    plot.line(x, own, "blue", width=2.4)
    return keys


def _usage_at(place: str) -> Panel:
    return Panel(
        lambda m, language=None: usage(m, place, language),
        lambda m, language: usage_said(m, place, language),
    )


def _nothing(m: Measured, language: str) -> str:
    return ""


PANELS: dict[str, Panel] = {
    "signal": Panel(signal, signal_said, timed=True),
    "split": Panel(split, split_said, timed=True),
    "paths": Panel(paths, paths_said, timed=True),
    "budget": Panel(budget, budget_said, timed=True),
    "barcode": Panel(barcode, census_said, timed=True),
    "lag_map": Panel(lag_map, lag_map_said, timed=True),
    "state": Panel(state, state_said, timed=True),
    "noise": Panel(noise, noise_said, timed=True),
    "forecast": Panel(forecast, forecast_said, timed=True),
    "forecast_reach": Panel(forecast_reach, _nothing),
    "transport": Panel(transport, transport_said),
    "cumulative": Panel(cumulative, budget_said),
    "census": Panel(census, census_said),
    "gate_times": Panel(gate_times, gate_times_said),
    "gate_sides": Panel(gate_sides, gate_sides_said),
    "one_step": Panel(one_step, one_step_said),
    "lyapunov": Panel(lyapunov, lyapunov_said),
}


def _history(m: Measured, *names: str) -> list[Curve]:
    """The curves of every look of a training run, so that all share their axes."""
    return [curve(frame[name]) for frame in m.get("frames", ()) for name in names]


def classes(shares: Mapping[str, Any], language: str) -> str:
    """Shares of units by class in words, the largest first."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return say("traces.comma", language).join(
        f"{percent(share)} {say(f'traces.class_{name}', language)}" for name, share in ordered
    )


def _decades(curves: Sequence[Curve]) -> tuple[float, float]:
    return span(curves, log=True)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _clear(values: Curve) -> Curve:
    return np.where(np.isfinite(values), values, np.nan)


def _above(values: Curve, plot: Plot) -> Curve:
    """The values that the plot has room for; what lies under it is not drawn."""
    return np.where(values >= plot.y[0], values, np.nan)


def _mean(values: Any) -> float:
    held = curve(values)
    kept = held[np.isfinite(held)]
    return float(kept.mean()) if len(kept) else float("nan")
