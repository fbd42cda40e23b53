"""The activation: one expression with named parameters, and what follows from it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import sympy
from torch import Tensor

from throughtime.activations.emit import torch as torch_emitter
from throughtime.activations.parse import parse
from throughtime.activations.primitives import stabilised
from throughtime.errors import ActivationError

Learning = Literal["shared", "unit"]
x = sympy.Symbol("x", real=True)


@dataclass(frozen=True)
class Parameter:
    """A named number of a formula.

    Attributes:
        name: as it stands in the formula.
        default: value where none is given.
        low, high: bounds, both included.
        learnable: ``"shared"`` (one value a layer), ``"unit"`` (one a unit) or None (fixed).
    """

    name: str
    default: float
    low: float = -math.inf
    high: float = math.inf
    learnable: Learning | None = None


class Activation:
    """A function of one number, applied to each unit, given by a formula.

    Args:
        name: how it is called.
        formula: text such as ``"x*sigmoid(beta*x)"``, a SymPy expression in ``x``, or a function
            of one symbol (and of the parameters by keyword).
        learnable: names of parameters that training adjusts, or ``{name: "shared" | "unit"}``.
        reference: where it was published.
        note, note_zh: when to use it, in English and Chinese.
        parameters: default of each parameter, or ``(default, low, high)``.

    Raises:
        ActivationError: the formula does not parse, has unknown symbols, or a parameter is out of
            bounds.

    Example:
        >>> import torch
        >>> swish = Activation("swish", "x*sigmoid(beta*x)", beta=1.0, learnable=("beta",))
        >>> swish(torch.tensor([0.0, 1.0]), beta=2.0)
        tensor([0.0000, 0.8808])
        >>> swish.derivative(torch.tensor([0.0]))
        tensor([0.5000])
    """

    def __init__(
        self,
        name: str,
        formula: str | sympy.Expr | Callable,
        *,
        learnable: tuple[str, ...] | Mapping[str, Learning] = (),
        reference: str = "",
        note: str = "",
        note_zh: str = "",
        **parameters: float | tuple[float, float, float],
    ):
        self.name, self.reference, self.note, self.note_zh = name, reference, note, note_zh
        kinds = (
            dict(learnable)
            if isinstance(learnable, Mapping)
            else dict.fromkeys(learnable, "shared")
        )
        self.parameters = {
            key: _parameter(name, key, value, kinds.pop(key, None))
            for key, value in parameters.items()
        }
        if kinds:
            raise ActivationError(
                "activations.unknown_learnable",
                name=name,
                parameter=", ".join(kinds),
                known=", ".join(self.parameters) or "-",
            )
        self._symbols = {key: sympy.Symbol(key, real=True) for key in self.parameters}
        self.formula, expression = self._read(formula)
        self.expression = stabilised(expression)

    @property
    def learnable(self) -> tuple[str, ...]:
        """Names of the parameters that training adjusts."""
        return tuple(p.name for p in self.parameters.values() if p.learnable)

    def __call__(self, a: Tensor, /, **theta: Tensor | float) -> Tensor:
        """φ(a) of a tensor of any shape; ``theta`` broadcasts against its last axis."""
        return self._value(a, *self._arguments(theta))

    def derivative(self, a: Tensor, /, **theta: Tensor | float) -> Tensor:
        """φ'(a), from the symbolic derivative; at kinks PyTorch's choice."""
        return self._derivative(a, *self._arguments(theta))

    def parameter_derivative(self, parameter: str) -> Callable[..., Tensor]:
        """The function ∂φ/∂parameter, called as the activation itself."""
        if parameter not in self.parameters:
            raise self._unknown(parameter)
        function = self._emitted(sympy.diff(self.expression, self._symbols[parameter]))
        return lambda a, /, **theta: function(a, *self._arguments(theta))

    def bind(self, theta: Mapping[str, Tensor]) -> BoundActivation:
        """The activation with tensors for some parameters, as layers hand it to cells."""
        for key in theta:
            if key not in self.parameters:
                raise self._unknown(key)
        return BoundActivation(self, dict(theta))

    def with_parameters(self, **values: float) -> Activation:
        """The same formula with other defaults."""
        config = self.to_config()
        for key, value in values.items():
            if key not in self.parameters:
                raise self._unknown(key)
            config["parameters"][key]["default"] = value
        return Activation.from_config(config)

    @cached_property
    def latex(self) -> str:
        """The formula for a paper."""
        return sympy.latex(self.expression)

    @cached_property
    def derivative_expression(self) -> sympy.Expr:
        """φ' as a SymPy expression."""
        return sympy.diff(self.expression, x)

    def to_config(self) -> dict[str, Any]:
        """Everything that makes this function, as JSON."""
        return {
            "name": self.name,
            "formula": self.formula,
            "parameters": {
                p.name: {
                    "default": p.default,
                    "low": None if p.low == -math.inf else p.low,
                    "high": None if p.high == math.inf else p.high,
                    "learnable": p.learnable,
                }
                for p in self.parameters.values()
            },
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Activation:
        """The activation that :meth:`to_config` described."""
        given = config["parameters"]
        return cls(
            config["name"],
            config["formula"],
            learnable={k: p["learnable"] for k, p in given.items() if p["learnable"]},
            **{
                key: (
                    p["default"],
                    -math.inf if p["low"] is None else p["low"],
                    math.inf if p["high"] is None else p["high"],
                )
                for key, p in given.items()
            },
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self.to_config() == other.to_config()

    def __hash__(self) -> int:
        return hash((self.name, self.formula, tuple(self.parameters.values())))

    def __repr__(self) -> str:
        values = "".join(f", {p.name}={p.default:g}" for p in self.parameters.values())
        return f"Activation({self.name!r}, {self.formula!r}{values})"

    def __reduce__(self):
        return Activation.from_config, (self.to_config(),)

    @cached_property
    def _value(self) -> Callable[..., Tensor]:
        return self._emitted(self.expression)

    @cached_property
    def _derivative(self) -> Callable[..., Tensor]:
        return self._emitted(self.derivative_expression)

    def _emitted(self, expression: sympy.Expr) -> Callable[..., Tensor]:
        return torch_emitter.emit(expression, [x, *self._symbols.values()])

    def _arguments(self, theta: Mapping[str, Tensor | float]) -> list[Tensor | float]:
        for key in theta:
            if key not in self.parameters:
                raise self._unknown(key)
        for key, value in theta.items():
            if not isinstance(value, Tensor):
                _parameter(self.name, key, (value, *_bounds(self.parameters[key])), None)
        return [theta.get(p.name, p.default) for p in self.parameters.values()]

    def _unknown(self, parameter: str) -> ActivationError:
        known = ", ".join(self.parameters) or "-"
        return ActivationError(
            "activations.unknown_parameter", name=self.name, parameter=parameter, known=known
        )

    def _read(self, formula: str | sympy.Expr | Callable) -> tuple[str, sympy.Expr]:
        symbols = {"x": x, **self._symbols}
        if isinstance(formula, str):
            return formula, parse(self.name, formula, symbols)
        if callable(formula) and not isinstance(formula, sympy.Basic):
            wanted = set(inspect.signature(formula).parameters) & set(self._symbols)
            formula = sympy.sympify(formula(x, **{key: self._symbols[key] for key in wanted}))
        expression = formula.subs({sympy.Symbol(k): s for k, s in symbols.items()})
        unknown = expression.free_symbols - set(symbols.values())
        if unknown:
            raise ActivationError(
                "activations.unknown_symbol",
                name=self.name,
                formula=str(formula),
                symbol=", ".join(sorted(map(str, unknown))),
                known=", ".join(symbols),
            )
        return _text_of(self.name, expression, symbols), expression


@dataclass(frozen=True, eq=False)
class BoundActivation:
    """An activation with tensors in the place of parameters."""

    activation: Activation
    theta: dict[str, Tensor]

    def __call__(self, a: Tensor) -> Tensor:
        """φ(a; θ)."""
        return self.activation(a, **self.theta)


def _text_of(name: str, expression: sympy.Expr, symbols: dict[str, sympy.Symbol]) -> str:
    """Text from which the same expression is read again, so that a SymPy formula can be saved."""
    text = str(expression).replace("Abs(", "abs(")
    if expression.has(sympy.Piecewise):
        folded = expression.replace(lambda e: isinstance(e, sympy.Piecewise), lambda e: _nested(e))
        text = str(folded).replace("Abs(", "abs(")
    parse(name, text, symbols)
    return text


def _nested(piecewise: sympy.Piecewise) -> sympy.Expr:
    where = sympy.Function("where")
    *some, (last, _) = piecewise.args
    for value, condition in reversed(some):
        last = where(condition, value, last)
    return last


def _bounds(parameter: Parameter) -> tuple[float, float]:
    return parameter.low, parameter.high


def _parameter(activation: str, name: str, given: Any, learnable: Learning | None) -> Parameter:
    default, low, high = given if isinstance(given, tuple) else (given, -math.inf, math.inf)
    try:
        default = float(default)
    except (TypeError, ValueError):
        default = math.nan
    if not name.isidentifier() or name in ("x", "pi"):
        raise ActivationError("activations.parameter_name", name=activation, parameter=name)
    if not (math.isfinite(default) and low <= default <= high):
        raise ActivationError(
            "activations.out_of_bounds",
            name=activation,
            parameter=name,
            value=given[0] if isinstance(given, tuple) else given,
            low=low,
            high=high,
        )
    return Parameter(name, default, float(low), float(high), learnable)
