"""From an activation to functions of Triton, which the GPU kernels take in as constants."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import InspectLoader
from types import ModuleType
from typing import Any

import sympy

from throughtime.activations.emit.program import Operand, Step, program
from throughtime.activations.emit.python import ARITHMETIC
from throughtime.activations.emit.whole import WHOLE, stable
from throughtime.activations.formula import Activation
from throughtime.activations.primitives import FUNCTIONS, Expr

_TEMPLATES = {
    **{f: f"maths.{f}({{}})" for f in (*FUNCTIONS, *WHOLE, "sqrt", "rsqrt")},
    **ARITHMETIC,
    "Abs": "tl.abs({})",
    "cos": "tl.cos({})",
    "erf": "tl.erf({})",
    "log": "tl.log({})",
    "power": "maths.power({}, {})",
    "sin": "tl.sin({})",
    "where": "tl.where({}, {}, {})",
}
# where a number would be rounded to float32 first, it is made one of the format of x
_WANT_TENSORS = ("power", "where")

_HEAD = """\
import triton
import triton.language as tl

from throughtime.activations.emit import triton_maths as maths
"""
_ARGUMENTS = "theta, pitch, columns, inside"


@dataclass(frozen=True)
class Functions:
    """An activation in one place of a cell, for kernels that work on tiles of rows and units.

    All take the tile ``x`` and where the parameters are that training adjusts: ``theta``, rows of
    ``pitch`` numbers, the unit of each of the ``columns`` of the tile, and which of them are
    ``inside``. Other parameters are numbers of the code.

    Attributes:
        value: ``value(x, theta, pitch, columns, inside)`` is φ(x).
        both: the same arguments, (φ(x), φ'(x)).
        learn: ``learn(x, g, live, theta, dtheta, pitch, columns, inside)`` adds the gradient of
            every learnt parameter, of the gradient ``g`` that arrives at φ(x) where ``live``, to
            its row of ``dtheta``.
    """

    value: Any
    both: Any
    learn: Any


def emit(phi: Activation, learnt: Sequence[str] = (), first: int = 0) -> Functions:
    """The functions of an activation, the same objects for the same formula.

    Args:
        phi: the activation.
        learnt: names of the parameters that are read from memory.
        first: the row of the first parameter there.

    Raises:
        NotEmittable: a part of the formula is no operation.

    Example:
        >>> from throughtime.activations import activation
        >>> print(source(activation("silu"))[:70].splitlines()[-1])
        from throughtime.activations.emit import triton_maths as maths
    """
    functions = _module(source(phi, learnt, first))
    return Functions(functions.value, functions.both, functions.learn)


def source(phi: Activation, learnt: Sequence[str] = (), first: int = 0) -> str:
    """The text of the module that :func:`emit` makes."""
    rows = {name: row for row, name in enumerate(phi.parameters, first) if name in learnt}
    symbols = [sympy.Symbol(name, real=True) for name in rows]
    numbers = {
        sympy.Symbol(p.name, real=True): _number(p.default)
        for p in phi.parameters.values()
        if p.name not in rows
    }
    defaults = [phi.parameters[name].default for name in rows]

    def body(*expressions: Expr) -> tuple[list[str], list[str]]:
        given = [_prepared(e, numbers) for e in expressions]
        steps = program(given, symbols, also=WHOLE)
        loads = [
            f"p{i} = tl.load(theta + {row} * pitch + columns, mask=inside, other={default!r})"
            ".to(x.dtype)[None, :]"
            for i, (row, default) in enumerate(zip(rows.values(), defaults, strict=True))
        ]
        results = [_spread(r, steps.of_x) for r in steps.results]
        return [*loads, *map(_line, steps.steps)], results

    def function(name: str, arguments: str, lines: list[str]) -> str:
        text = "\n".join(f"    {line}" for line in lines)
        return f"\n\n@triton.jit\ndef {name}({arguments}):\n{text}\n"

    slopes = [_derived(phi, name) for name in rows]
    lines, (result,) = body(phi.expression)
    text = _HEAD + function("value", f"x, {_ARGUMENTS}", [*lines, f"return {result}"])
    lines, results = body(phi.expression, phi.derivative_expression)
    text += function("both", f"x, {_ARGUMENTS}", [*lines, f"return {', '.join(results)}"])
    lines, results = body(*slopes) if slopes else (["pass"], [])
    for row, result in zip(rows.values(), results, strict=True):
        lines.append(f"got = tl.sum(tl.where(live, g * ({result}), 0.0), 0)")
        lines.append(f"tl.atomic_add(dtheta + {row} * pitch + columns, got, mask=inside)")
    arguments = "x, g, live, theta, dtheta, pitch, columns, inside"
    return text + function("learn", arguments, lines)


def _derived(phi: Activation, parameter: str) -> Expr:
    from throughtime.activations.calculus import slope

    return slope(phi.expression, sympy.Symbol(parameter, real=True))


def _number(value: float) -> Expr:
    """A whole number as one, so that x**2.0 becomes a product."""
    return sympy.Integer(int(value)) if value.is_integer() else sympy.Float(value)


def _prepared(expression: Expr, numbers: dict[sympy.Symbol, Expr]) -> Expr:
    """With numbers for parameters, all that follows from them worked out, and no digits lost."""
    expression = expression.xreplace(numbers)
    expression = expression.replace(
        lambda e: e.is_Function and e.is_number, lambda e: sympy.Float(float(e))
    )
    return stable(expression)


def _line(step: Step) -> str:
    operation, arguments = step.operation, step.arguments
    if operation == "div" and isinstance(arguments[1], float) and _is_power_of_two(arguments[1]):
        operation, arguments = "mul", (arguments[0], 1 / arguments[1])
    operands = [_operand(a, tensor=operation in _WANT_TENSORS) for a in arguments]
    return f"{step.name} = {_TEMPLATES[operation].format(*operands)}"


def _is_power_of_two(value: float) -> bool:
    return abs(math.frexp(value)[0]) == 0.5


def _operand(value: Operand, tensor: bool = False) -> str:
    if isinstance(value, str):
        return value
    text = repr(value) if math.isfinite(value) else f'float("{value}")'
    return f"maths.number({text}, x)" if tensor else f"({text})" if value < 0 else text


def _spread(result: Operand, of_x: frozenset[str]) -> str:
    """A result in the shape of ``x``."""
    if isinstance(result, str) and result in of_x:
        return result
    if isinstance(result, str):
        return f"{result} + maths.number(0.0, x)"
    return _operand(result, tensor=True)


class _Text(InspectLoader):
    """A module whose source is text: as those of archives, found by ``inspect`` through it."""

    def __init__(self, text: str):
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str):
        return self.source_to_code(self._text, f"{fullname}.py")


@cache
def _module(text: str) -> ModuleType:
    """The text as a module. Triton reads the source of a function, so it must be found again."""
    name = f"throughtime_triton_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_loader(name, _Text(text), origin=f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
