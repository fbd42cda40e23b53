"""A formula taken apart where it bends: on each stretch one smooth expression."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import sympy
from sympy.core.relational import Relational

from throughtime.activations.calculus import slope
from throughtime.activations.emit import numpy as numpy_emitter
from throughtime.activations.primitives import Expr, x

if TYPE_CHECKING:
    from throughtime.activations.formula import Activation

Function = Callable[[np.ndarray], np.ndarray]

_GRID = np.unique(
    np.concatenate(
        [np.linspace(-60, 60, 4801), *(s * np.logspace(-9, 8, 1701) for s in (-1.0, 1.0)), [0.0]]
    )
)
_NEAR, _VAST = sympy.Rational(1, 10**40), 1e9
_MOST_BENDS = 41
_HOLDS: dict[str, Callable] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Stretch:
    """An interval on which the formula is one expression without choice, |·| or sign.

    Attributes:
        low, high: its ends, infinite at the outside.
        expression: the formula there, at the parameters' defaults.
    """

    low: float
    high: float
    expression: Expr

    @cached_property
    def value(self) -> Function:
        """The formula as a function of arrays."""
        return numpy_emitter.emit(self.expression, [])

    @cached_property
    def slope(self) -> Function:
        """Its derivative."""
        return numpy_emitter.emit(self._slope, [])

    @cached_property
    def _slope(self) -> Expr:
        return slope(self.expression, x)

    @property
    def ends(self) -> tuple[float, ...]:
        """The finite ones."""
        return tuple(b for b in (self.low, self.high) if math.isfinite(b))

    @property
    def is_constant(self) -> bool:
        """Whether the formula is exactly level here."""
        return self._slope == 0

    def grid(self) -> np.ndarray:
        """Points of the open interval, dense at its finite ends and around 0."""
        points = np.concatenate([_GRID, *(_GRID + b for b in self.ends)])
        if len(self.ends) == 2:
            points = np.concatenate([points, np.linspace(self.low, self.high, 401)])
        return np.unique(points[(points > self.low) & (points < self.high)])

    def limits(self, end: float) -> Iterator[float]:
        """One-sided limits at a finite end: of the formula, its slope, and so on."""
        e, at = self.expression, sympy.Rational(end)
        inside = at + _NEAR * (1 if end == self.low else -1)
        while True:
            value = e.evalf(30, subs={x: at})
            if not value.is_Float and not value.is_Integer:
                value = e.evalf(400, subs={x: inside})
            yield float(value) if value.is_real and abs(value) < _VAST else math.inf
            e = e.diff(x)


def stretches(phi: Activation) -> tuple[Stretch, ...]:
    """The stretches of an activation from left to right, at its parameters' defaults."""
    values = {sympy.Symbol(p.name, real=True): p.default for p in phi.parameters.values()}
    exact = {s: sympy.Rational(v) for s, v in values.items()}
    exact |= {f: sympy.Rational(str(f)) for f in phi.expression.atoms(sympy.Float)}
    e = phi.expression.xreplace(exact)
    bends = _bends(e)
    ends = [-math.inf, *bends, math.inf]
    found: list[Stretch] = []
    for low, high in pairwise(ends):
        piece = _resolved(e, _inside(low, high))
        piece = piece if _same_between(e, piece, low, high) else e
        if found and found[-1].expression == piece:
            found[-1] = Stretch(found[-1].low, high, piece)
        else:
            found.append(Stretch(low, high, piece))
    return tuple(found)


def _inside(low: float, high: float) -> Expr:
    if math.isinf(low) and math.isinf(high):
        return sympy.Rational(1, 3)
    if math.isinf(low):
        return sympy.Rational(high) - 1
    if math.isinf(high):
        return sympy.Rational(low) + 1
    return (sympy.Rational(low) + sympy.Rational(high)) / 2


def _bends(e: Expr) -> list[float]:
    switches = {r.lhs - r.rhs for r in e.atoms(Relational)}
    switches |= {u.args[0] for u in e.atoms(sympy.Abs, sympy.sign)}
    found = sorted({b for u in switches if u.has(x) for b in _bounded(_roots(u))})
    apart = []
    for b in found:
        if not apart or b - apart[-1] > 1e-9 * max(1.0, abs(b)):
            apart.append(b)
    return apart


def _bounded(roots: list[float]) -> list[float]:
    """Of an oscillation's, which has no end, those around 0."""
    return sorted(roots, key=abs)[:_MOST_BENDS]


def _same_between(e: Expr, piece: Expr, low: float, high: float) -> bool:
    """Whether no bend was missed: the piece is the formula all over its stretch."""
    if e == piece:
        return True
    at = Stretch(low, high, piece).grid()
    found, true = (numpy_emitter.emit(f, [])(at) for f in (piece, e))
    with np.errstate(all="ignore"):
        close = np.abs(found - true) <= 1e-9 * (1 + np.abs(true))
    return bool((close | ~np.isfinite(true)).all())


def _roots(u: Expr) -> list[float]:
    """Where ``u`` is 0 or changes its sign."""
    if u.is_polynomial(x):
        coefficients = [float(c) for c in sympy.Poly(u, x).all_coeffs()]
        roots = np.roots(coefficients)
        return [float(r.real) + 0.0 for r in roots if abs(r.imag) < 1e-9 * (1 + abs(r))]
    function = numpy_emitter.emit(u, [])
    values = function(_GRID)
    zeros = _GRID[values == 0]
    changes = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)
    return [*map(float, zeros), *crossings(function, _GRID[changes], _GRID[changes + 1])]


def crossings(function: Function, low: np.ndarray, high: np.ndarray) -> list[float]:
    """The zero in each interval at whose ends ``function`` differs in sign, by bisection."""
    left = np.sign(function(low))
    for _ in range(100):
        middle = (low + high) / 2
        same = np.sign(function(middle)) == left
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [float(m) for m in (low + high) / 2]


def _resolved(e: Expr, point: Expr) -> Expr:
    """The expression with every choice made as at ``point``."""
    if not e.has(sympy.Piecewise, sympy.Abs, sympy.sign):
        return e
    if isinstance(e, sympy.Piecewise):
        return _resolved(_chosen(e.args, point), point)
    if isinstance(e, sympy.Abs | sympy.sign):
        (u,) = e.args
        side = sympy.Integer(-1 if _at(u, point) < 0 else 1)
        return side if isinstance(e, sympy.sign) else side * _resolved(u, point)
    return e.func(*(_resolved(a, point) for a in e.args))


def _chosen(branches: Sequence[Expr], point: Expr) -> Expr:
    for value, condition in branches[:-1]:
        if _HOLDS[condition.rel_op](_at(condition.lhs, point), _at(condition.rhs, point)):
            return value
    return branches[-1][0]


def _at(u: Expr, point: Expr) -> float:
    return float(u.subs(x, point))
