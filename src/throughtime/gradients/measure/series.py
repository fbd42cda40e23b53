"""Small tools the measures share: masks, means over sequences, logarithms that keep quiet."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.record.record import Record

Array = np.ndarray


def numpy(tensor: Tensor) -> Array:
    """The tensor as float64 NumPy on the CPU, so that squares of small gradients do not vanish."""
    return tensor.double().numpy(force=True)


def steps_of(record: Record, sequence: Tensor, points: int | None = None) -> Tensor:
    """The valid steps of a (T, B, ·) tensor as rows; for about ``points`` numbers every so many."""
    rows = sequence.flatten(0, 1) if record.full else sequence[record.alive]
    return rows if points is None else rows[:: max(1, sequence.numel() // points)]


def squared_norms(tensor: Tensor) -> Array:
    """‖·‖² over the last axis in float64."""
    return passes.sizes(tensor) ** 2


def valid_steps(record: Record) -> Array:
    """The lengths as NumPy, (B,)."""
    return record.lengths.numpy(force=True)


def by_time(record: Record, per_step: Array) -> Array:
    """A (T, B) array in run order in the order of time, NaN on padding."""
    if record.full:
        return per_step[::-1] if record.reverse else per_step
    t, lengths = np.arange(len(per_step))[:, None], valid_steps(record)
    if record.reverse:
        per_step = np.take_along_axis(per_step, np.maximum(lengths - 1 - t, 0), axis=0)
    return np.where(t < lengths, per_step, np.nan)


def by_lag(record: Record, per_step: Array) -> Array:
    """A (T, B) array in run order by lag: row k holds k steps before the last one run.

    Of T + 1 rows the first is the initial state.
    """
    if record.full:
        return per_step[::-1]
    rows = len(per_step)
    lengths = valid_steps(record) + rows - len(record.run.states)
    source = lengths - 1 - np.arange(rows)[:, None]
    found = np.take_along_axis(per_step, np.maximum(source, 0), axis=0)
    return np.where(source >= 0, found, np.nan)


def mean(values: Array) -> Array:
    """Mean over sequences, NaN where there is none."""
    found, count = sums(values)
    return passes.ratio(found.ravel(), count.ravel()).reshape(found.shape)


def sums(values: Array) -> tuple[Array, Array]:
    """Sum over sequences of what is a number, and how many are."""
    rows = np.ascontiguousarray(values, float).reshape(-1, values.shape[-1])
    found, count = passes.sums(rows).reshape(2, *values.shape[:-1])
    return found, count


def spread(values: Array) -> Array:
    """Of a (T, B) array over sequences, (5, T): see :func:`.passes.spread`."""
    return passes.spread(np.sort(values, axis=-1))


def log(values: Array) -> Array:
    """Natural logarithm; -inf for 0 without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values)


def slope_of(values: Array) -> float:
    """Slope per index of the least-squares line through the finite values; NaN for fewer than 2."""
    index = np.flatnonzero(np.isfinite(values))
    if len(index) < 2:
        return float("nan")
    lag = index - index.mean()
    return float(lag @ values[index] / (lag @ lag))
