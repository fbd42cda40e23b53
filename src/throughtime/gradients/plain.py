"""Measures as JSON: numbers, lists and names, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value as JSON holds it: dataclasses as objects, arrays as lists.

    What is not a number is null; an infinite number is the string ``"Infinity"`` or
    ``"-Infinity"``, which ``float`` and JavaScript's ``Number`` both read.

    Example:
        >>> plain({"rho": np.array([1.0, np.nan, np.inf])})
        {'rho': [1.0, None, 'Infinity']}
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f" or math.isfinite(value.sum()) or np.isfinite(value).all():
            return value.tolist()
        odd, held = ~np.isfinite(value), value.astype(object)
        held[odd] = [_odd(v) for v in value[odd].tolist()]
        return held.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _odd(value)
    if isinstance(value, (list, tuple)):
        named = all(isinstance(item, str) for item in value)
        return list(value) if named else [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, np.generic):
        return plain(value.item())
    return value


def _odd(value: float) -> str | None:
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
