"""Passes over a record that read every number once, where tensor operations would make many.

Plain loops, compiled by Numba when they are first called and kept on disk. Arrays have time first,
then sequences, then a block (of the gates, say), then units. Sums are taken in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray

# sums in any order, so that they go through vector registers; what is no number stays so
_FAST = {"reassoc", "contract", "nsz"}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at the first call: Numba is imported by those alone who measure something."""

    @cache
    def machine_code() -> Callable[..., Any]:
        from numba import njit

        options = {"nogil": True, "error_model": "numpy", "fastmath": _FAST}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in
            return njit(**options)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return call


def blocks(tensor: Tensor, count: int = 1) -> Array:
    """A (T, B, count·H) or (T, B, count, H) tensor as an array (T, B, count, H)."""
    return steps(tensor).reshape(*tensor.shape[:2], count, -1)


def rows(tensor: Tensor) -> Array:
    """A tensor as the array of its rows along the last axis."""
    return steps(tensor).reshape(-1, tensor.shape[-1])


def steps(tensor: Tensor) -> Array:
    """A tensor as an array, as it is or on the CPU, in one piece."""
    return tensor.detach().contiguous().numpy(force=True)


@_compiled
def norms(x):
    """‖·‖ of each row of x (N, H), also where its square would vanish or overflow."""
    N, H = x.shape
    found = np.empty(N)
    for i in range(N):
        square = 0.0
        for j in range(H):
            v = np.float64(x[i, j])
            square += v * v
        found[i] = np.sqrt(square)
        if not 1e-280 < square < 1e300:
            largest = 0.0
            for j in range(H):
                largest = max(largest, abs(np.float64(x[i, j])))
            if 0 < largest < np.inf and square == square:
                square = 0.0
                for j in range(H):
                    v = x[i, j] / largest
                    square += v * v
                found[i] = np.sqrt(square) * largest
    return found


@_compiled
def weighted_squares(x, weights):
    """Σ_j x_ij² w_j of each row of x (N, H)."""
    N, H = x.shape
    found = np.empty(N)
    for i in range(N):
        square = 0.0
        for j in range(H):
            v = np.float64(x[i, j])
            square += v * v * weights[j]
        found[i] = square
    return found


@_compiled
def lost(x, tiny):
    """Of each row of x (N, H) how many numbers are 0, and how many below ``tiny``, 0 included."""
    N, H = x.shape
    found = np.empty((2, N))
    for i in range(N):
        zero = below = 0
        for j in range(H):
            zero += x[i, j] == 0
            below += abs(x[i, j]) < tiny
        found[0, i], found[1, i] = zero, below
    return found


@_compiled
def spread(sizes):
    """Over each row (T, B) of sizes in ascending order, those that are no number last.

    Returns:
        (5, T): root mean square, 10 % and 90 % quantile, share of zeros, and how many numbers.
    """
    T, B = sizes.shape
    found = np.full((5, T), np.nan)
    for t in range(T):
        count, zero, square = 0, 0, 0.0
        for b in range(B):
            count += sizes[t, b] == sizes[t, b]
            zero += sizes[t, b] == 0
        found[4, t] = count
        if count == 0:
            continue
        largest = sizes[t, count - 1]
        unit = largest if 0 < largest < np.inf else 1.0
        for b in range(count):
            square += (sizes[t, b] / unit) ** 2
        found[0, t], found[3, t] = np.sqrt(square / count) * unit, zero / count
        for row, share in ((1, 0.1), (2, 0.9)):
            place = share * (count - 1)
            low, high = sizes[t, int(place)], sizes[t, int(np.ceil(place))]
            found[row, t] = low if low == high else low + (place - int(place)) * (high - low)
    return found


@_compiled
def along(parts, carried):
    """What the paths bring to each row, and each path's share of it.

    Args:
        parts: what comes through each gate, (N, T, B, H).
        carried: what goes on without a gate, (T, B, H).

    Returns:
        With s the sum of all, (4 + N, T, B): ‖s‖², ‖s - carried‖², ⟨s, s⟩, ⟨carried, s⟩ and
        ⟨part, s⟩ of each gate; the products in units of the largest |s| of their step.
    """
    N, T, B, H = parts.shape
    found = np.empty((4 + N, T, B))
    whole = np.empty((B, H))
    for t in range(T):
        largest = 0.0
        for b in range(B):
            whole[b] = 0.0
            for n in range(N):
                for j in range(H):
                    whole[b, j] += parts[n, t, b, j]
            size = rest = 0.0
            for j in range(H):
                s = whole[b, j] + carried[t, b, j]
                rest += whole[b, j] * whole[b, j]
                size += s * s
                largest = max(largest, abs(s))
                whole[b, j] = s
            found[0, t, b], found[1, t, b] = size, rest
        unit = 1 / largest if 1e-300 < largest < np.inf else 1.0  # squares of it must not vanish
        for b in range(B):
            itself = held = 0.0
            for j in range(H):
                s = whole[b, j] * unit
                itself += whole[b, j] * s
                held += carried[t, b, j] * s
            found[2, t, b], found[3, t, b] = itself, held
            for n in range(N):
                share = 0.0
                for j in range(H):
                    share += parts[n, t, b, j] * (whole[b, j] * unit)
                found[4 + n, t, b] = share
    return found


@_compiled
def on_and_off(slope, bound, delta, gate, lengths):
    """By unit: where its slope is above a bound, over the valid steps.

    Args:
        slope: (T, B, H).
        bound: what a slope must exceed to be on.
        delta: (T, B, G, H).
        gate: which block of ``delta``.
        lengths: valid steps of each sequence, (B,).

    Returns:
        (4, H): steps on; sequences in which it was on; those of them in which it came on once and
        was off at the end; Σ |δ|.
    """
    _, B, H = slope.shape
    found = np.zeros((4, H))
    for b in range(B):
        count, kept = np.zeros(H, slope.dtype), np.zeros(H, slope.dtype)
        last, size = np.zeros(H, slope.dtype), np.zeros(H, slope.dtype)
        for t in range(lengths[b]):
            for j in range(H):
                on = slope.dtype.type(abs(slope[t, b, j]) > bound)
                count[j] += on
                kept[j] += on * last[j]
                last[j] = on
                size[j] += abs(delta[t, b, gate, j])
        for j in range(H):
            found[3, j] += size[j]
            found[0, j] += count[j]
            if count[j] > 0:
                found[1, j] += 1
            if count[j] - kept[j] == 1 and last[j] == 0:
                found[2, j] += 1
    return found


@_compiled
def off_by_side(slope, bound, points, lengths):
    """By unit, (2, H): valid steps off with a < 0, and with a ≥ 0."""
    _, B, H = slope.shape
    found = np.zeros((2, H))
    for b in range(B):
        for t in range(lengths[b]):
            for j in range(H):
                off = 0.0 if abs(slope[t, b, j]) > bound else 1.0
                a = points[t, b, j]
                found[0, j] += off if a < 0 else 0.0
                found[1, j] += off if a >= 0 else 0.0
    return found


@_compiled
def on_by_step(slope, bound, lengths):
    """In how many sequences each unit is on at each step, (T, H)."""
    T, B, H = slope.shape
    found = np.zeros((T, H))
    for b in range(B):
        for t in range(lengths[b]):
            for j in range(H):
                found[t, j] += 1.0 if abs(slope[t, b, j]) > bound else 0.0
    return found


@_compiled
def agreement(x, lengths):
    """‖mean_n x_t‖² / mean_n ‖x_t - mean‖² over the sequences that still run, by step; (T,)."""
    T, B, H = x.shape
    found = np.empty(T)
    centre = np.empty(H)
    for t in range(T):
        running, largest = 0, 0.0
        for b in range(B):
            running += t < lengths[b]
            for j in range(H):
                largest = max(largest, abs(np.float64(x[t, b, j])))
        unit = 1 / largest if largest > 1e-300 else 1.0  # squares of it must not vanish
        centre[:] = 0.0
        for b in range(B):
            if t < lengths[b]:
                for j in range(H):
                    centre[j] += x[t, b, j] * unit
        size = spread = 0.0
        for j in range(H):
            centre[j] /= running
            size += centre[j] * centre[j]
        for b in range(B):
            if t < lengths[b]:
                for j in range(H):
                    apart = x[t, b, j] * unit - centre[j]
                    spread += apart * apart
        found[t] = size / (spread / running) if running > 1 else np.nan
    return found


@_compiled
def zones(points, slope, flat, steepest):
    """Counts of slopes (N, H) by zone, (5,).

    At most ``flat`` and the point below 0; at most ``flat``; at most a quarter of the steepest;
    above 0.9 of it; no number.
    """
    N, H = points.shape
    found = np.zeros(5)
    for i in range(N):
        for j in range(H):
            s = abs(slope[i, j])
            found[0] += s <= flat and points[i, j] < 0
            found[1] += s <= flat
            found[2] += s <= 0.25 * steepest
            found[3] += s > 0.9 * steepest
            found[4] += s != s
    return found


@_compiled
def histogram(points, low, high, bins):
    """How many of each unit's points (N, H) are in each of ``bins`` from low to high, (H, bins).

    What lies on an edge belongs to the bin above it, at ``high`` to the last.
    """
    N, H = points.shape
    found = np.zeros((H, bins), np.int64)
    scale = bins / (high - low)
    for i in range(N):
        for j in range(H):
            if low <= points[i, j] <= high:
                found[j, min(bins - 1, int((points[i, j] - low) * scale))] += 1
    return found


@_compiled
def correlation(x, y):
    """corr(x_j, y_j)² of each column of two (N, H) arrays; NaN where one of them does not vary."""
    N, H = x.shape
    mean, found = np.zeros((2, H)), np.zeros((3, H))
    for i in range(N):
        for j in range(H):
            mean[0, j] += x[i, j]
            mean[1, j] += y[i, j]
    mean /= N
    for i in range(N):
        for j in range(H):
            u, v = x[i, j] - mean[0, j], y[i, j] - mean[1, j]
            found[0, j] += u * u
            found[1, j] += v * v
            found[2, j] += u * v
    for j in range(H):
        below = found[0, j] * found[1, j]
        found[2, j] = found[2, j] * found[2, j] / below if below > 0 else np.nan
    return found[2]


@_compiled
def opened(value, lengths):
    """By unit, over valid steps: Σ of a gate's values, how many are < 0.1, > 0.9; (3, H)."""
    _, B, H = value.shape
    found = np.zeros((3, H))
    for b in range(B):
        for t in range(lengths[b]):
            for j in range(H):
                v = value[t, b, j]
                found[0, j] += v
                found[1, j] += 1.0 if v < 0.1 else 0.0
                found[2, j] += 1.0 if v > 0.9 else 0.0
    return found
