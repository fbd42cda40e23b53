"""Passes over a record that read every number once, where tensor operations would make many.

Plain loops, compiled by Numba when they are first called and kept on disk. Arrays have time first,
then sequences, then a block (of the gates, say), then units. Sums are taken in double precision
unless a pass says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

# sums in any order, so that they go through vector registers; what is no number stays so
_FAST = {"reassoc", "contract", "nsz"}


def _compiled(function: Callable[..., Any], brief: bool = False) -> Callable[..., Any]:
    """Compiled at the first call: Numba is imported by those alone who measure something.

    Python's lock is let go meanwhile, but by a pass so brief that another thread would hardly be
    awake before it is wanted back.
    """

    @cache
    def machine_code() -> Callable[..., Any]:
        from numba import njit

        options = {"nogil": not brief, "error_model": "numpy", "fastmath": _FAST}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in
            return njit(**options)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return call


_brief = partial(_compiled, brief=True)


def blocks(tensor: Tensor, count: int = 1) -> Array:
    """A (T, B, count·H) or (T, B, count, H) tensor as an array (T, B, count, H)."""
    return steps(tensor).reshape(*tensor.shape[:2], count, -1)


def rows(tensor: Tensor) -> Array:
    """A tensor as the array of its rows along the last axis."""
    return steps(tensor).reshape(-1, tensor.shape[-1])


def flat(tensor: Tensor) -> Array:
    """A tensor as an array with one row for each entry of the first axis."""
    return steps(tensor).reshape(len(tensor), math.prod(tensor.shape[1:]))


def steps(tensor: Tensor) -> Array:
    """A tensor as an array, as it is or on the CPU, in one piece."""
    return tensor.contiguous().numpy(force=True)


def sizes(tensor: Tensor) -> Array:
    """‖·‖ over the last axis in float64, also where its square would vanish."""
    return norms(rows(tensor)).reshape(tensor.shape[:-1])


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
        if x.itemsize == 8 and not 1e-280 < square < 1e300:
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


@_brief
def sums(x):
    """Of each row of x (N, B) the sum of what is a number, and how many are; (2, N)."""
    N, B = x.shape
    found = np.zeros((2, N))
    for i in range(N):
        for b in range(B):
            there = x[i, b] == x[i, b]
            found[0, i] += x[i, b] if there else 0.0
            found[1, i] += there
    return found


@_compiled
def overlaps(x, y):
    """‖Σ_b x_b y_bᵀ‖_F of each step of x (T, B, N) and y (T, B, H).

    The products of two rows are summed in their own precision.
    """
    (T, B, N), H = x.shape, y.shape[2]
    found = np.empty(T)
    for t in range(T):
        square = 0.0
        for b in range(B):
            for c in range(b + 1):
                of_x, of_y = x.dtype.type(0), y.dtype.type(0)
                for j in range(N):
                    of_x += x[t, b, j] * x[t, c, j]
                for j in range(H):
                    of_y += y[t, b, j] * y[t, c, j]
                square += of_x * of_y * (1 + (c < b))
        found[t] = np.sqrt(max(square, 0.0))
    return found


@_brief
def normalised(x):
    """Divide each row of x (N, H) by its norm, in place, and return the norms; zeros stay zeros."""
    N, H = x.shape
    found = np.empty(N)
    for i in range(N):
        largest, square = 0.0, 0.0
        if x.itemsize == 8:  # squares must not vanish
            for j in range(H):
                largest = max(largest, abs(x[i, j]))
        unit = 1 / largest if largest > 0 else 1.0
        for j in range(H):
            part = np.float64(x[i, j]) * unit
            square += part * part
        size = np.sqrt(square)
        found[i] = size / unit
        scale = unit / size if size > 0 else 0.0
        for j in range(H):
            x[i, j] *= scale
    return found


@_brief
def gains(before, middle, after, rest):
    """½ ln of after/before, middle/before and rest/middle, no number where below is 0; (3, T)."""
    T = len(before)
    found = np.empty((3, T))
    for t in range(T):
        found[0, t] = 0.5 * np.log(after[t] / before[t]) if before[t] > 0 else np.nan
        found[1, t] = 0.5 * np.log(middle[t] / before[t]) if before[t] > 0 else np.nan
        found[2, t] = 0.5 * np.log(rest[t] / middle[t]) if middle[t] > 0 else np.nan
    return found


@_brief
def ratio(above, below):
    """The quotients of two arrays (N,); no number where ``below`` is not above 0."""
    found = np.empty(len(below))
    for i in range(len(below)):
        found[i] = above[i] / below[i] if below[i] > 0 else np.nan
    return found


@_compiled
def dots(x, y):
    """The products of the rows of x and y (N, H), each with its own."""
    N, H = x.shape
    found = np.empty(N)
    for i in range(N):
        product = 0.0
        for j in range(H):
            product += np.float64(x[i, j]) * y[i, j]
        found[i] = product
    return found


@_compiled
def apart(x, y):
    """‖x_i‖ and ‖x_i - y_i‖ of the rows of x and y (N, H); (2, N)."""
    N, H = x.shape
    found = np.empty((2, N))
    for i in range(N):
        size = rest = 0.0
        for j in range(H):
            v = np.float64(x[i, j])
            size += v * v
            rest += (v - y[i, j]) ** 2
        found[0, i], found[1, i] = np.sqrt(size), np.sqrt(rest)
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


@_brief
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


def resampled(sizes: Array, times: Array, epsilon: float) -> Array:
    """How the root mean square of sizes falls with the lag, by resample of the sequences.

    Args:
        sizes: not negative, (K, B) by lag; no number where a sequence has none.
        times: how often each sequence is in each resample, (B, R).
        epsilon: what counts as arriving.

    Returns:
        (2, R): slope of the least-squares line through its logarithm, over the lags at which it is
        neither 0 nor infinite, no number for fewer than two of them; and the largest lag at which
        it is epsilon or more, 0 for none.
    """
    units, squares, reach = _mean_squares(sizes, times, epsilon)
    heights = torch.from_numpy(squares).log_().numpy()  # faster than a compiled loop's
    return np.stack([_slopes(heights, 2 * np.log(units)) / 2, reach])


@_compiled
def _mean_squares(sizes, times, epsilon):
    """The mean squares of :func:`resampled`, and how far back their roots are epsilon or more.

    Returns:
        The largest finite size at each lag, or 1, (K,); the mean squares in units of its square,
        (K, R), no number where they are 0 or infinite; the lags, (R,).
    """
    (K, B), R = sizes.shape, times.shape[1]
    units, found, reach = np.ones(K), np.empty((K, R)), np.zeros(R)
    count, endless = np.empty(R), np.empty(R)
    for k in range(K):
        unit, missing = 0.0, False
        for b in range(B):
            if sizes[k, b] < np.inf:
                unit = max(unit, sizes[k, b])
            else:
                missing = True
        units[k] = unit = unit if unit > 0 else 1.0
        square = found[k]
        square[:], count[:], endless[:] = 0.0, B, 0.0
        for b in range(B):
            size = sizes[k, b]
            part = (size / unit) ** 2 if size < np.inf else 0.0
            for r in range(R):
                square[r] += times[b, r] * part
            if missing:
                absent, infinite = size != size, size == np.inf
                for r in range(R):
                    count[r] -= times[b, r] * absent
                    endless[r] += times[b, r] * infinite
        least = (epsilon / unit) ** 2
        for r in range(R):
            if endless[r] > 0 or square[r] >= least * count[r] > 0:
                reach[r] = k
            there = square[r] > 0 and endless[r] == 0
            square[r] = square[r] / count[r] if there else np.nan
    return units, found, reach


@_brief
def _slopes(heights, offsets):
    """Slopes per row of the least-squares lines through the columns of heights (K, R); (R,).

    Over what is a number, no number for fewer than two of them; ``offsets`` (K,) are added.
    """
    K, R = heights.shape
    sums, found = np.zeros((5, R)), np.empty(R)
    for k in range(K):
        lag, offset = k - 0.5 * (K - 1), offsets[k]
        for r in range(R):
            there = heights[k, r] == heights[k, r]
            height, one = heights[k, r] + offset if there else 0.0, 1.0 if there else 0.0
            sums[0, r] += one
            sums[1, r] += one * lag
            sums[2, r] += one * lag * lag
            sums[3, r] += height
            sums[4, r] += lag * height
    for r in range(R):
        middle = sums[1, r] / max(sums[0, r], 1.0)
        width = sums[2, r] - middle * sums[1, r]
        moment = sums[4, r] - middle * sums[3, r]
        found[r] = moment / width if width > 0 else np.nan
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
        was off at the end; Σ |δ|. Those of one sequence are summed in the slopes' precision.
    """
    T, B, H = slope.shape
    found, zeros = np.zeros((4, H)), np.zeros((4, B, H), slope.dtype)
    count, kept, last, size = zeros[0], zeros[1], zeros[2], zeros[3]
    for t in range(T):
        for b in range(B):
            if t < lengths[b]:
                for j in range(H):
                    on = slope.dtype.type(abs(slope[t, b, j]) > bound)
                    count[b, j] += on
                    kept[b, j] += on * last[b, j]
                    last[b, j] = on
                    size[b, j] += abs(delta[t, b, gate, j])
    for b in range(B):
        for j in range(H):
            found[0, j] += count[b, j]
            found[1, j] += count[b, j] > 0
            found[2, j] += count[b, j] - kept[b, j] == 1 and last[b, j] == 0
            found[3, j] += size[b, j]
    return found


@_brief
def first_class(on, was_on, latched, low, high, gradient, steps, sequences):
    """The class of each unit as its place in :data:`.census.CLASSES`, from the counts of each."""
    H = len(on)
    found = np.empty(H, np.int64)
    for j in range(H):
        if on[j] == 0:
            found[j] = 0
        elif gradient[j] == 0:
            found[j] = 1
        elif on[j] < 0.01 * steps:
            found[j] = 2
        elif latched[j] >= 0.95 * was_on[j]:
            found[j] = 3
        elif steps - on[j] >= 0.95 * steps:
            found[j] = 4 if low[j] >= high[j] else 5
        elif on[j] == steps:
            found[j] = 6
        else:
            found[j] = 7 if was_on[j] < sequences else 8
    return found


@_compiled
def off_by_side(slope, bound, points, lengths):
    """By unit, (2, H): valid steps off with a < 0, and with a ≥ 0."""
    T, B, H = slope.shape
    found = np.zeros((2, H))
    for t in range(T):
        for b in range(B):
            if t < lengths[b]:
                for j in range(H):
                    off = 0.0 if abs(slope[t, b, j]) > bound else 1.0
                    a = points[t, b, j]
                    found[0, j] += off if a < 0 else 0.0
                    found[1, j] += off if a >= 0 else 0.0
    return found


@_compiled
def on_by_step(slope, bound, lengths):
    """In which share of the sequences that still run each unit is on at each step, (T, H)."""
    T, B, H = slope.shape
    found = np.zeros((T, H))
    for t in range(T):
        running = 0
        for b in range(B):
            if t < lengths[b]:
                running += 1
                for j in range(H):
                    found[t, j] += 1.0 if abs(slope[t, b, j]) > bound else 0.0
        for j in range(H):
            found[t, j] = found[t, j] / running if running else np.nan
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
            if x.itemsize == 8:  # squares must not vanish
                for j in range(H):
                    largest = max(largest, abs(x[t, b, j]))
        unit = 1 / largest if largest > 1e-300 else 1.0
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
    """How many of each unit's points (N, H) lie in each of ``bins`` from low to high.

    What lies on an edge belongs to the bin above it, at ``high`` to the last.

    Returns:
        (H, bins + 2): the first column holds what lies below, the last what lies above.
    """
    N, H = points.shape
    found = np.zeros((H, bins + 2), np.int64)
    scale = bins / (high - low)
    for i in range(N):
        for j in range(H):
            x = np.float64(points[i, j])
            if low <= x <= high:
                found[j, 1 + min(bins - 1, int((x - low) * scale))] += 1
            elif x == x:
                found[j, 0 if x < low else bins + 1] += 1
    return found


@_compiled
def centred(x):
    """The rows of x (N, H) less their mean."""
    N, H = x.shape
    mean, found = np.zeros(H), np.empty_like(x)
    for i in range(N):
        for j in range(H):
            mean[j] += x[i, j]
    mean /= N
    for i in range(N):
        for j in range(H):
            found[i, j] = x[i, j] - mean[j]
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
    T, B, H = value.shape
    found = np.zeros((3, H))
    for t in range(T):
        for b in range(B):
            if t < lengths[b]:
                for j in range(H):
                    v = value[t, b, j]
                    found[0, j] += v
                    found[1, j] += 1.0 if v < 0.1 else 0.0
                    found[2, j] += 1.0 if v > 0.9 else 0.0
    return found
