"""Figures of a trace as a reader sees them, from numbers that stood in JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Curve = np.ndarray
NONE = "–"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curve(values: Sequence[Any] | None) -> Curve:
    """A list out of JSON as an array; null is NaN, ``"Infinity"`` is infinite."""
    return np.array([real(v) for v in values or ()], dtype=float)


def matrix(rows: Sequence[Sequence[Any]]) -> Curve:
    """Lists of equal length out of JSON as a matrix."""
    return np.array([[real(v) for v in row] for row in rows], dtype=float)


def real(value: Any) -> float:
    """A number out of JSON."""
    return math.nan if value is None else float(value)


def number(value: Any, digits: int = 3) -> str:
    """A number in ``digits`` significant digits, whole where it is larger than they show.

    The script of the page has the same rules.
    """
    value = real(value)
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{float(mantissa):g}·10{str(int(exponent)).translate(_RAISED)}"
    else:
        text = f"{value:.0f}" if abs(value) >= 10**digits else f"{float(f'{value:.{digits}g}'):g}"
    return text.replace("-", "−") if text != "-0" else "0"


def power(value: float) -> str:
    """A power of ten; 1 and 10 as they are."""
    exponent = round(math.log10(value))
    return "1" if exponent == 0 else "10" if exponent == 1 else f"10{_raised(exponent)}"


def percent(share: Any, digits: int = 0) -> str:
    """A share as per cent; what is not 0 is never shown as 0."""
    share = real(share)
    if math.isnan(share):
        return NONE
    least = 10.0**-digits
    if 0 < 100 * share < least / 2:
        return f"<{least:g}%"
    return f"{100 * share:.{digits}f}%".replace("-", "−")


def steps(value: Any) -> str:
    """A number of steps, whole from 10 on."""
    value = real(value)
    return number(value, 2) if abs(value) < 10 or not math.isfinite(value) else f"{value:.0f}"


def factor(nats: Any) -> str:
    """A log-gain as the factor it is."""
    nats = real(nats)
    return number(math.exp(nats) if nats < 700 else math.inf, 3) if not math.isnan(nats) else NONE


def _raised(exponent: int) -> str:
    return str(exponent).translate(_RAISED)
