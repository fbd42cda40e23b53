"""What the charts share: the axis of arms, the scales, the style."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import altair as alt

from throughtime.report import rows
from throughtime.report.palette import FOLLOWING, FONT, Palette
from throughtime.report.rows import Rows
from throughtime.study.result import StudyResult

_CROSS = "M-1,-1L1,1M-1,1L1,-1"


def arms(result: StudyResult, palette: Palette, shown: list[str] | None = None) -> alt.Y:
    """The axis of arms by rank, the recommended one in bold."""
    best = rows.chosen(result.judgement)
    chosen = {"field": "value", "equal": best.arm if best else ""}
    return alt.Y(
        "arm:N",
        sort=shown or rows.order(result),
        title=None,
        axis=alt.Axis(
            labelFontWeight={"condition": {"test": chosen, "value": "bold"}, "value": "normal"},  # type: ignore[arg-type]
            labelColor=palette.ink,
            labelFontSize=12,
            labelLimit=110,
            labelPadding=8,
            ticks=False,
            domain=False,
            grid=False,
        ),
    )


class Sheet:
    """A chart in the making: its layers name the rows they draw, the sheet holds them once."""

    def __init__(self) -> None:
        self.datasets: dict[str, Rows] = {}

    def chart(self, data: Rows, name: str | None = None) -> alt.Chart:
        """A layer on these rows; in the page its marks can be found by ``name``."""
        text = json.dumps(data, sort_keys=True)
        key = f"rows-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.datasets[key] = data
        layer = alt.Chart(alt.NamedData(name=key))
        return layer.properties(name=name) if name else layer

    def finish(
        self,
        layers: list[Any],
        palette: Palette,
        height: int,
        title: alt.TitleParams | None = None,
    ) -> alt.LayerChart:
        """The layers as one chart in the report's style; as wide as its place on the page."""
        chart = alt.LayerChart(layer=layers, datasets=self.datasets).properties(
            width="container" if palette is FOLLOWING else 520, height=max(height, 24)
        )
        if title is not None:
            chart = chart.properties(title=title)
        return (
            chart.configure(font=FONT, background="transparent", aria=False, padding=2)
            .configure_view(stroke=None)
            .configure_axis(
                labelColor=palette.muted,
                titleColor=palette.muted,
                titleFontWeight="normal",
                titleFontSize=11.5,
                titlePadding=8,
                labelFontSize=11,
                gridColor=palette.line,
                domainColor=palette.faint,
                tickColor=palette.faint,
                tickSize=4,
                labelOverlap=True,
            )
            .configure_axisY(domain=False, ticks=False)
        )


def diverged_shape() -> alt.Shape:
    """A cross for a run that diverged."""
    return alt.Shape(
        "diverged:N",
        scale=alt.Scale(domain=[False, True], range=["circle", _CROSS]),
        legend=None,
    )


def diverged_size() -> Any:
    """A larger mark for a run that diverged."""
    return alt.condition(alt.datum.diverged, alt.value(20), alt.value(18))


def whole(last: int) -> alt.Axis:
    """Ticks at round whole numbers, the first one included."""
    step = next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if 4 * s >= last), last)
    return alt.Axis(values=sorted({1, *range(step, last + 1, step)}), format="d", grid=False)


def domain(
    values: list[float | None], least: float, near: list[float | None] | None = None
) -> tuple[float, float]:
    """The range of the values, at least ``least`` wide, and baselines no farther than its width."""
    known = [v for v in values if v is not None] or [0.0, 1.0]
    low, high = min(known), max(known)
    least = max(least, abs(low) / 1000, abs(high) / 1000) or 1.0
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    width = high - low
    for v in near or []:
        if v is not None and low - width <= v <= high + width:
            low, high = min(low, v), max(high, v)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def usual_domain(data: Rows, step: str, field: str) -> list[float]:
    """The range of the curves after their first third; the first steps are far off."""
    start = max((r[step] for r in data), default=0) / 3
    values = [v for r in data if r[step] > start and (v := r[field]) is not None]
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    width = max(high - low, abs(high) / 1000) or 1.0
    return [low - 0.06 * width, high + 0.06 * width]
