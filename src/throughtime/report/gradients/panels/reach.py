"""How far back a gradient reaches: transport, and the forecast with other activations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from throughtime.language import say
from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import Curve, curve, number, real, steps
from throughtime.report.gradients.panels.base import (
    FLOOR,
    LINES,
    SMALL,
    Measured,
    above,
    moments,
    timed,
    width,
)


def transport(m: Measured, language: str | None = None) -> Plot | None:
    """ρ(k) with the horizon and its interval."""
    held = m["transport"]
    rho, horizon = curve(held["rho"]), held["horizon"]
    epsilon = real(held["epsilon"])
    if not (rho > 0).any():
        return None
    low, high = span([rho], log=True, at_least=[epsilon / 10])
    plot = Plot(SMALL, 240, (0, max(1, len(rho) - 1)), (max(low, FLOOR * high), high), log_y=True,
                language=language)  # fmt: skip
    plot.axes("axis_lag", "axis_rho", x_count=6)
    ends = np.array([real(horizon["low"]), real(horizon["high"])])
    if np.isfinite(ends).all():
        plot.band(ends, np.full(2, plot.y[0]), np.full(2, plot.y[1]), "warn")
    plot.level(epsilon, "faint", dash="dotted")
    plot.upright(real(horizon["value"]), "warn")
    lags = np.arange(len(rho), dtype=float)
    keys = [Key("accent", name="ρ(k)"), Key("warn", "legend_horizon", dash="dashed")]
    if held["rho_cell"] is not None:
        plot.line(lags, above(curve(held["rho_cell"]), plot), "purple", dash="mixed")
        keys.insert(1, Key("purple", "legend_cell", dash="mixed"))
    if m.get("lag"):
        plot.upright(float(m["lag"]), "green", dash="mixed")
        keys.append(Key("green", "legend_needed", dash="mixed"))
    plot.line(lags, above(rho, plot), "accent", width=2.2)
    plot.legend(keys, x=20)
    return plot


def transport_said(m: Measured, language: str) -> str:
    """The horizon and the half-life."""
    held = m["transport"]
    fields = {f"{name}": steps(held["horizon"][name]) for name in ("value", "low", "high")}
    name = "transport_all" if held["censored"] else "transport_said"
    return say(f"traces.{name}", language, epsilon=number(held["epsilon"]),
               half=steps(held["half_life"]["value"]), **fields)  # fmt: skip


def forecast(m: Measured, language: str | None = None) -> Plot | None:
    """The backward signal as another activation would carry it; a forecast."""
    others = {name: curve(found["total"]) for name, found in m["counterfactual"].items()}
    own = curve(m["sample"]["total"])
    if not others or not (own > 0).any():
        return None
    plot = timed(m, span([own, *others.values()], log=True), 220, language, log_y=True)
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
    plot = Plot(width(m), 220, (0, max(1, len(own) - 1)), (max(low, FLOOR * high), high),
                log_y=True, language=language, margins=(70, 26, 14, 40))  # fmt: skip
    plot.axes("axis_lag", "axis_rho")
    plot.level(real(m["transport"]["epsilon"]), "faint", dash="dotted")
    lags = np.arange(len(own), dtype=float)
    drawn = {name: above(rho, plot) for name, rho in others.items()}
    plot.legend(_overlaid(plot, lags, above(own, plot), drawn, m["activation"]))
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
    keys = [Key("accent", name=name[:24])]
    for (other, values), (colour, dash) in zip(others.items(), LINES[1:], strict=False):
        plot.line(x, values, colour, dash=dash)
        keys.append(Key(colour, name=other[:24], dash=dash))
    plot.line(x, own, "accent", width=2.4)
    return keys
