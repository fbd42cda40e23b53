"""From an expression to a function of tensors, differentiable by autograd as often as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import permutations

import sympy
import torch
import torch.nn.functional as F
from torch import Tensor

from throughtime.activations.emit.program import Step, program
from throughtime.activations.emit.python import ARITHMETIC, function
from throughtime.activations.parse import parse
from throughtime.activations.primitives import FUNCTIONS, Expr, stabilised, x

_TENSORS = {
    **{f: f"torch.{f}({{}})" for f in (*FUNCTIONS, "sqrt", "rsqrt")},
    **ARITHMETIC,
    "Abs": "torch.abs({})",
    "exp": "_exp({})",
    "softplus": "F.softplus({}, threshold=40.0)",
    "at_most": "torch.clamp({}, max={})",
    "at_least": "torch.clamp({}, min={})",
}
_NUMBERS: dict[str, Callable[[float], float]] = {
    "Abs": abs,
    "asinh": math.asinh,
    "atan": math.atan,
    "cos": math.cos,
    "cosh": math.cosh,
    "erf": math.erf,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "rsqrt": lambda v: 1 / math.sqrt(v),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "sign": lambda v: math.copysign(float(v != 0), v),
    "sin": math.sin,
    "sinh": math.sinh,
    "softplus": lambda v: math.log1p(math.exp(-abs(v))) + max(v, 0.0),
    "sqrt": math.sqrt,
    "tanh": math.tanh,
}


def emit(
    expression: Expr, parameters: Sequence[sympy.Symbol], defaults: Mapping[sympy.Symbol, float]
) -> Callable[..., Tensor]:
    """A function ``f(x, *parameters)``: ``x`` a tensor, parameters numbers or tensors.

    Where PyTorch has the whole function as one operation of its own, that is taken as long as the
    parameters are numbers.

    Example:
        >>> emit(sympy.tanh(x) / 2, [], {})(torch.zeros(2))
        tensor([0., 0.])
    """
    plain = composed(expression, parameters, defaults)
    whole = _of_pytorch(expression, parameters)
    if whole is None:
        return plain
    if not parameters:
        return whole

    def either(x: Tensor, *theta: Tensor | float) -> Tensor:
        tensors = any(isinstance(t, Tensor) for t in theta)
        return plain(x, *theta) if tensors else whole(x, *theta)

    return either


def composed(
    expression: Expr, parameters: Sequence[sympy.Symbol], defaults: Mapping[sympy.Symbol, float]
) -> Callable[..., Tensor]:
    """As :func:`emit`, from elementary operations whatever PyTorch has."""
    steps = program([expression], parameters, guarded=True, defaults=defaults)
    of_x = steps.of_x

    def template(step: Step) -> str:
        if step.operation == "where":
            return _where(step, of_x)
        if step.of_x or step.operation in ARITHMETIC:
            return _TENSORS[step.operation]
        pair = f"torch.{_torch_name(step.operation)}, _NUMBERS[{step.operation!r}]"
        return f"_of_parameter({pair}, {{}})"

    last = "return {}" if steps.results[0] in of_x else "return {} + torch.zeros_like(x)"
    scope = {"torch": torch, "F": F, "_exp": _exp, "_NUMBERS": _NUMBERS}
    return function(steps, template, scope | {"_of_parameter": _of_parameter}, last)


def _where(step: Step, of_x: frozenset[str]) -> str:
    """Two numbers to choose from would make a tensor of the default type."""
    test, *branches = step.arguments
    text = "torch.where({}, {}, {})"
    if of_x.isdisjoint(branches):
        text = "torch.where({}, {} + x.new_zeros(()), {})"
    return text if test in of_x else text.replace("where({}", "where(torch.as_tensor({})", 1)


def _torch_name(operation: str) -> str:
    return {"Abs": "abs", "softplus": "nn.functional.softplus"}.get(operation, operation)


def _of_parameter(on_tensor: Callable, on_number: Callable, value: Tensor | float):
    return on_tensor(value) if isinstance(value, Tensor) else on_number(value)


def _exp(u: Tensor) -> Tensor:
    """At most the largest number: infinity times the 0 of an outer slope would be NaN."""
    return torch.exp(torch.clamp(u, max=math.log(torch.finfo(u.dtype).max) * (1 - 1e-7)))


@cache
def _whole_functions() -> tuple[tuple[Expr, tuple[sympy.Symbol, ...], Callable[..., Tensor]], ...]:
    """Formulas that PyTorch has as one operation; only those exact in value and slope."""
    a = sympy.Symbol("a", real=True)
    table: dict[str, Callable[..., Tensor]] = {
        "max(x, 0)": F.relu,
        "where(x > 0, x, a*x)": F.leaky_relu,
        "where(x > 0, x, a*expm1(x))": F.elu,
        "where(x > 0, x, expm1(x))": F.elu,
        "1.0507009873554805*where(x > 0, x, 1.6732632423543772*expm1(x))": F.selu,
        "x*(1 + erf(x/sqrt(2)))/2": F.gelu,
        "x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2": _gelu_tanh,
        "x*sigmoid(x)": F.silu,
        "x*tanh(softplus(x))": F.mish,
        "log_sigmoid(x)": F.logsigmoid,
        "clip(x, -1, 1)": F.hardtanh,
        "clip(x, 0, 6)": F.relu6,
        "clip(x, 0, a)": _clipped,
        "where(x <= -3, 0, where(x >= 3, x, x*(x + 3)/6))": F.hardswish,
    }
    symbols = {"x": x, "a": a}
    read = {t: stabilised(parse("", t, symbols)) for t in table}
    return tuple((e, (a,) if e.has(a) else (), table[t]) for t, e in read.items())


def _of_pytorch(expression: Expr, parameters: Sequence[sympy.Symbol]) -> Callable | None:
    size = sympy.count_ops(expression)
    for known, slots, whole in _whole_functions():
        if len(slots) > len(parameters) or sympy.count_ops(known) != size:
            continue
        for chosen in permutations(parameters, len(slots)):
            if known.xreplace(dict(zip(slots, chosen, strict=True))) == expression:
                places = [parameters.index(p) for p in chosen]
                return lambda x, *theta: whole(x, *(theta[i] for i in places))
    return None


def _gelu_tanh(u: Tensor) -> Tensor:
    return F.gelu(u, approximate="tanh")


def _clipped(u: Tensor, ceiling: float) -> Tensor:
    return F.hardtanh(u, 0.0, ceiling)
