"""The units: who is on when, their classes, the activation and the gates in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from throughtime.language import say
from throughtime.report.gradients.draw import Key, Plot, span
from throughtime.report.gradients.figures import curve, matrix, number, percent, real, steps
from throughtime.report.gradients.panels.base import SMALL, Measured, average, padded, timed


def barcode(m: Measured, language: str | None = None) -> Plot | None:
    """Unit by time: share of sequences in which a unit is on, units sorted by class."""
    on, classes = matrix(m["barcode"]["on"]), m["barcode"]["classes"]
    height = 66 + max(90, min(4 * len(classes), 240))
    plot = timed(m, (0, len(classes)), height, language)
    plot.axes("axis_time", "", y_count=0)
    plot.cells(on, "accent")
    for name in dict.fromkeys(classes):
        first, count = classes.index(name), classes.count(name)
        row = (plot.up.start - plot.up.stop) / len(classes)
        top = plot.up.stop + first * row
        if first:
            plot.put('<path d="M18,{y:.1f}H{end:.1f}" stroke="{c}" stroke-dasharray="2 2"/>',
                     y=top, end=plot.across.stop, c=plot.colour("warn"))  # fmt: skip
        if count * row >= 11:
            plot.say(64, top + count * row / 2 + 3.5, f"short_{name}", anchor="end", size=10)
    plot.legend([Key("accent", "legend_on", form="block")])
    return plot


def census(m: Measured, language: str | None = None) -> Plot | None:
    """Share of the units in each class."""
    before = {name: 0.0 for frame in m.get("frames", ()) for name in frame["classes"]}
    shares = sorted((before | m["shares"]).items(), key=lambda item: -item[1])
    plot = Plot(SMALL, 60 + 24 * max(len(shares), 3), (0, 1), (0, max(len(shares), 3)),
                language=language, margins=(150, 10, 44, 40))  # fmt: skip
    plot.ticks(5, 0, percent_x=True)
    plot.say(250, plot.up.start + 32, "axis_share", anchor="middle")
    for i, (name, share) in enumerate(shares):
        y = plot.y[1] - 0.5 - i
        plot.bar_across(y, share, "accent" if name in WELL else "warn", name=f"class_{name}")
        at = float(plot.up(y)) + 4
        plot.say(144, at, f"class_{name}", anchor="end", colour="ink")
        plot.text(float(plot.across(share)) + 5, at, percent(share), colour="ink",
                  name=f"class_{name}")  # fmt: skip
    return plot


def census_said(m: Measured, language: str) -> str:
    """Shares of the classes of units."""
    told = classes(m["shares"], language)
    return say("traces.census_said", language, classes=told, units=m["units"])


def barcode_said(m: Measured, language: str) -> str:
    """Shares of the classes of units, and how many of the units are drawn."""
    said, shown = census_said(m, language), len(m["barcode"]["units"])
    some = shown < m["units"]
    return said + (say("traces.barcode_some", language, shown=shown) if some else "")


def classes(shares: Mapping[str, Any], language: str) -> str:
    """Shares of units by class in words, the largest first."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return say("traces.comma", language).join(
        f"{percent(share)} {say(f'traces.class_{name}', language)}" for name, share in ordered
    )


WELL = ("ordinary", "always_on")


def usage(m: Measured, place: str, language: str | None = None) -> Plot | None:
    """The density of pre-activations over φ and φ'."""
    held = m["usage"][place]
    edges, density = curve(held["edges"]), curve(held["density"])
    value, slope = curve(held["value"]), curve(held["slope"])
    centres = (edges[1:] + edges[:-1]) / 2
    low, high = padded(*span([value, slope], at_least=[0.0]))
    plot = Plot(SMALL, 240, (float(edges[0]), float(edges[-1])), (low, high), language=language)
    plot.axes("axis_preactivation", "axis_phi", x_count=6)
    largest = np.nanmax(density, initial=0.0)
    if largest > 0:
        shade = low + density / largest * 0.92 * (high - low)
        plot.band(centres, np.full(len(centres), low), shade, "ink", name="density")
    plot.level(0.0, "faint")
    plot.line(centres, slope, "warn", dash="dashed")
    plot.line(centres, value, "accent", width=2.2)
    plot.legend(
        [
            Key("accent", name=f"φ = {held['name'][:16]}"),
            Key("warn", name="φ′", dash="dashed"),
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
        steep=percent(zones["steep"]), linear=number(average(held["linearity"]), 2),
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
    plot.level(length, "warn", dash="dashed")
    plot.dots(rank, np.where(np.isinf(scale), high, kept), "accent", size=2.6)
    plot.legend([Key("accent", "legend_unit", form="block"),
                 Key("warn", "legend_length", dash="dashed")], x=20)  # fmt: skip
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
    plot.axes("axis_closed", "axis_open", percent=True, percent_x=True, x_count=5)
    keys = []
    names = list(m["gates"]["open"])
    for name, colour in zip(names, ("accent", "warn", "green"), strict=False):
        closed, opened = curve(m["gates"]["closed"][name]), curve(m["gates"]["open"][name])
        plot.dots(closed, opened, colour, size={"accent": 3.4, "warn": 2.6, "green": 1.8}[colour])
        keys.append(Key(colour, name=name, form="block"))
    plot.legend(keys, x=20)
    return plot


def gate_sides_said(m: Measured, language: str) -> str:
    """Mean shares of steps shut and open, a gate."""
    if m["gates"] is None:
        return ""
    parts = [
        say("traces.gate_sides_item", language, gate=name,
            closed=percent(average(m["gates"]["closed"][name])), open=percent(average(opened)))
        for name, opened in m["gates"]["open"].items()
    ]  # fmt: skip
    return say(
        "traces.gate_sides_said", language, gates=say("traces.semicolon", language).join(parts)
    )
