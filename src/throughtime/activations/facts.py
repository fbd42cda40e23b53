"""What follows from a formula: range, slope, zones, symmetry, and how gradients fare under it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from throughtime.activations.pieces import Function, Stretch, crossings, stretches
from throughtime.activations.quadrature import gaussian_mean
from throughtime.errors import ActivationError

if TYPE_CHECKING:
    from throughtime.activations.formula import Activation

_HIGHEST_ORDER = 6
_SATURATED = 0.01
_DECADES = 30


@dataclass(frozen=True)
class Range:
    """The smallest interval with all values.

    Attributes:
        low, high: its ends.
        low_attained, high_attained: whether the end itself is a value (a closed end).

    Example:
        >>> str(Range(-1.0, math.inf, True, False))
        '[−1, ∞)'
    """

    low: float
    high: float
    low_attained: bool
    high_attained: bool

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def __str__(self) -> str:
        left, right = "(["[self.low_attained], ")]"[self.high_attained]
        return f"{left}{_end(self.low)}, {_end(self.high)}{right}"


@dataclass(frozen=True)
class Zone:
    """A stretch of input through which little or no gradient passes.

    Attributes:
        kind: ``"dead"`` (φ' is exactly 0) or ``"saturated"`` (φ' tends to 0 outwards, and is below
            1% of its largest size from the finite end on).
        low, high: its ends.
    """

    kind: Literal["dead", "saturated"]
    low: float
    high: float


@dataclass(frozen=True)
class Facts:
    """What follows from a formula at its parameters' defaults; nothing here is typed in.

    Attributes:
        range: the values φ takes.
        mean: E[φ(z)] for z ~ N(0, 1).
        steepest: sup |φ'|, where φ' exists.
        lipschitz: the Lipschitz constant: ``steepest``, or infinite where φ jumps.
        zones: dead and saturated zones from left to right.
        monotone: ``"increasing"`` (nowhere falling), ``"decreasing"`` or None.
        smoothness: how many derivatives are continuous: inf (smooth), 0 (kinks), -1 (jumps).
        kinks: points where φ or φ' jumps.
        odd: φ(-x) = -φ(x).
        homogeneous: φ(c x) = c φ(x) for every c > 0.
        value_at_zero, slope_at_zero: φ(0), φ'(0).
        critical_gain: the recurrent gain g with g² E[φ'(z)²] = 1 for z ~ N(0, 1); infinite where φ'
            is 0 everywhere.

    Example:
        >>> from throughtime import activation
        >>> facts = activation("tanh").facts
        >>> str(facts.range), facts.zero_mean, round(facts.critical_gain, 4)
        ('(−1, 1)', True, 1.4674)
        >>> round(facts.mean_squared_slope(0.5), 3)
        0.717
    """

    range: Range
    mean: float
    steepest: float
    lipschitz: float
    zones: tuple[Zone, ...]
    monotone: Literal["increasing", "decreasing"] | None
    smoothness: float
    kinks: tuple[float, ...]
    odd: bool
    homogeneous: bool
    value_at_zero: float
    slope_at_zero: float
    critical_gain: float
    _slope: Function = field(repr=False, compare=False)
    _bends: tuple[float, ...] = field(repr=False, compare=False)

    @property
    def zero_mean(self) -> bool:
        """Whether outputs for N(0, 1) inputs average to 0."""
        return abs(self.mean) < 1e-9

    def mean_squared_slope(self, s: float = 1.0) -> float:
        """E[φ'(z)²] for z ~ N(0, s²): the factor of the squared gradient per step at gain 1.

        Args:
            s: standard deviation of the pre-activation, at least 0.

        Raises:
            ActivationError: ``s`` is negative or not finite.
        """
        if not 0 <= s < math.inf:
            raise ActivationError("activations.deviation", value=s)
        if s == 0:
            return self.slope_at_zero**2
        return gaussian_mean(lambda z: self._slope(z) ** 2, s, self._bends)

    def critical_gain_at(self, s: float) -> float:
        """The recurrent gain g with g² E[φ'(z)²] = 1 for z ~ N(0, s²)."""
        passed = self.mean_squared_slope(s)
        return 1 / math.sqrt(passed) if passed > 0 else math.inf


def derive(phi: Activation) -> Facts:
    """The facts of an activation, from its expression and on grids in float64."""
    parts = stretches(phi)
    bends = tuple(p.low for p in parts[1:])
    steepest = max(map(_steepest, parts))
    orders = [_continuous_order(left, right) for left, right in pairwise(parts)]
    slope: Function = phi.derivative
    passed = gaussian_mean(lambda z: slope(z) ** 2, 1.0, bends)
    return Facts(
        range=_range(phi, parts),
        mean=gaussian_mean(phi, 1.0, bends),
        steepest=steepest,
        lipschitz=math.inf if -1 in orders else steepest,
        zones=_zones(parts, steepest),
        monotone=_monotone(parts, steepest),
        smoothness=float(min(orders, default=math.inf)),
        kinks=tuple(b for b, order in zip(bends, orders, strict=True) if order < 1),
        odd=_same(-phi(_PROBES), phi(-_PROBES)),
        homogeneous=all(_same(c * phi(_PROBES), phi(c * _PROBES)) for c in (1e-3, 0.3, 7.0, 1e3)),
        value_at_zero=phi(0.0) + 0.0,
        slope_at_zero=phi.derivative(0.0) + 0.0,
        critical_gain=1 / math.sqrt(passed) if passed > 0 else math.inf,
        _slope=slope,
        _bends=bends,
    )


_PROBES = np.concatenate([s * np.logspace(-3, 3, 61) for s in (-1.0, 1.0)])


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-10, atol=1e-14))


def _continuous_order(left: Stretch, right: Stretch) -> float:
    """The highest derivative in which two neighbours meet; -1 at a jump."""
    pairs = zip(left.limits(left.high), right.limits(right.low), strict=False)
    for order, (a, b) in enumerate(islice(pairs, _HIGHEST_ORDER + 1)):
        if not abs(a - b) <= 1e-8 * (1 + abs(a) + abs(b)):
            return order - 1
    return math.inf


def _range(phi: Activation, parts: tuple[Stretch, ...]) -> Range:
    taken: list[float] = []
    approached: list[float] = []
    for part in parts:
        if part.is_constant:
            taken += part.value(np.zeros(1)).tolist()
            continue
        for b in part.ends:
            approached.append(next(part.limits(b)))
            taken.append(phi(b))
        taken += part.value(np.array(_turns(part))).tolist()
        for side in (-math.inf, math.inf):
            if side in (part.low, part.high):
                approached += _tail(part.value, math.copysign(1, side))
    everything = np.array(taken + approached)
    usual = phi(np.linspace(-1.0, 1.0, 21))
    size = np.abs(np.append(everything[np.isfinite(everything)], usual)).max()
    low, high = (_unless_rounding(v, size) for v in (everything.min(), everything.max()))
    near = lambda v, end: abs(v - end) <= 1e-12 * max(1, abs(end))  # noqa: E731
    return Range(
        low,
        high,
        math.isfinite(low) and any(near(v, low) for v in taken),
        math.isfinite(high) and any(near(v, high) for v in taken),
    )


def _unless_rounding(value: float, size: float) -> float:
    """0 for what is 0 but for rounding beside numbers of this size."""
    return float(value) if abs(value) > 1e-13 * size else 0.0


def _turns(part: Stretch) -> list[float]:
    """Where φ' changes its sign, by more than rounding could."""
    grid = part.grid()
    found = part.slope(grid)
    size = np.nanmax(np.abs(found[np.isfinite(found)]), initial=0.0)
    certain = np.isfinite(found) & (np.abs(found) > 1e-12 * size)
    grid, found = grid[certain], found[certain]
    changes = np.flatnonzero(np.sign(found[:-1]) != np.sign(found[1:]))
    return crossings(part.slope, grid[changes], grid[changes + 1])


def _tail(function: Function, side: float) -> list[float]:
    """Limits towards ``side`` infinity: one, or the ends of what an oscillation covers."""
    decades = np.arange(_DECADES + 1)
    values = function(side * 10.0**decades)
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        if np.isinf(values[first]):
            return [float(values[first])]
        values = values[:first]
    if len(values) < 10:
        return [float(v) for v in values[-1:]]
    last = np.diff(values[-9:])
    size = 1 + abs(values[-1])
    if np.abs(last).max() <= 1e-12 * size:
        return [float(values[-1])]
    if (last > 0).all() or (last < 0).all():
        shrinking = np.abs(last[1:] / last[:-1])
        if shrinking.max() > 0.95:
            return [math.copysign(math.inf, last[-1])]
        ratio = last[-1] / last[-2]
        return [float(values[-1] + last[-1] * ratio / (1 - ratio))]
    spread = 1 + np.random.default_rng(0).random((len(values), 256)) * 9
    cloud = function(side * spread * 10.0 ** decades[: len(values), None])
    highest, lowest = cloud.max(axis=1), cloud.min(axis=1)
    ends = []
    for most, sign in ((highest, 1.0), (lowest, -1.0)):
        grows = sign * most[-1] > 100 * (1 + abs(most[2]))
        ends.append(sign * math.inf if grows else float(np.max(sign * most[:6]) * sign))
    return ends


def _steepest(part: Stretch) -> float:
    candidates = [abs(next(islice(part.limits(b), 1, None))) for b in part.ends]
    for side in (-math.inf, math.inf):
        if side in (part.low, part.high):
            candidates += [abs(v) for v in _tail(part.slope, math.copysign(1, side))]
    grid = part.grid()
    size = np.abs(part.slope(grid))
    size = np.where(np.isfinite(size), size, 0)
    peaks = np.flatnonzero((size[1:-1] >= size[:-2]) & (size[1:-1] > size[2:])) + 1
    if len(peaks):
        candidates.append(_highest(part.slope, grid[peaks - 1], grid[peaks + 1]))
    return max([*candidates, float(size.max(initial=0.0))])


def _highest(slope: Function, low: np.ndarray, high: np.ndarray) -> float:
    """The largest |slope| of intervals that hold one peak each, by ternary search."""
    for _ in range(60):
        third = (high - low) / 3
        rising = np.abs(slope(low + third)) < np.abs(slope(high - third))
        low, high = np.where(rising, low + third, low), np.where(rising, high, high - third)
    return float(np.abs(slope((low + high) / 2)).max())


def _zones(parts: tuple[Stretch, ...], steepest: float) -> tuple[Zone, ...]:
    zones: list[Zone] = []
    for part in parts:
        if part.is_constant:
            if zones and zones[-1].kind == "dead" and zones[-1].high == part.low:
                zones[-1] = Zone("dead", zones[-1].low, part.high)
            else:
                zones.append(Zone("dead", part.low, part.high))
            continue
        if math.isinf(part.low) and (start := _saturated_from(part, steepest, -1.0)):
            zones.append(Zone("saturated", -math.inf, start[0]))
        if math.isinf(part.high) and (start := _saturated_from(part, steepest, 1.0)):
            zones.append(Zone("saturated", start[0], math.inf))
    return tuple(zones)


def _saturated_from(part: Stretch, steepest: float, side: float) -> tuple[float] | None:
    """The innermost point from which |φ'| stays below 1% of its largest size, if it tends to 0."""
    tail = _tail(part.slope, side)
    if not math.isfinite(steepest) or len(tail) != 1 or abs(tail[0]) > 1e-6 * steepest:
        return None
    grid = part.grid()
    outwards = grid if side > 0 else grid[::-1]
    passing = np.flatnonzero(np.abs(part.slope(outwards)) >= _SATURATED * steepest)
    if len(passing) == 0:
        return (float(outwards[0]),)
    if passing[-1] == len(outwards) - 1:
        return None
    inner, outer = outwards[passing[-1]], outwards[passing[-1] + 1]
    above = lambda z: np.abs(part.slope(z)) - _SATURATED * steepest  # noqa: E731
    return (crossings(above, np.array([inner]), np.array([outer]))[0],)


def _monotone(
    parts: tuple[Stretch, ...], steepest: float
) -> Literal["increasing", "decreasing"] | None:
    rises = falls = False
    noise = 1e-9 * (steepest if math.isfinite(steepest) else 1.0)
    for part in parts:
        found = part.slope(part.grid())
        rises |= bool((found > noise).any())
        falls |= bool((found < -noise).any())
    for left, right in pairwise(parts):
        step = next(right.limits(right.low)) - next(left.limits(left.high))
        rises |= step > 1e-9
        falls |= step < -1e-9
    return None if rises == falls else "increasing" if rises else "decreasing"


def _end(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("-", "−")
