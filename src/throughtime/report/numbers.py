"""Figures as a reader sees them: as many decimals as the smallest difference deserves."""

from __future__ import annotations

import math

from throughtime.language import say
from throughtime.study.verdict import Interval, Judgement

NONE = "–"


def finite(value: float | None) -> float | None:
    """``value``, or ``None`` where there is no finite number."""
    return float(value) if value is not None and math.isfinite(value) else None


def decimals(judgement: Judgement) -> int:
    """Decimals that resolve a fifth of the smallest difference that matters (0 to 6)."""
    step = finite(judgement.smallest_difference) or 0.0
    if step <= 0:
        scores = [a.score for a in judgement.arms if finite(a.score) is not None]
        step = (max(scores) - min(scores)) / 10 if scores else 0.0
    if step <= 0:
        return 3
    return min(6, max(0, math.ceil(-math.log10(step / 5) - 1e-9)))


def number(value: float | None, digits: int) -> str:
    """``value`` with ``digits`` decimals and a true minus sign; a dash where there is none."""
    if finite(value) is None:
        return NONE
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """As :func:`number`, with a plus sign before what is above zero."""
    text = number(value, digits)
    positive = finite(value) is not None and float(text.replace("−", "-")) > 0
    return f"+{text}" if positive else text


def interval(bounds: Interval | None, digits: int, *, sign: bool = False) -> str:
    """``[low, high]``."""
    if bounds is None or finite(bounds.low) is None or finite(bounds.high) is None:
        return NONE
    form = signed if sign else number
    return f"[{form(bounds.low, digits)}, {form(bounds.high, digits)}]"


def percent(share: float | None, digits: int = 0) -> str:
    """A share as per cent."""
    value = finite(share)
    return NONE if value is None else f"{number(100 * value, digits)}%"


def shares(bounds: Interval | None) -> str:
    """``[low, high]`` as per cent."""
    if bounds is None or finite(bounds.low) is None or finite(bounds.high) is None:
        return NONE
    return f"[{percent(bounds.low)}, {percent(bounds.high)}]"


def p_value(p: float | None) -> str:
    """A p-value, never as 0."""
    value = finite(p)
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def milliseconds(seconds: float | None) -> str:
    """Seconds shown as milliseconds with three significant digits, without the unit."""
    value = finite(seconds)
    if value is None:
        return NONE
    value *= 1000
    return number(value, 0 if value <= 0 or value >= 100 else 2 - math.floor(math.log10(value)))


def count(value: float | None) -> str:
    """A whole number, its thousands set apart by thin spaces."""
    value = finite(value)
    return NONE if value is None else f"{round(value):,}".replace(",", "\u2009")


def duration(seconds: float | None, language: str | None = None) -> str:
    """A stretch of time in the two units that matter."""
    value = finite(seconds)
    if value is None:
        return NONE
    if value < 9.95:
        return say("report.seconds", language, seconds=f"{value:.1f}")
    minutes, rest = divmod(round(value), 60)
    if minutes == 0:
        return say("report.seconds", language, seconds=rest)
    hours, minutes_left = divmod(minutes, 60)
    if hours == 0:
        return say("report.minutes", language, minutes=minutes, seconds=rest)
    return say("report.hours", language, hours=hours, minutes=minutes_left)
