"""From an expression to vector instructions: what the CPU kernels run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from throughtime.activations.emit import lane_maths as maths
from throughtime.activations.emit.lanes import Lanes
from throughtime.activations.emit.program import Operand, program
from throughtime.activations.emit.whole import Whole, stable
from throughtime.activations.primitives import Expr


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
        expression = stable(expression)
        while wholes := expression.atoms(Whole):
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
    "erfc": maths.erfc,
    "half_one_plus_tanh": maths.half_one_plus_tanh,
    "sech2": maths.sech2,
    "sigmoid_slope": maths.sigmoid_slope,
}
