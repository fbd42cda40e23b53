"""An expression as a list of steps, each done once: what every emitter of text starts from.

An emitter is one table: a template for each operation of :data:`OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Piecewise
from sympy.core.relational import Relational

from throughtime.activations.primitives import FUNCTIONS, Expr, x

Operand = str | float

_ARITHMETIC = ("add", "sub", "mul", "div", "neg", "power", "sqrt", "rsqrt")
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_CHOICES = ("where", "at_most", "at_least")

OPERATIONS = (*_ARITHMETIC, *_COMPARISONS.values(), *_CHOICES, *FUNCTIONS)
"""Everything a step can be. ``at_most(u, c)`` and ``at_least(u, c)`` occur in guards only, with a
number c."""


@dataclass(frozen=True)
class Step:
    """``name = operation(*arguments)``.

    Attributes:
        name: what later steps call the result.
        operation: one of :data:`OPERATIONS`.
        arguments: names of inputs and earlier steps, or numbers.
        of_x: whether it depends on ``x``, and is not of parameters alone.
    """

    name: str
    operation: str
    arguments: tuple[Operand, ...]
    of_x: bool


@dataclass(frozen=True)
class Program:
    """Steps from inputs to results.

    Attributes:
        inputs: ``"x"``, then ``"p0"``, ``"p1"``, … in the order of the parameters.
        steps: in an order in which they can be done.
        results: a name or a number for each expression.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    results: tuple[Operand, ...]

    @property
    def of_x(self) -> frozenset[str]:
        """Names that depend on ``x``."""
        return frozenset(["x", *(s.name for s in self.steps if s.of_x)])


class NotEmittable(TypeError):
    """The expression has a part that is no operation; its name is the argument."""


def program(
    expressions: Sequence[Expr],
    parameters: Sequence[sympy.Symbol],
    *,
    guarded: bool = False,
    defaults: Mapping[sympy.Symbol, float] | None = None,
    also: Sequence[str] = (),
) -> Program:
    """The steps that give the values of ``expressions``; what occurs twice is done once.

    Args:
        expressions: in ``x`` and the parameters.
        parameters: their symbols, in the order of the arguments.
        guarded: compute each branch of a ``where`` that may overflow at a harmless point wherever
            it is not taken, so that automatic differentiation meets no 0 · inf.
        defaults: of the parameters, to find harmless points at.
        also: function heads that the emitter knows beyond :data:`OPERATIONS`.

    Raises:
        NotEmittable: a function outside :data:`OPERATIONS`.

    Example:
        >>> [f"{s.name} = {s.operation}{s.arguments}" for s in program([x**2 + 1], []).steps]
        ["t0 = mul('x', 'x')", "t1 = add('t0', 1.0)"]
    """
    inputs = ("x", *(f"p{i}" for i in range(len(parameters))))
    known: dict[Expr, Operand] = dict(zip((x, *parameters), inputs, strict=True))
    writer = _Writer(known, guarded, dict(defaults or {}), (*FUNCTIONS, *also))
    results = tuple(writer.value(e) for e in expressions)
    return Program(inputs, tuple(writer.steps), results)


@dataclass
class _Writer:
    known: dict[Expr, Operand]
    guarded: bool
    defaults: dict[sympy.Symbol, float]
    functions: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)
    done: dict[tuple, str] = field(default_factory=dict)
    of_x: set[str] = field(default_factory=lambda: {"x"})
    variables: list[sympy.Symbol] = field(default_factory=lambda: [x])

    def step(self, operation: str, *arguments: Operand) -> str:
        key = (operation, *arguments)
        if key not in self.done:
            name = self.done[key] = f"t{len(self.steps)}"
            of_x = not self.of_x.isdisjoint(a for a in arguments if isinstance(a, str))
            self.steps.append(Step(name, operation, arguments, of_x))
            if of_x:
                self.of_x.add(name)
        return self.done[key]

    def value(self, e: Expr) -> Operand:
        if e not in self.known:
            self.known[e] = float(e) if e.is_number else self._written(e)
        return self.known[e]

    def _written(self, e: Expr) -> Operand:
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow:
            return self._power(*e.as_base_exp())
        if isinstance(e, Piecewise):
            return self._choice(e)
        head = type(e).__name__
        if head not in self.functions:
            raise NotEmittable(head)
        return self.step(head, *(self.value(a) for a in e.args))

    def _sum(self, e: Expr) -> Operand:
        """Terms with ``x`` first, so that parameters and numbers are added to tensors."""
        minus = lambda t: t.could_extract_minus_sign()  # noqa: E731
        first, *rest = sorted(e.args, key=lambda t: (minus(t), not t.free_symbols))
        total = self.value(first)
        for term in rest:
            if minus(term):
                total = self.step("sub", total, self.value(-term))
            else:
                total = self.step("add", total, self.value(term))
        return total

    def _product(self, e: Expr) -> Operand:
        numbers = [f for f in e.args if f.is_number]
        scale, factors = sympy.Mul(*numbers), [f for f in e.args if not f.is_number]
        over = [f for f in factors if f.is_Pow and f.exp.could_extract_minus_sign()]
        roots = [f for f in over if f.exp == -sympy.S.Half]
        below = [1 / f for f in over if f not in roots]
        above = [f for f in factors if f not in over] + roots
        if not above:
            return self.step("div", float(scale), self._all(below))
        total = self._all(above)
        if scale == -1:
            total = self.step("neg", total)
        elif scale != 1:
            total = self._scaled(total, scale)
        return self.step("div", total, self._all(below)) if below else total

    def _scaled(self, operand: Operand, scale: Expr) -> Operand:
        """By the number itself, or its inverse where that is the exact one."""
        if scale.is_Rational and not scale.is_Integer and abs(scale.p) == 1:
            return self.step("div", operand, float(1 / scale))
        return self.step("mul", operand, float(scale))

    def _all(self, factors: Sequence[Expr]) -> Operand:
        first, *rest = sorted(factors, key=lambda f: not f.has(*self.variables))
        total = self.value(first)
        for factor in rest:
            total = self.step("mul", total, self.value(factor))
        return total

    def _power(self, base: Expr, exponent: Expr) -> Operand:
        if base == sympy.E:
            return self.step("exp", self.value(exponent))
        u = self.value(base)
        if exponent.is_Integer and exponent > 0:
            return self._repeated(u, int(exponent))
        if exponent == sympy.S.Half:
            return self.step("sqrt", u)
        if exponent == -sympy.S.Half:
            return self.step("rsqrt", u)
        smooth = exponent > 1  # its slope at 0 is 0, that of a product with a root 0 · inf
        if exponent.is_Rational and exponent.q == 2 and not (self.guarded and smooth):
            root = self.step("sqrt" if exponent > 0 else "rsqrt", u)
            return self._repeated(root, abs(int(2 * exponent)))
        if exponent.could_extract_minus_sign():
            return self.step("div", 1.0, self.value(base**-exponent))
        return self.step("power", u, self.value(exponent))

    def _repeated(self, u: Operand, n: int) -> Operand:
        result: Operand | None = None
        for bit in reversed(f"{n:b}"):
            if bit == "1":
                result = u if result is None else self.step("mul", result, u)
            n //= 2
            if n:
                u = self.step("mul", u, u)
        assert result is not None
        return result

    def _choice(self, e: Expr) -> Operand:
        (yes, condition), *others = e.args
        if not others:
            return self.value(yes)
        rest = others[0][0] if len(others) == 1 else Piecewise(*others)
        if not isinstance(condition, Relational):
            raise NotEmittable(str(condition))
        if self.guarded:
            yes = self._harmless(yes, condition)
            rest = self._harmless(rest, condition.negated)
        test = self._test(condition)
        return self.step("where", test, self.value(yes), self.value(rest))

    def _test(self, condition: Any) -> str:
        left, right = self.value(condition.lhs), self.value(condition.rhs)
        return self.step(_COMPARISONS[condition.rel_op], left, right)

    def _harmless(self, branch: Expr, condition: Any) -> Expr:
        """The branch in a variable that stays at one good point where the condition fails."""
        (variable,) = [v for v in self.variables if branch.has(v)] or [None]
        if variable is None or _is_tame(branch):
            return branch
        if not condition.has(variable):
            return branch
        bound = _bound(condition, variable)
        if bound is not None and self._is_good(branch, variable, bound[1]):
            operation, c = bound
            below = operation == "at_most" and c <= 0
            guard = sympy.Dummy("x", real=True, nonpositive=True if below else None)
            self.known[guard] = self.step(operation, self.value(variable), c)
        else:
            point = self._good_point(branch, condition, variable)
            guard = sympy.Dummy("x", real=True)
            outside = self._test(condition.negated)  # never holds for NaN, which so passes through
            self.known[guard] = self.step("where", outside, point, self.value(variable))
        self.variables.append(guard)
        return branch.xreplace({variable: guard})

    def _good_point(self, branch: Expr, condition: Any, variable: Any) -> float:
        points = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 4.0, -4.0, 10.0, -10.0)
        good = [p for p in points if self._is_good(branch, variable, p)]
        inside = [p for p in good if condition.subs(self.defaults).subs(variable, p) == sympy.true]
        return (inside or good or [0.0])[0]

    def _is_good(self, branch: Expr, variable: Any, point: float) -> bool:
        """Whether the branch and all its slopes are finite there at the usual parameters."""
        at = {variable: sympy.Float(point)} | {s: sympy.Float(v) for s, v in self.defaults.items()}
        slopes = [branch.diff(s) for s in branch.free_symbols]
        try:
            return all(abs(complex(e.subs(at))) < 1e6 for e in (branch, *slopes))
        except (TypeError, OverflowError, ZeroDivisionError):
            return False


def _bound(condition: Any, variable: Any) -> tuple[str, float] | None:
    """The region of ``variable`` against a number, as the operation that keeps within it."""
    if condition.rhs == variable:
        condition = condition.reversed
    if condition.lhs != variable or not condition.rhs.is_number:
        return None
    if condition.rel_op in ("<", "<="):
        return "at_most", float(condition.rhs)
    if condition.rel_op in (">", ">="):
        return "at_least", float(condition.rhs)
    return None


_BOUNDED_SLOPE = (
    "Abs",
    "asinh",
    "atan",
    "cos",
    "erf",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "tanh",
)


def _is_tame(e: Expr) -> bool:
    """Whether neither value nor slope can overflow, wherever it is evaluated."""
    if e.is_number or e.is_Symbol:
        return True
    if e.is_Add or type(e).__name__ in _BOUNDED_SLOPE:
        return all(_is_tame(a) for a in e.args)
    if e.is_Mul or (e.is_Pow and e.exp.is_Integer and e.exp > 0):
        return _degree(e) <= 3 and all(_is_tame(a) for a in e.args)
    return type(e) is Piecewise and all(_is_tame(branch.args[0]) for branch in e.args)


def _degree(e: Expr) -> int:
    if e.is_Mul:
        return sum(_degree(a) for a in e.args)
    if e.is_Pow and e.exp.is_Integer:
        return int(e.exp) * _degree(e.base)
    return max((_degree(a) for a in e.args), default=0) if e.args else int(e.is_Symbol)
