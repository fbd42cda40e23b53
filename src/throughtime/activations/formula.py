"""The activation: one expression with named parameters, and what follows from it."""

from __future__ import annotations

import inspect
import keyword
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import sympy
from torch import Tensor

from throughtime.activations.calculus import slope
from throughtime.activations.emit import latex as latex_emitter
from throughtime.activations.emit import numpy as numpy_emitter
from throughtime.activations.emit import text as text_emitter
from throughtime.activations.emit import torch as torch_emitter
from throughtime.activations.emit.program import NotEmittable
from throughtime.activations.parse import parse
from throughtime.activations.primitives import CALLABLE, Expr, stabilised, x
from throughtime.errors import ActivationError

if TYPE_CHECKING:
    from throughtime.activations.facts import Facts

Learning = Literal["shared", "unit"]

_TRIED = np.linspace(-10, 10, 81)
_NOT_PARAMETERS = {"x", "pi", "π", *CALLABLE}


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

    Everything else is derived from the formula: slope, facts, LaTeX, code for every target. Make
    one of your own where the catalogue (``throughtime.activations()``) has not what you want; it
    works wherever a catalogue name does, and at the same speed.

    Args:
        name: how it is called.
        formula: text such as ``"x*sigmoid(beta*x)"``, a SymPy expression in ``x``, or a function
            of one symbol (and of the parameters by keyword) that returns such an expression.
            Text knows + - * / ^, comparisons and ``and``, ``or``, ``not`` inside
            ``where(condition, yes, no)``, ``pi`` and the functions of
            ``activations.primitives.CALLABLE``; it is read as mathematics and never run.
        learnable: names of parameters that training adjusts, or ``{name: "shared" | "unit"}``;
            a name alone is shared by the units of a layer.
        reference: where it was published.
        note, note_zh: when to use it, in English and Chinese.
        parameters: default of each parameter, or ``(default, low, high)``, both bounds included.

    Raises:
        ActivationError: the formula does not parse, has unknown symbols or no finite value and
            slope on [-10, 10], or a parameter is out of bounds.

    Example:
        >>> import torch
        >>> swish = Activation("swish", "x*sigmoid(beta*x)", beta=1.0, learnable=("beta",))
        >>> swish(torch.tensor([0.0, 1.0]), beta=2.0)
        tensor([0.0000, 0.8808])
        >>> swish.derivative(torch.tensor([0.0]))
        tensor([0.5000])
        >>> swish.facts.slope_at_zero
        0.5
    """

    def __init__(
        self,
        /,
        name: str,
        formula: str | Expr | Callable[..., Any],
        *,
        learnable: str | Sequence[str] | Mapping[str, Learning] = (),
        reference: str = "",
        note: str = "",
        note_zh: str = "",
        **parameters: float | tuple[float, float, float],
    ):
        if not isinstance(name, str) or not name.strip():
            raise ActivationError("activations.name", value=repr(name))
        self.name, self.reference, self.note, self.note_zh = name, reference, note, note_zh
        kinds = _learning(name, learnable, parameters)
        self.parameters = {
            key: _parameter(name, key, value, kinds.get(key)) for key, value in parameters.items()
        }
        self._symbols = {key: sympy.Symbol(key, real=True) for key in self.parameters}
        self._defaults = tuple(p.default for p in self.parameters.values())
        self.formula, self.expression = self._read(formula)
        self._key = (name, self.formula, tuple(self.parameters.values()))
        self._value = self._emitted(self.expression)
        self._refuse_what_is_not_finite()

    @property
    def learnable(self) -> tuple[str, ...]:
        """Names of the parameters that training adjusts."""
        return tuple(p.name for p in self.parameters.values() if p.learnable)

    @overload
    def __call__(self, a: Tensor, /, **theta: Tensor | float) -> Tensor: ...
    @overload
    def __call__(self, a: np.ndarray, /, **theta: Any) -> np.ndarray: ...
    @overload
    def __call__(self, a: float, /, **theta: float) -> float: ...
    def __call__(self, a: Any, /, **theta: Any) -> Any:
        """φ(a).

        Args:
            a: a floating-point tensor of any shape, or a NumPy array or a number.
            theta: values of parameters, defaults otherwise; tensors broadcast against the last
                axis of ``a``. Autograd flows to ``a`` and ``theta``.
        """
        return self._value(a, self._arguments(theta))

    @overload
    def derivative(self, a: Tensor, /, **theta: Tensor | float) -> Tensor: ...
    @overload
    def derivative(self, a: np.ndarray, /, **theta: Any) -> np.ndarray: ...
    @overload
    def derivative(self, a: float, /, **theta: float) -> float: ...
    def derivative(self, a: Any, /, **theta: Any) -> Any:
        """φ'(a), arguments as for φ(a); at kinks PyTorch's choice. Differentiable again."""
        return self._slope(a, self._arguments(theta))

    def parameter_derivative(self, parameter: str) -> Callable[..., Any]:
        """The function ∂φ/∂parameter, called as the activation itself."""
        if parameter not in self._by_parameter:
            if parameter not in self.parameters:
                raise self._unknown(parameter)
            found = slope(self.expression, self._symbols[parameter])
            self._by_parameter[parameter] = self._emitted(found)
        function = self._by_parameter[parameter]
        return lambda a, /, **theta: function(a, self._arguments(theta))

    def bind(self, theta: Mapping[str, Tensor]) -> BoundActivation:
        """The activation with tensors for some parameters, as layers hand it to cells."""
        for key in theta:
            if key not in self.parameters:
                raise self._unknown(key)
        return BoundActivation(self, dict(theta))

    def with_parameters(self, **values: float) -> Activation:
        """The same formula with other defaults.

        Example:
            >>> Activation("leaky", "where(x > 0, x, a*x)", a=0.01).with_parameters(a=0.2)
            Activation('leaky', 'where(x > 0, x, a*x)', a=0.2)
        """
        config = self.to_config()
        for key, value in values.items():
            if key not in self.parameters:
                raise self._unknown(key)
            config["parameters"][key]["default"] = value
        return self._about(Activation.from_config(config))

    @cached_property
    def facts(self) -> Facts:
        """What follows from the formula at the parameters' defaults."""
        from throughtime.activations.facts import derive

        return derive(self)

    @cached_property
    def latex(self) -> str:
        """The formula for a paper."""
        return latex_emitter.emit(self.expression)

    @cached_property
    def derivative_expression(self) -> Expr:
        """φ' as a SymPy expression."""
        return slope(self.expression, x)

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
        try:
            name, formula, given = config["name"], config["formula"], config["parameters"]
            bounds = {
                key: (
                    p["default"],
                    -math.inf if p["low"] is None else p["low"],
                    math.inf if p["high"] is None else p["high"],
                )
                for key, p in given.items()
            }
            learnable = {key: p["learnable"] for key, p in given.items() if p["learnable"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise ActivationError(
                "activations.config", config=config, problem=repr(error)
            ) from None
        return cls(name, formula, learnable=learnable, **bounds)  # pyright: ignore[reportArgumentType]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        values = "".join(f", {p.name}={p.default:g}" for p in self.parameters.values())
        return f"Activation({self.name!r}, {self.formula!r}{values})"

    def __reduce__(self):
        return _rebuilt, (self.to_config(), self.reference, self.note, self.note_zh)

    def _about(self, other: Activation) -> Activation:
        other.reference, other.note, other.note_zh = self.reference, self.note, self.note_zh
        return other

    @cached_property
    def _slope(self) -> Callable[..., Any]:
        return self._emitted(self.derivative_expression)

    @cached_property
    def _by_parameter(self) -> dict[str, Callable[..., Any]]:
        return {}

    def _emitted(self, expression: Expr) -> Callable[..., Any]:
        symbols = tuple(self._symbols.values())
        defaults = dict(zip(symbols, self._defaults, strict=True))
        try:
            return _OfTensorsOrArrays(self.name, expression, symbols, defaults)
        except NotEmittable as error:
            known = ", ".join(sorted(CALLABLE))
            raise ActivationError(
                "activations.unknown_function",
                name=self.name,
                formula=self.formula,
                function=str(error),
                known=known,
            ) from None

    def _arguments(self, theta: Mapping[str, Any]) -> tuple[Any, ...]:
        if not theta:
            return self._defaults
        for key, value in theta.items():
            if key not in self.parameters:
                raise self._unknown(key)
            if not isinstance(value, Tensor | np.ndarray):
                p = self.parameters[key]
                _parameter(self.name, key, (value, p.low, p.high), None)
        return tuple(theta.get(p.name, p.default) for p in self.parameters.values())

    def _unknown(self, parameter: str) -> ActivationError:
        known = ", ".join(self.parameters) or "-"
        return ActivationError(
            "activations.unknown_parameter", name=self.name, parameter=parameter, known=known
        )

    def _read(self, formula: object) -> tuple[str, Expr]:
        symbols = {"x": x, **self._symbols}
        if isinstance(formula, str):
            return formula, stabilised(parse(self.name, formula, symbols))
        expression = self._called(formula) if callable(formula) else formula
        if not isinstance(expression, sympy.Expr):
            raise ActivationError(
                "activations.formula_kind", name=self.name, kind=type(expression).__name__
            )
        own = {s: symbols[str(s)] for s in expression.free_symbols if str(s) in symbols}
        unknown = sorted(str(s) for s in expression.free_symbols - set(own))
        if unknown:
            raise ActivationError(
                "activations.unknown_symbol",
                name=self.name,
                formula=str(formula),
                symbol=", ".join(unknown),
                known=", ".join(symbols),
            )
        try:
            text = text_emitter.emit(stabilised(expression.xreplace(own)))
        except TypeError as error:
            raise self._unusable(error) from None
        return text, stabilised(parse(self.name, text, symbols))

    def _called(self, formula: Callable[..., Any]) -> object:
        try:
            wanted = set(inspect.signature(formula).parameters) & set(self._symbols)
            return formula(x, **{key: self._symbols[key] for key in wanted})
        except Exception as error:  # a person's function may raise anything
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> ActivationError:
        problem = f"{type(error).__name__}: {error}"
        return ActivationError("activations.function_failed", name=self.name, problem=problem)

    def _refuse_what_is_not_finite(self) -> None:
        for what, function in (("value", self._value), ("slope", self._slope)):
            try:
                found = function(_TRIED, self._defaults)
            except (ArithmeticError, ValueError):
                found = np.full_like(_TRIED, math.nan)
            bad = ~np.isfinite(found)
            if bad.any():
                at = _TRIED[bad][np.argmin(np.abs(_TRIED[bad]))]
                raise ActivationError(
                    f"activations.not_finite_{what}",
                    name=self.name,
                    formula=self.formula,
                    x=f"{at:g}",
                    value=f"{found[bad][np.argmin(np.abs(_TRIED[bad]))]:g}",
                )


@dataclass(frozen=True, eq=False)
class BoundActivation:
    """An activation with tensors in the place of parameters.

    Attributes:
        activation: the formula.
        theta: value of each bound parameter, a tensor of one value or of one a unit.
    """

    activation: Activation
    theta: dict[str, Tensor]

    def __call__(self, a: Tensor) -> Tensor:
        """φ(a; θ)."""
        return self.activation(a, **self.theta)

    def derivative(self, a: Tensor) -> Tensor:
        """φ'(a; θ)."""
        return self.activation.derivative(a, **self.theta)


class _OfTensorsOrArrays:
    """An expression as a function of what it is given: tensors by PyTorch, the rest by NumPy."""

    def __init__(
        self,
        name: str,
        expression: Expr,
        symbols: tuple[sympy.Symbol, ...],
        defaults: dict[sympy.Symbol, float],
    ):
        self._name, self._expression, self._symbols = name, expression, symbols
        self._of_arrays = numpy_emitter.emit(expression, symbols)
        self._of_tensors = torch_emitter.emit(expression, symbols, defaults)

    def __call__(self, a: Any, theta: tuple[Any, ...]) -> Any:
        if not isinstance(a, Tensor):
            kind = np.asarray(a).dtype
            if kind.kind not in "fiub":
                raise ActivationError("activations.dtype", name=self._name, dtype=str(kind))
            value = self._of_arrays(a, *theta)
            return value if np.ndim(value) or isinstance(a, np.ndarray) else float(value)
        if not a.is_floating_point():
            kind = str(a.dtype)
            raise ActivationError("activations.dtype", name=self._name, dtype=kind)
        return self._of_tensors(a, *theta)


def _rebuilt(config: dict, reference: str, note: str, note_zh: str) -> Activation:
    phi = Activation.from_config(config)
    phi.reference, phi.note, phi.note_zh = reference, note, note_zh
    return phi


def _learning(
    name: str, learnable: str | Sequence[str] | Mapping[str, Learning], parameters: Mapping
) -> dict[str, Learning]:
    if isinstance(learnable, str):
        learnable = (learnable,)
    kinds = (
        dict(learnable) if isinstance(learnable, Mapping) else dict.fromkeys(learnable, "shared")
    )
    if unknown := [key for key in kinds if key not in parameters]:
        raise ActivationError(
            "activations.unknown_learnable",
            name=name,
            parameter=", ".join(unknown),
            known=", ".join(parameters) or "-",
        )
    for key, kind in kinds.items():
        if kind not in ("shared", "unit"):
            raise ActivationError(
                "activations.learning", name=name, parameter=key, value=repr(kind)
            )
    return kinds  # type: ignore[return-value]


def _parameter(activation: str, name: str, given: Any, learnable: Learning | None) -> Parameter:
    three = isinstance(given, tuple | list) and len(given) == 3
    default, low, high = given if three else (given, -math.inf, math.inf)
    if not name.isidentifier() or keyword.iskeyword(name) or name in _NOT_PARAMETERS:
        raise ActivationError("activations.parameter_name", name=activation, parameter=name)
    numbers = [_number(v) for v in (default, low, high)]
    if not (math.isfinite(numbers[0]) and numbers[1] <= numbers[0] <= numbers[2]):
        raise ActivationError(
            "activations.out_of_bounds",
            name=activation,
            parameter=name,
            value=default,
            low=low,
            high=high,
        )
    return Parameter(name, numbers[0], numbers[1], numbers[2], learnable)


def _number(value: Any) -> float:
    """``value`` as a float; NaN where it is no number, so that every range refuses it."""
    try:
        return math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError):
        return math.nan
