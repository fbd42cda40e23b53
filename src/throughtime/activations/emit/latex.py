"""From an expression to LaTeX."""

from __future__ import annotations

from sympy.printing.latex import LatexPrinter

from throughtime.activations.primitives import Expr


def emit(expression: Expr) -> str:
    r"""The expression for a paper.

    Example:
        >>> from throughtime.activations.primitives import sigmoid, x
        >>> emit(x * sigmoid(x))
        'x \\sigma\\left(x\\right)'
    """
    return _Printer({"ln_notation": False, "fold_func_brackets": False}).doprint(expression)


class _Printer(LatexPrinter):
    def _print_sigmoid(self, expr, exp=None):
        return self._called(r"\sigma", expr, exp)

    def _print_softplus(self, expr, exp=None):
        return self._called(r"\operatorname{softplus}", expr, exp)

    def _print_expm1(self, expr, exp=None):
        return self._raised(rf"\left(e^{{{self._print(expr.args[0])}}} - 1\right)", exp)

    def _print_log1p(self, expr, exp=None):
        return self._raised(rf"\log\left(1 + {self._print(expr.args[0])}\right)", exp)

    def _called(self, name: str, expr, exp) -> str:
        return self._raised(name, exp) + rf"\left({self._print(expr.args[0])}\right)"

    @staticmethod
    def _raised(text: str, exp) -> str:
        return f"{text}^{{{exp}}}" if exp else text
