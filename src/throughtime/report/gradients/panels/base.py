"""What the panels of a trace have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.report.gradients.draw import Plot
from throughtime.report.gradients.figures import Curve, curve, real

Measured = Mapping[str, Any]
Draw = Callable[[Measured, str | None], Plot | None]
Sentence = Callable[[Measured, str], str]
WIDE, SMALL = 900, 430
LINES = (("ink", "solid"), ("warn", "dashed"), ("green", "mixed"), ("purple", "dotted"),
          ("accent", "dashed"), ("ink", "dotted"))  # fmt: skip
FLOOR = 1e-9


@dataclass(frozen=True)
class Panel:
    """One kind of panel.

    Attributes:
        draw: its drawing.
        sentence: what it says in one sentence with its number; "" for none.
        timed: whether it runs over time, under one another with the others that do.
        followed: whether the history of a training run holds it, so that the page can draw it
            again for every look.
    """

    draw: Draw
    sentence: Sentence
    timed: bool = False
    followed: bool = False


def moments(m: Measured) -> Curve:
    """The time steps."""
    return np.arange(m["steps"], dtype=float)


def timed(
    m: Measured, y: tuple[float, float], height: float, language: str | None, *,
    log_y: bool = False, keyed: bool = True,
) -> Plot:  # fmt: skip
    """A plot over time, with room for a legend if it is to have one."""
    margins = (70, 26 if keyed else 8, 14, 40)
    return Plot(width(m), height if keyed else height - 18, (-0.5, m["steps"] - 0.5), y,
                log_y=log_y, language=language, time=True, margins=margins)  # fmt: skip


def width(m: Measured) -> int:
    """Of a drawing over the whole page; on a phone it is as narrow as the others."""
    return SMALL if m.get("narrow") else WIDE


def longest(m: Measured) -> int:
    """Steps of the longest sequence; padding may go beyond."""
    return int(real(m["lengths"][-1]))


def history(m: Measured, *names: str) -> list[Curve]:
    """The curves of every look of a training run, so that all share their axes."""
    return [curve(frame[name]) for frame in m.get("frames", ()) for name in names]


def padded(low: float, high: float) -> tuple[float, float]:
    """A linear range with some air about it."""
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def clear(values: Curve) -> Curve:
    """The finite values; NaN for the others."""
    return np.where(np.isfinite(values), values, np.nan)


def above(values: Curve, plot: Plot) -> Curve:
    """The values that the plot has room for; what lies under it is not drawn."""
    return np.where(values >= plot.y[0], values, np.nan)


def average(values: Any) -> float:
    """The mean of what is finite; NaN where nothing is."""
    held = curve(values)
    kept = held[np.isfinite(held)]
    return float(kept.mean()) if len(kept) else float("nan")
