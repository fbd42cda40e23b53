"""The layer as a map: the size of its state, one step of it, and many."""

from __future__ import annotations

import numpy as np

from throughtime.language import say
from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import curve, number
from throughtime.report.gradients.panels.base import (
    SMALL,
    Measured,
    above,
    average,
    clear,
    moments,
    padded,
    timed,
)


def state(m: Measured, language: str | None = None) -> Plot | None:
    """Rms of the state over time."""
    held = curve(m["state"])
    if not (held > 0).any():
        return None
    plot = timed(m, span([held], log=True), 150, language, log_y=True, keyed=False)
    plot.axes("axis_time", "axis_state", y_count=3)
    plot.line(moments(m), held, "accent")
    return plot


def state_said(m: Measured, language: str) -> str:
    """Growth of the state and the dimensions it uses."""
    held = m["health"]
    return say(
        "traces.state_said", language, growth=number(held["growth"], 2),
        dimension=number(held["participation"]), principal=held["dimension"], units=held["units"],
    )  # fmt: skip


def lyapunov(m: Measured, language: str | None = None) -> Plot | None:
    """The Lyapunov spectrum, two standard errors about each exponent."""
    if m["lyapunov"] is None:
        return None
    found, error = curve(m["lyapunov"]["exponents"]), curve(m["lyapunov"]["error"])
    if not np.isfinite(found).any():
        return None
    start = {end: clear(curve(m["lyapunov"]["start"][end])) for end in ("low", "high")}
    rank = np.arange(1, len(found) + 1, dtype=float)
    shown = [clear(found - 2 * error), clear(found + 2 * error), clear(found), *start.values()]
    low, high = span(shown, at_least=[0.0])
    plot = Plot(SMALL, 240, (0, len(found) + 1), padded(low, high), language=language)
    plot.axes("axis_rank", "axis_exponent", x_count=6)
    plot.level(0.0, "warn", dash="dashed")
    plot.band(rank, start["low"], start["high"], "purple")
    plot.line(rank, (start["low"] + start["high"]) / 2, "purple", dash="dotted")
    plot.whiskers(rank, found - 2 * error, found + 2 * error, "muted")
    plot.dots(rank, clear(found), "accent", size=2.6 if len(found) < 80 else 1.4)
    plot.legend([Key("accent", "legend_now", form="block"),
                 Key("purple", "legend_start", dash="dotted")], x=20)  # fmt: skip
    return plot


def lyapunov_said(m: Measured, language: str) -> str:
    """The largest exponent and the dimension."""
    held = m["lyapunov"]
    if held is None:
        return say("traces.left_out_lyapunov", language)
    largest, error = curve(held["exponents"])[0], curve(held["error"])[0]
    low, high = (number(held["start"][end][0]) for end in ("low", "high"))
    said = say(
        "traces.lyapunov_said", language, largest=number(largest), error=number(2 * error, 2),
        dimension=number(held["dimension"]), low=low, high=high,
        networks=held["start"]["networks"],
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
    plot.level(1.0, "warn", dash="dashed")
    plot.band(rank, above(held["low"], plot), held["high"], "accent")
    plot.line(rank, above(values, plot), "accent", width=2.2)
    plot.legend([Key("accent", "legend_median"), Key("accent", "legend_range", form="band"),
                 Key("warn", "legend_kept", dash="dashed")], x=20)  # fmt: skip
    return plot


def one_step_said(m: Measured, language: str) -> str:
    """Gain, radius and non-normality."""
    held = m["one_step"]
    if held is None:
        return say("traces.left_out_one_step", language)
    said = say(
        "traces.one_step_said", language, gain=number(average(held["gain"])),
        radius=number(held["spectral_radius"]),
    )  # fmt: skip
    name = "commutator" if held["non_normality"] is None else "non_normality"
    said += say(f"traces.one_step_{name}", language, value=number(held[name], 2))
    if held["weight_radius"] is not None:
        said += say("traces.one_step_weights", language, radius=number(held["weight_radius"]))
    if held["weight_peak"] is not None:
        said += say("traces.one_step_peak", language, peak=number(held["weight_peak"]))
    return said
