"""What flows back: signal, split, paths, budget, lag map, and how far sequences agree."""

from __future__ import annotations

import numpy as np

from throughtime.language import say
from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import curve, factor, matrix, number, percent
from throughtime.report.gradients.panels.base import (
    LINES,
    SMALL,
    Measured,
    average,
    clear,
    history,
    longest,
    moments,
    padded,
    timed,
)


def signal(m: Measured, language: str | None = None) -> Plot | None:
    """Rms‖g_t‖ with its spread, rms‖e_t‖, and where sequences get exactly nothing."""
    held = {name: curve(m["signal"][name]) for name in _SIGNAL}
    shown = [held[n] for n in ("total", "injected")] + history(m, "total", "injected")
    plot = timed(m, span(shown, log=True), 220, language, log_y=True)
    plot.axes("axis_time", "axis_signal")
    t = moments(m)
    plot.band(t, held["total_low"], held["total_high"], "accent", name="spread")
    dotted = int((held["injected"] > 0).sum()) <= 60 and not m.get("frames")
    if dotted:
        plot.dots(t, held["injected"], "warn", size=3.5, name="injected")
    else:
        plot.line(t, held["injected"], "warn", dash="points", width=2.4, name="injected")
    plot.line(t, held["total"], "accent", width=2.2, name="total")
    low = plot.up.start
    plot.cells(held["total_zero"][None], "warn", top=low - 5, bottom=low, name="zero")
    plot.legend(
        [
            Key("accent", "legend_total"),
            Key("accent", "legend_spread", form="band"),
            Key("warn", "legend_injected", form="dot" if dotted else "line", dash="points"),
            Key("warn", "legend_zero", form="block"),
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
    curves = [*held.values(), *history(m, "slope", "weights", "gain")]
    low, high = span([clear(c) for c in curves], at_least=[0.0])
    plot = timed(m, padded(low, high), 190, language)
    plot.axes("axis_time", "axis_gain")
    plot.level(0.0, "faint")
    t = moments(m)
    plot.line(t, held["total"], "ink", name="gain")
    plot.line(t, held["slope"], "warn", dash="dashed", name="slope")
    plot.line(t, held["weights"], "green", dash="mixed", name="weights")
    gated = "_gated" if m["kind"] != "elman" else ""
    plot.legend(
        [
            Key("warn", f"legend_slope{gated}", dash="dashed"),
            Key("green", "legend_weights", dash="mixed"),
            Key("ink", f"legend_gain{gated}"),
        ]
    )
    return plot


def split_said(m: Measured, language: str) -> str:
    """Mean factors a step, and who makes the gradient smaller."""
    slope, weights, total = (average(m["split"][n]) for n in ("slope", "weights", "total"))
    if not np.isfinite(total):
        return say("traces.split_none", language)
    who = "slope" if slope < weights else "weights"
    if min(slope, weights) > np.log(0.99):
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
    before = [curve(v) for frame in m.get("frames", ()) for v in frame["paths"].values()]
    low, high = span([clear(v) for v in (*held.values(), *before)], at_least=[0.0, 1.0])
    plot = timed(m, padded(max(low, -2), min(high, 3)), 180, language)
    plot.axes("axis_time", "axis_paths", percent=True)
    keys = []
    for (name, values), (colour, dash) in zip(held.items(), LINES, strict=False):
        plot.line(moments(m), values, colour, dash=dash, name=f"path_{name}")
        keys.append(Key(colour, f"path_{name}", dash=dash))
    plot.legend(keys)
    return plot


def paths_said(m: Measured, language: str) -> str:
    """Mean share of the carry path."""
    carry = average(m["split"]["paths"].get("carry", []))
    return say("traces.paths_said", language, share=percent(carry)) if np.isfinite(carry) else ""


def budget(m: Measured, language: str | None = None) -> Plot | None:
    """Share of every time step in the gradient of W_hh."""
    share = curve(m["budget"]["share"])
    if not np.isfinite(share).any():
        return None
    low, high = span([share, *history(m, "share")], at_least=[0.0])
    plot = timed(m, padded(low, high), 170, language, keyed=False)
    plot.axes("axis_time", "axis_budget", percent=True)
    plot.bars(moments(m), share, "accent", name="share")
    plot.level(0.0, "faint")
    return plot


def budget_said(m: Measured, language: str) -> str:
    """The last steps that make 90 % of the update; whether steps cancel."""
    held = m["budget"]
    if not np.isfinite(curve(held["share"])).any():
        return say("traces.budget_none", language)
    last, whole = held["last_steps"], longest(m)
    said = say("traces.budget_said", language, last=min(last, whole), steps=whole)
    return said + say("traces.budget_cancels", language, share=percent(held["cancellation"]))


def cumulative(m: Measured, language: str | None = None) -> Plot | None:
    """The part of the update that the last k steps make."""
    share = curve(m["budget"]["by_lag"])
    if not np.isfinite(share).any():
        return None
    whole = np.cumsum(np.nan_to_num(share))
    low, high = span([whole, *history(m, "cumulative")], at_least=[0.0, 1.1])
    plot = Plot(
        SMALL, 240, (1, max(2, len(whole))), (max(low, -1), min(high, 3)), language=language
    )
    plot.axes("axis_last", "axis_cumulative", percent=True, x_count=6)
    plot.level(0.9, "faint", dash="dotted")
    plot.upright(float(min(m["budget"]["last_steps"], len(whole))), "warn", name="last_steps")
    plot.line(np.arange(1, len(whole) + 1, dtype=float), whole, "accent", width=2.2,
              name="cumulative")  # fmt: skip
    plot.legend([Key("accent", "legend_cumulative"), Key("warn", "legend_ninety", dash="dashed")],
                x=20)  # fmt: skip
    return plot


def lag_map(m: Measured, language: str | None = None) -> Plot | None:
    """What each of some steps sends back to each earlier one, six decades of shades."""
    held = m["lag_map"]
    if held is None or not held["steps"]:
        return None
    norm = matrix(held["norm"])
    largest = np.nanmax(norm, initial=0.0)
    if not 0 < largest < np.inf:
        return None
    plot = timed(m, (0, len(norm)), 66 + max(60, 22 * len(norm)), language)
    plot.axes("axis_time", "axis_lag_rows", y_count=0)
    with np.errstate(divide="ignore"):
        shade = 1 + np.log10(norm / largest) / 6
    plot.cells(shade, "accent", gap=3)
    for row, step in enumerate(held["steps"]):
        y = float(plot.up(len(norm) - row - 0.5))
        x = float(plot.across(float(step)))
        plot.put('<path d="M{x:.1f},{y:.1f}v14" stroke="{c}" stroke-width="2.5"/>',
                 x=x, y=y - 7, c=plot.colour("warn"))  # fmt: skip
        plot.text(64, y + 3.5, str(step), anchor="end", size=10.5)
    plot.legend([Key("accent", "legend_lag", form="block"), Key("warn", "legend_lag_from")])
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


def noise(m: Measured, language: str | None = None) -> Plot | None:
    """How far the sequences of the batch agree about the gradient of a step."""
    held = curve(m["signal_to_noise"])
    if not (np.isfinite(held) & (held > 0)).any():
        return None
    y = span([held, *history(m, "noise")], log=True)
    plot = timed(m, y, 150, language, log_y=True, keyed=False)
    plot.axes("axis_time", "axis_noise", y_count=3)
    plot.line(moments(m), held, "accent", name="noise")
    return plot


def noise_said(m: Measured, language: str) -> str:
    """Share of δ that is exactly 0 or lost to the precision."""
    lost = m["underflow"]
    return say("traces.noise_said", language, zero=percent(lost["zero"], 1),
               subnormal=percent(lost["subnormal"], 1))  # fmt: skip
