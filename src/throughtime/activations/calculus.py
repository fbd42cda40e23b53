"""Differentiation, with the result in a short and stable form."""

from __future__ import annotations

import sympy

from throughtime.activations.primitives import Expr, stabilised


def slope(expression: Expr, symbol: Expr) -> Expr:
    """The derivative; at kinks PyTorch's choice, and 0 for the jump of a sign.

    Example:
        >>> from throughtime.activations.primitives import x
        >>> slope(x / (1 + sympy.Abs(x)), x)
        (Abs(x) + 1)**(-2)
    """
    found = expression.diff(symbol).replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
    return stabilised(_shorter(found))


def _shorter(found: Expr) -> Expr:
    """u/(1 + |x|) - |x|/(1 + |x|)² and the like as one fraction: fewer steps, no cancellation."""
    found = found.replace(lambda e: e.is_Mul, _powers_joined)
    if any(p.exp.free_symbols for p in found.atoms(sympy.Pow)):
        found = found.replace(lambda e: e.is_Mul, sympy.powsimp)

    def merged(e: Expr) -> Expr:
        e = e.replace(lambda t: t.is_Mul, _signs_joined)
        if not e.is_Add or not any(p.exp.is_negative for p in e.atoms(sympy.Pow)):
            return e
        together: Expr = sympy.together(e)
        above, below = sympy.fraction(sympy.factor_terms(together))
        joined = sympy.expand(above) / below
        return joined if joined.count_ops() < e.count_ops() else e

    return found.replace(lambda e: e.is_Add, merged)


def _powers_joined(product: Expr) -> Expr:
    """(-u)^p / u as -(-u)^(p - 1), which is finite at 0."""
    for power in product.args:
        base, exponent = power.as_base_exp()
        if not exponent.is_Integer and 1 / -base in product.args:
            return product / power * base * base ** (exponent - 1)
    return product


def _signs_joined(product: Expr) -> Expr:
    """U sign(u) as |u|."""
    for factor in product.args:
        if isinstance(factor, sympy.sign) and factor.args[0] in product.args:
            return product / factor / factor.args[0] * sympy.Abs(factor.args[0])
    return product
