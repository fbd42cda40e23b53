"""Measures without the padding that no sequence reaches, so that charts over time are filled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from throughtime.report.gradients.figures import curve
from throughtime.report.gradients.panels.base import Measured, longest

_BY_LAG = ("lag", "cumulative")


def cropped(m: Measured, frames: Sequence[Mapping[str, Any]] = ()) -> Measured:
    """The measures of a record up to the end of its longest sequence, or of any look's.

    Args:
        m: what :func:`throughtime.gradients.measured.measured` gave for the record.
        frames: its looks over training, see :func:`throughtime.gradients.measured.looks`.

    Returns:
        The same measures with ``frames``; ``steps`` says where they end.
    """
    T = m["steps"]
    end = max([longest(m), *(_reached(frame, T) for frame in frames)])
    if end >= T:
        return {**m, "frames": list(frames)}
    parts = ("signal", "budget", "state", "signal_to_noise", "underflow", "sample")
    split = {**_cut(m["split"], end, T), "paths": _cut(m["split"]["paths"], end, T)}
    others = {
        name: {**found, "total": _cut(found["total"], end, T)}
        for name, found in m["counterfactual"].items()
    }
    return {
        **m,
        **{name: _cut(m[name], end, T) for name in parts},
        "steps": end,
        "split": split,
        "counterfactual": others,
        "barcode": {**m["barcode"], **_barcode(m["barcode"], end, T)},
        "lag_map": m["lag_map"]
        and {**m["lag_map"], "norm": [n[:end] for n in m["lag_map"]["norm"]]},
        "frames": [_frame(frame, end) for frame in frames],
    }


def _cut(values: Any, end: int, steps: int) -> Any:
    """A curve over ``steps``, or all such curves of an object, up to the end."""
    if isinstance(values, Mapping):
        return {name: _cut(v, end, steps) for name, v in values.items()}
    return values[:end] if isinstance(values, list) and len(values) == steps else values


def _barcode(held: Mapping[str, Any], end: int, steps: int) -> dict[str, Any]:
    on = held["on"]
    columns = math.ceil(len(on[0]) * end / steps) if on else 0
    return {"on": [row[:columns] for row in on], "share": held["share"][:end]}


def _reached(frame: Mapping[str, Any], steps: int) -> int:
    """The step at which the last sequence of a look ended, of ``steps`` in equal stretches."""
    known = np.flatnonzero(np.isfinite(curve(frame["total"])))
    return math.ceil((known[-1] + 1) * steps / len(frame["total"])) if len(known) else 0


def _frame(frame: Mapping[str, Any], end: int) -> dict[str, Any]:
    kept = sum(at < end for at in frame["time"])
    timed = {name: v for name, v in frame.items() if name not in _BY_LAG}
    return {**frame, **_cut(timed, kept, len(frame["time"]))}
