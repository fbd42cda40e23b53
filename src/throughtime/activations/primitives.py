"""Functions that stay finite where their textbook form overflows, with their derivatives."""

from __future__ import annotations

import sympy
from sympy import Function
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom


class sigmoid(Function):
    """1 / (1 + exp(-x))."""

    def fdiff(self, argindex=1):
        """σ' = σ(x) σ(-x), which keeps its digits in both tails."""
        (x,) = self.args
        return sigmoid(x) * sigmoid(-x)


class softplus(Function):
    """log(1 + exp(x))."""

    def fdiff(self, argindex=1):
        """The logistic function."""
        return sigmoid(self.args[0])


class expm1(Function):
    """exp(x) - 1 without cancellation near 0."""

    def fdiff(self, argindex=1):
        """The exponential."""
        return sympy.exp(self.args[0])


class log1p(Function):
    """log(1 + x) without cancellation near 0."""

    def fdiff(self, argindex=1):
        """1 / (1 + x)."""
        return 1 / (1 + self.args[0])


def where(condition, yes, no):
    """``yes`` where the condition holds, else ``no``."""
    if not isinstance(condition, Relational | BooleanAtom):
        raise TypeError("where needs a comparison")
    return sympy.Piecewise((yes, condition), (no, True))


def maximum(a, b):
    """The larger one; at a tie the slope of ``b``, PyTorch's choice for max(x, 0)."""
    return where(a > b, a, b)


def minimum(a, b):
    """The smaller one; at a tie the slope of ``b``."""
    return where(a < b, a, b)


def log_sigmoid(x):
    """log(sigmoid(x))."""
    return -softplus(-x)


def clip(x, low, high):
    """X kept within [low, high]; outside and at the ends its slope is 0."""
    return where(x <= low, low, where(x >= high, high, x))


CALLABLE = {
    "abs": (1, sympy.Abs),
    "arctan": (1, sympy.atan),
    "asinh": (1, sympy.asinh),
    "atan": (1, sympy.atan),
    "clip": (3, clip),
    "cos": (1, sympy.cos),
    "cosh": (1, sympy.cosh),
    "erf": (1, sympy.erf),
    "exp": (1, sympy.exp),
    "expm1": (1, expm1),
    "log": (1, sympy.log),
    "log1p": (1, log1p),
    "log_sigmoid": (1, log_sigmoid),
    "max": (2, maximum),
    "min": (2, minimum),
    "relu": (1, lambda x: maximum(x, sympy.Integer(0))),
    "sigmoid": (1, sigmoid),
    "sign": (1, sympy.sign),
    "sin": (1, sympy.sin),
    "sinh": (1, sympy.sinh),
    "softplus": (1, softplus),
    "sqrt": (1, sympy.sqrt),
    "tanh": (1, sympy.tanh),
    "where": (3, where),
}


def stabilised(expression: sympy.Expr) -> sympy.Expr:
    """The same function with 1/(1+exp(u)), log(1+exp(u)) and exp(u)-1 in their stable form."""

    def one_plus_exp(e):
        if not (e.is_Add and len(e.args) == 2 and sympy.S.One in e.args):
            return None
        other = e.args[0] if e.args[1] == 1 else e.args[1]
        return other.args[0] if isinstance(other, sympy.exp) else None

    def is_logistic(e):
        return e.is_Pow and e.exp == -1 and one_plus_exp(e.base) is not None

    def is_softplus(e):
        return isinstance(e, sympy.log) and one_plus_exp(e.args[0]) is not None

    expression = expression.replace(is_logistic, lambda e: sigmoid(-one_plus_exp(e.base)))
    return expression.replace(is_softplus, lambda e: softplus(one_plus_exp(e.args[0])))
