"""Sums and products that lose digits, kept in one piece for emitters that write their own maths."""

from __future__ import annotations

from typing import Any

import sympy

from throughtime.activations.primitives import Expr, sigmoid

_Function: Any = sympy.Function


class Whole(_Function):
    """A function that is kept in one piece, for it would lose digits in two."""

    nargs = 1


class erfc(Whole):
    """1 - erf(u)."""


class half_one_plus_tanh(Whole):
    """(1 + tanh(u)) / 2."""


class sech2(Whole):
    """1 - tanh²(u)."""


class sigmoid_slope(Whole):
    """σ(u) σ(-u)."""


def stable(expression: Expr) -> Expr:
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
        return erfc(-sign * f.args[0])
    if isinstance(f, sympy.tanh):
        return 2 * half_one_plus_tanh(sign * f.args[0])
    if f.is_Pow and f.exp == 2 and isinstance(f.base, sympy.tanh) and not plus:
        return sech2(f.base.args[0])
    return None


def _one_product(product: Expr) -> Expr:
    """σ(u) σ(-u) as one function, and sin(u) cos(u) as sin(2u) / 2."""
    for f in product.args:
        u: Expr = f.args[0] if f.args else None
        if isinstance(f, sigmoid) and (other := sigmoid(-u)) in product.args:
            one = sigmoid_slope(u)
        elif isinstance(f, sympy.sin) and (other := sympy.cos(u)) in product.args:
            one = sympy.sin(2 * u) / 2
        else:
            continue
        return sympy.Mul(*(g for g in product.args if g not in (f, other)), one)
    return product


WHOLE = tuple(kind.__name__ for kind in (erfc, half_one_plus_tanh, sech2, sigmoid_slope))
"""Their names, for :func:`.program.program`."""
