"""From an expression to a function of tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import sympy
import torch
from sympy.printing.pycode import PythonCodePrinter
from torch import Tensor

_NAMES = {
    "Abs": "torch.abs",
    "sign": "torch.sign",
    "tanh": "torch.tanh",
    "erf": "torch.erf",
    "exp": "torch.exp",
    "log": "torch.log",
    "sin": "torch.sin",
    "cos": "torch.cos",
    "sinh": "torch.sinh",
    "cosh": "torch.cosh",
    "atan": "torch.atan",
    "asinh": "torch.asinh",
    "sigmoid": "torch.sigmoid",
    "softplus": "_softplus",
    "expm1": "torch.expm1",
    "log1p": "torch.log1p",
}


def emit(expression: sympy.Expr, symbols: Sequence[sympy.Symbol]) -> Callable[..., Tensor]:
    """A function ``f(x, *parameters)`` of tensors, differentiable by autograd as often as wanted.

    Each branch of a ``where`` is computed at a harmless point wherever it is not taken, so that
    its overflow reaches neither the value nor the gradient.
    """
    arguments = ", ".join(s.name for s in symbols)
    body = _Printer(symbols[0]).doprint(expression)
    if symbols[0] not in expression.free_symbols:
        body = f"({body}) * torch.ones_like({symbols[0].name})"
    scope = {"torch": torch, "_softplus": _softplus}
    exec(f"def function({arguments}):\n    return {body}", scope)
    return scope["function"]


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


class _Printer(PythonCodePrinter):
    def __init__(self, x: sympy.Symbol):
        super().__init__({"fully_qualified_modules": False, "allow_unknown_functions": True})
        self._x = x
        for name in _NAMES:
            setattr(self, f"_print_{name}", self._print_Function)

    def _print_Function(self, expr):
        (argument,) = expr.args
        text = self._print(argument)
        if not argument.has(self._x):
            text = f"torch.as_tensor({text})"
        return f"{_NAMES[type(expr).__name__]}({text})"

    def _print_Pow(self, expr, rational=False):
        base, power = expr.args
        if not expr.free_symbols:
            return repr(float(expr))
        if not base.has(self._x):
            return f"(({self._print(base)}) ** ({self._print(power)}))"
        if power == sympy.Rational(1, 2):
            return f"torch.sqrt({self._print(base)})"
        if power == sympy.Rational(-1, 2):
            return f"torch.rsqrt({self._print(base)})"
        if power == -1:
            return f"(1 / ({self._print(base)}))"
        return f"(({self._print(base)}) ** ({float(power) if not power.is_Integer else power}))"

    def _print_Rational(self, expr):
        return repr(float(expr))

    def _print_NumberSymbol(self, expr):
        return repr(float(expr))

    _print_Pi = _print_Exp1 = _print_NumberSymbol

    def _print_Piecewise(self, expr):
        x = self._x.name
        text = None
        for value, condition in reversed(expr.args):
            branch = self._print(value)
            if text is None:
                text = f"({branch})"
                continue
            test = self._print(condition)
            here = _guarded(branch, x, test, _harmless(self._x, value))
            rest = _guarded(text, x, f"~({test})", _harmless(self._x, *self._later(expr, value)))
            text = f"torch.where({test}, {here}, {rest})"
        return text

    @staticmethod
    def _later(expr, value):
        values = [v for v, _ in expr.args]
        return values[values.index(value) + 1 :]

    def _print_Relational(self, expr):
        left, right = self._print(expr.lhs), self._print(expr.rhs)
        if not expr.lhs.has(self._x) and not expr.rhs.has(self._x):
            left = f"({left} + 0 * {self._x.name})"
        return f"({left} {expr.rel_op} {right})"


def _guarded(branch: str, x: str, test: str, point: float) -> str:
    """The branch as a function of x, computed at ``point`` where the test fails."""
    if x not in re.findall(r"\w+", branch):
        return f"(({branch}) + torch.zeros_like({x}))"
    return f"(lambda {x}: {branch})(torch.where({test}, {x}, {point!r}))"


def _harmless(x: sympy.Symbol, *values: sympy.Expr) -> float:
    """A point where the branch and its slope are finite, whatever its parameters' usual values."""
    for point in (0.0, 1.0, -1.0, 0.5, -0.5):
        at = {s: sympy.Float(0.7) for v in values for s in v.free_symbols} | {x: sympy.Float(point)}
        if all(v.subs(at).is_finite and v.diff(x).subs(at).is_finite for v in values):
            return point
    return 0.0
