"""From an expression to vector instructions: what the CPU kernels run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from throughtime.activations.emit import lane_maths as maths
from throughtime.activations.emit.lanes import Lanes
from throughtime.activations.emit.program import Operand, program
from throughtime.activations.primitives import Expr, sigmoid


class Emission:
    """Values of expressions as instructions appended where the given lanes live.

    Every branch of a ``where`` is computed and one is chosen, so an overflow in the other reaches
    nothing. What occurs twice, in one expression or in several, is computed once.

    Args:
        a: lanes of ``x``.
        parameters: lanes of every parameter.
    """

    def __init__(self, a: Lanes, parameters: Mapping[sympy.Symbol, Lanes]):
        self._a, self._symbols = a, dict(parameters)
        self._done: dict[tuple, Lanes] = {}

    def value(self, expression: Expr) -> Lanes:
        """The value of an expression.

        Raises:
            NotEmittable: it uses a function that is not written for vectors.
        """
        expression = _stable(expression)
        while wholes := expression.atoms(_Whole):
            inner = min(wholes, key=sympy.count_ops)
            symbol = sympy.Dummy(real=True)
            self._symbols[symbol] = self._step(type(inner).__name__, self.value(inner.args[0]))
            expression = expression.xreplace({inner: symbol})
        symbols = [s for s in self._symbols if expression.has(s)]
        steps = program([expression], symbols)
        known: dict[str, Lanes] = {"x": self._a}
        known |= {f"p{i}": self._symbols[s] for i, s in enumerate(symbols)}

        def operand(which: Operand) -> Lanes | float:
            return known[which] if isinstance(which, str) else which

        for step in steps.steps:
            known[step.name] = self._step(step.operation, *map(operand, step.arguments))
        return self._a.like(operand(steps.results[0]))

    def _step(self, operation: str, *arguments: Lanes | float) -> Any:
        key = (operation, *(a if isinstance(a, float) else id(a) for a in arguments))
        if key not in self._done:
            self._done[key] = _OPERATIONS[operation](*arguments)
        return self._done[key]


_Function: Any = sympy.Function


class _Whole(_Function):
    """A function that is kept in one piece, for it would lose digits in two."""

    nargs = 1


class _erfc(_Whole):
    """1 - erf(u)."""


class _half_one_plus_tanh(_Whole):
    """(1 + tanh(u)) / 2."""


class _sech2(_Whole):
    """1 - tanh²(u)."""


class _sigmoid_slope(_Whole):
    """σ(u) σ(-u)."""


def _stable(expression: Expr) -> Expr:
    """The same function with sums and products that lose digits in one piece."""
    expression = expression.replace(lambda e: e.is_Add, _without_cancellation)
    return expression.replace(lambda e: e.is_Mul, _one_product)


def _without_cancellation(total: Expr) -> Expr:
    """A sum with both c and ±c f(u) in it, as one function of u that keeps its digits near 0."""
    for term in total.args:
        scale, f = term.as_coeff_Mul()
        for constant in (scale, -scale):
            if constant not in total.args:
                continue
            one = _one_function(f, constant == scale)
            if one is not None:
                kept = [t for t in total.args if t not in (term, constant)]
                return sympy.Add(*kept, constant * one)
    return total


def _one_function(f: Expr, plus: bool) -> Expr | None:
    """1 + f or 1 - f in one piece, for the functions that tend to ±1."""
    sign: Expr = 1 if plus else -1
    if isinstance(f, sympy.erf):
        return _erfc(-sign * f.args[0])
    if isinstance(f, sympy.tanh):
        return 2 * _half_one_plus_tanh(sign * f.args[0])
    if f.is_Pow and f.exp == 2 and isinstance(f.base, sympy.tanh) and not plus:
        return _sech2(f.base.args[0])
    return None


def _one_product(product: Expr) -> Expr:
    """σ(u) σ(-u) as one function, and sin(u) cos(u) as sin(2u) / 2."""
    for f in product.args:
        u: Expr = f.args[0] if f.args else None
        if isinstance(f, sigmoid) and (other := sigmoid(-u)) in product.args:
            one = _sigmoid_slope(u)
        elif isinstance(f, sympy.sin) and (other := sympy.cos(u)) in product.args:
            one = sympy.sin(2 * u) / 2
        else:
            continue
        return sympy.Mul(*(g for g in product.args if g not in (f, other)), one)
    return product


def _compare(sign: str) -> Callable:
    return lambda a, b: a.compare(sign, b) if isinstance(a, Lanes) else b.compare(_TURNED[sign], a)


_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _where(mask: Any, yes: Lanes | float, no: Lanes | float) -> Any:
    if isinstance(yes, Lanes):
        return mask.where(yes, no)
    if isinstance(no, Lanes):
        return (~mask).where(no, yes)
    return mask.where(mask.number(yes), no)


_OPERATIONS: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "power": maths.power,
    "sqrt": Lanes.sqrt,
    "rsqrt": lambda a: 1 / a.sqrt(),
    "lt": _compare("<"),
    "le": _compare("<="),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "eq": _compare("=="),
    "ne": _compare("!="),
    "where": _where,
    "Abs": Lanes.abs,
    "asinh": maths.asinh,
    "atan": maths.atan,
    "cos": maths.cos,
    "cosh": maths.cosh,
    "erf": maths.erf,
    "exp": maths.exp,
    "expm1": maths.expm1,
    "log": maths.log,
    "log1p": maths.log1p,
    "sigmoid": maths.sigmoid,
    "sign": maths.sign,
    "sin": maths.sin,
    "sinh": maths.sinh,
    "softplus": maths.softplus,
    "tanh": maths.tanh,
    "_erfc": maths.erfc,
    "_half_one_plus_tanh": maths.half_one_plus_tanh,
    "_sech2": maths.sech2,
    "_sigmoid_slope": maths.sigmoid_slope,
}
