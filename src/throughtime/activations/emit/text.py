"""From an expression to a formula in this package's own words, which ``parse`` reads back."""

from __future__ import annotations

from sympy.printing.str import StrPrinter

from throughtime.activations.primitives import Expr, x


def emit(expression: Expr) -> str:
    """The formula as text, every digit of its numbers kept.

    Example:
        >>> from throughtime.activations.primitives import maximum, x
        >>> emit(maximum(x, 0))
        'where(x <= 0, 0, x)'
    """
    return _Printer().doprint(expression)


class _Printer(StrPrinter):
    def _print_Abs(self, expr):
        return f"abs({self._print(expr.args[0])})"

    def _print_Float(self, expr):
        return repr(float(expr))

    def _print_Exp1(self, expr):  # pyright: ignore[reportIncompatibleMethodOverride]
        return "exp(1)"

    def _print_Piecewise(self, expr):
        *some, (last, _) = expr.args
        text = self._print(last)
        for value, condition in reversed(some):
            if condition.rhs == x:
                condition = condition.reversed
            test = f"{self._print(condition.lhs)} {condition.rel_op} {self._print(condition.rhs)}"
            text = f"where({test}, {self._print(value)}, {text})"
        return text
