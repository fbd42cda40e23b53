"""From an expression to ONNX operators; and the small language in which ONNX graphs are written.

A :class:`Value` is the name of a tensor that will be there when the graph runs. Arithmetic on
values adds nodes to the graph they belong to, and to the innermost one where a loop's body
meets what is around it: what does not depend on the step is computed once, outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import sympy
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sympy import Wild

from throughtime.activations.emit.program import program
from throughtime.activations.emit.python import ARITHMETIC, function
from throughtime.activations.formula import Activation
from throughtime.activations.parse import parse
from throughtime.activations.primitives import Expr, stabilised, x


@dataclass(eq=False)
class Graph:
    """Nodes in an order in which they can run, and the tensors they start from.

    Attributes:
        real: the floating-point type of the whole file.
        outer: the graph in which this one is the body of a loop.
    """

    real: np.dtype
    outer: Graph | None = None
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    _numbers: dict[tuple, Value] = field(default_factory=dict)
    _count: int = 0

    @property
    def root(self) -> Graph:
        """The graph that is in no other; it holds all tensors."""
        return self if self.outer is None else self.outer.root

    @property
    def depth(self) -> int:
        """How many graphs are around this one."""
        return 0 if self.outer is None else 1 + self.outer.depth

    def name(self, kind: str) -> str:
        """A name that no other tensor of the file has."""
        self.root._count += 1
        return f"{kind.lower()}_{self.root._count}"

    def tensor(self, name: str, array: np.ndarray) -> Value:
        """A tensor of the file under a name of its own: a weight."""
        self.root.tensors[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return Value(name, self.root)

    def constant(self, value: Any) -> Value:
        """A number, of the graph's type, or an array as it is; the same one is stored once."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value, self.real)
        key = (array.dtype, array.shape, array.tobytes())
        known = self.root._numbers
        if key not in known:
            known[key] = self.tensor(f"constant_{len(known)}", array)
        return known[key]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph, by name."""

    name: str
    graph: Graph
    __array_ufunc__ = None  # NumPy leaves arithmetic with a value to the value

    def __add__(self, other: Any) -> Value:
        return op("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return op("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return op("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return op("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return op("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return op("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return op("Div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return op("Div", other, self)

    def __pow__(self, other: Any) -> Value:
        return op("Pow", self, other)

    def __rpow__(self, other: Any) -> Value:
        return op("Pow", other, self)

    def __matmul__(self, other: Any) -> Value:
        return op("MatMul", self, other)

    def __neg__(self) -> Value:
        return op("Neg", self)

    def __lt__(self, other: Any) -> Value:
        return op("Less", self, other)

    def __le__(self, other: Any) -> Value:
        return op("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Value:
        return op("Greater", self, other)

    def __ge__(self, other: Any) -> Value:
        return op("GreaterOrEqual", self, other)


def op(kind: str, *operands: Any, **attributes: Any) -> Value:
    """The result of one ONNX operator on values, numbers and arrays."""
    return ops(kind, 1, *operands, **attributes)[0]


def ops(
    kind: str, count: int, *operands: Any, name: str = "", **attributes: Any
) -> tuple[Value, ...]:
    """The results of an ONNX operator that has several; ``None`` leaves an optional input out."""
    graph = max((v.graph for v in operands if isinstance(v, Value)), key=lambda g: g.depth)
    names = ["" if v is None else _value(v, graph).name for v in operands]
    results = [graph.name(kind) for _ in range(count)]
    graph.nodes.append(helper.make_node(kind, names, results, name or results[0], **attributes))
    return tuple(Value(name, graph) for name in results)


def _value(operand: Any, graph: Graph) -> Value:
    return operand if isinstance(operand, Value) else graph.constant(operand)


def where(test: Value, yes: Any, no: Any) -> Value:
    """``yes`` where the test holds, else ``no``."""
    return op("Where", test, yes, no)


def joined(parts: Sequence[Value], axis: int) -> Value:
    """The parts behind each other."""
    return op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]


def emit(expression: Expr, parameters: Sequence[sympy.Symbol]) -> Callable[..., Value]:
    """A function ``f(x, *parameters)`` of values that adds its nodes to their graph.

    Example:
        >>> graph = Graph(np.dtype("float32"))
        >>> y = emit(sympy.tanh(x) / 2, [])(graph.tensor("u", np.zeros(2, "float32")))
        >>> [node.op_type for node in graph.nodes]
        ['Tanh', 'Div']
    """
    steps = program([expression], parameters)
    inner = function(steps, lambda step: _TEMPLATES[step.operation], _SCOPE)
    if steps.results[0] in steps.of_x:
        return inner
    return lambda x, *theta: op("Expand", inner(x, *theta), op("Shape", x))


def _expm1(u: Value) -> Value:
    t = op("Tanh", u / 2)
    return where(u > 1, op("Exp", u) - 1, 2 * t / (1 - t))


def _log1p(u: Value) -> Value:
    """What 1 + u has lost is put back by the quotient (Kahan)."""
    w = 1 + u
    d = w - 1
    near = where(op("Equal", d, 0.0), u, op("Log", w) * (u / d))
    return where(op("Abs", u) < 1, near, op("Log", w))


def _asinh(u: Value) -> Value:
    a = op("Abs", u)
    near = _log1p(a + a * a / (1 + op("Sqrt", a * a + 1)))
    return op("Sign", u) * where(a > 1e8, op("Log", a) + np.log(2), near)


def _sinh(u: Value) -> Value:
    return (_expm1(u) - _expm1(-u)) / 2


def _cosh(u: Value) -> Value:
    return (op("Exp", u) + op("Exp", -u)) / 2


def _softplus(u: Value) -> Value:
    return op("Relu", u) + _log1p(op("Exp", -op("Abs", u)))


def _mean(u: Value, integrand: Callable[[Value], Value], points: int) -> Value:
    """The mean of the integrand over [0, u], by Gauss's rule on a new last axis."""
    s, w = np.polynomial.legendre.leggauss(points)
    real = u.graph.real
    nodes = op("Unsqueeze", u, np.array([-1])) * ((s + 1) / 2).astype(real)
    return integrand(nodes) @ (w / 2).astype(real)


def _erf(u: Value) -> Value:
    """2/√π ∫₀ᵘ exp(-t²) dt, which is 1 to all digits from 6 on."""
    near = u * _mean(u, lambda t: op("Exp", -(t * t)), 40) * (2 / np.sqrt(np.pi))
    return where(op("Abs", u) > 6, op("Sign", u), near)


def _atan(u: Value) -> Value:
    """∫₀ᵘ dt/(1 + t²) within ±1, and from the inverse of u beyond."""
    a = op("Abs", u)
    inside = where(a > 1, 1 / a, a)
    angle = inside * _mean(inside, lambda t: 1 / (1 + t * t), 14)
    return op("Sign", u) * where(a > 1, np.pi / 2 - angle, angle)


_OPERATORS = {
    "Abs": "Abs",
    "asinh": "Asinh",
    "atan": "Atan",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "softplus": "Softplus",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
_COMPOSED: dict[str, Callable[[Value], Value]] = {
    "expm1": _expm1,
    "log1p": _log1p,
    "rsqrt": lambda u: op("Reciprocal", op("Sqrt", u)),
}
# ONNX has these for every type, ONNX Runtime computes them in float32 only
_COMPOSED_IN_FLOAT64: dict[str, Callable[[Value], Value]] = {
    "asinh": _asinh,
    "atan": _atan,
    "cosh": _cosh,
    "erf": _erf,
    "sinh": _sinh,
    "softplus": _softplus,
}


def _function(name: str) -> Callable[[Value], Value]:
    if name in _COMPOSED:
        return _COMPOSED[name]

    def call(u: Value) -> Value:
        composed = _COMPOSED_IN_FLOAT64.get(name) if u.graph.real == np.float64 else None
        return composed(u) if composed else op(_OPERATORS[name], u)

    return call


_SCOPE: dict[str, Any] = {
    **{name: _function(name) for name in (*_OPERATORS, *_COMPOSED)},
    "where": where,
    "equal": lambda a, b: op("Equal", a, b),
    "unequal": lambda a, b: op("Not", op("Equal", a, b)),
}
_TEMPLATES = {
    **{name: f"{name}({{}})" for name in (*_OPERATORS, *_COMPOSED)},
    **ARITHMETIC,
    "where": "where({}, {}, {})",
    "eq": "equal({}, {})",
    "ne": "unequal({}, {})",
}


@dataclass(frozen=True)
class Named:
    """A function that ONNX's recurrent operators have by name.

    Attributes:
        name: as it stands in ``activations``.
        alpha, beta: its parameters; None where it has none.
    """

    name: str
    alpha: float | None = None
    beta: float | None = None


def named(phi: Activation) -> Named | None:
    """The function of ONNX's recurrent operators that ``phi`` is at its defaults, if any.

    Left out, because ONNX Runtime computes something else: Softplus, which overflows from 89 on,
    and ThresholdedRelu, which differs from ONNX's definition at the threshold itself.

    Example:
        >>> named(Activation("leaky", "where(x > 0, x, 0.5*x)"))
        Named(name='LeakyRelu', alpha=0.5, beta=None)
    """
    values = {
        sympy.Symbol(p.name, real=True): sympy.Rational(p.default) for p in phi.parameters.values()
    }
    expression = phi.expression.xreplace(values)
    for name, pattern, fits in _patterns():
        found = expression.match(pattern)
        if found is not None:
            found = {wild.name: value for wild, value in found.items()}
            if fits(found):
                numbers = {key: float(found[key]) for key in ("alpha", "beta") if key in found}
                return Named(name, **numbers)
    return None


@cache
def _patterns() -> list[tuple[str, Expr, Callable[[dict[str, Expr]], bool]]]:
    symbols = {name: sympy.Symbol(name, real=True) for name in ("alpha", "beta", "low", "high")}
    wild: Any = {s: Wild(name, exclude=[x]) for name, s in symbols.items()}
    formulas = [
        ("Relu", "max(x, 0)"),
        ("Tanh", "tanh(x)"),
        ("Sigmoid", "sigmoid(x)"),
        ("Softsign", "x/(1 + abs(x))"),
        ("Affine", "alpha*x + beta"),
        ("ScaledTanh", "alpha*tanh(beta*x)"),
        ("HardSigmoid", "clip(alpha*x + beta, 0, 1)"),
        ("HardSigmoid", "where(x <= low, 0, where(x >= high, 1, alpha*x + beta))"),
    ]
    for name, below in (("LeakyRelu", "alpha*x"), ("Elu", "alpha*expm1(x)")):
        formulas += [(name, f"where(x {sign} 0, x, {below})") for sign in (">", ">=")]
        formulas += [(name, f"where(x {sign} 0, {below}, x)") for sign in ("<", "<=")]

    def pattern(text: str) -> Expr:
        return stabilised(parse("", text, {"x": x, **symbols})).xreplace(wild)

    return [(name, pattern(text), _joins if "low" in text else _always) for name, text in formulas]


def _always(found: dict[str, Expr]) -> bool:
    return True


def _joins(found: dict[str, Expr]) -> bool:
    """Whether the straight piece meets 0 and 1 where the others begin."""
    slope, start = found["alpha"], found["beta"]
    return slope * found["low"] + start == 0 and slope * found["high"] + start == 1
