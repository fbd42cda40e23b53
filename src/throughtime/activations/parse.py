"""A person's formula, read as mathematics and never run as Python."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping

import sympy

from throughtime.activations.primitives import CALLABLE, Expr, x
from throughtime.errors import ActivationError

LONGEST, DEEPEST, HIGHEST_POWER, LARGEST = 1000, 60, 16, 1e12
_LONG = 10**60  # where a fraction has more digits than any formula needs

_SAME = {"^": "**", "−": "-", "·": "*", "×": "*", "≤": "<=", "≥": ">="}
_SIGNS: dict[type, Callable] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type, Callable] = {
    ast.Lt: sympy.Lt,
    ast.LtE: sympy.Le,
    ast.Gt: sympy.Gt,
    ast.GtE: sympy.Ge,
    ast.Eq: sympy.Eq,
    ast.NotEq: sympy.Ne,
}
_CONSTANTS = {"pi": sympy.pi, "π": sympy.pi}


def parse(name: str, text: str, symbols: Mapping[str, sympy.Symbol]) -> Expr:
    """The SymPy expression of a formula.

    Args:
        name: of the activation, for messages.
        text: arithmetic (``^`` is a power too), the functions of ``primitives.CALLABLE``, and
            comparisons with ``and``, ``or``, ``not`` inside ``where``.
        symbols: ``x`` and the parameters.

    Raises:
        ActivationError: the text does not parse, names what is not known, or is too large.

    Example:
        >>> parse("mine", "2*x^2", {"x": x})
        2*x**2
    """
    if len(text) > LONGEST:
        raise _refused(name, text, "too_long", longest=LONGEST)
    plain = text.strip()
    for sign, same in _SAME.items():
        plain = plain.replace(sign, same)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(name, text, "not_a_formula", part=text.strip()[:60]) from None
    expression = _Reader(name, text, symbols).read(tree.body)
    if not isinstance(expression, sympy.Expr):
        raise _refused(name, text, "not_a_number", part=text.strip()[:60])
    return expression


def _refused(name: str, text: str, key: str, **fields: object) -> ActivationError:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return ActivationError(f"activations.{key}", name=name, formula=shown, **fields)


class _Reader:
    def __init__(self, name: str, text: str, symbols: Mapping[str, sympy.Symbol]):
        self._name, self._text, self._symbols = name, text, symbols

    def read(self, node: ast.expr, depth: int = 0):
        """The node as an expression or a condition; its parts first, none larger than allowed."""
        if depth > DEEPEST:
            raise self._refuse("too_deep", deepest=DEEPEST)
        parts = [self.read(part, depth + 1) for part in self._parts(node)]
        try:
            result = self._put_together(node, parts)
        except ActivationError:
            raise
        except (TypeError, AttributeError, ValueError, ArithmeticError, RecursionError):
            raise self._refuse("not_a_formula", part=_source(node)) from None
        if isinstance(result, sympy.Expr):
            self._check_size(node, result)
        return result

    def _parts(self, node: ast.expr) -> list[ast.expr]:
        match node:
            case ast.UnaryOp(operand=inner):
                return [inner]
            case ast.BinOp(left=left, right=right):
                return [left, right]
            case ast.BoolOp(values=values):
                return values
            case ast.Compare(left=left, comparators=others):
                return [left, *others]
            case ast.Call(func=ast.Name(id=word), args=arguments, keywords=[]):
                if word not in CALLABLE:
                    known = ", ".join(sorted(CALLABLE))
                    raise self._refuse("unknown_function", function=word, known=known)
                wanted, given = CALLABLE[word][0], len(arguments)
                if given != wanted:
                    raise self._refuse("arity", function=word, wanted=wanted, given=given)
                return arguments
            case ast.Name() | ast.Constant():
                return []
            case ast.IfExp():
                raise self._refuse("not_a_number", part=_source(node))
        raise self._refuse("not_a_formula", part=_source(node))

    def _put_together(self, node: ast.expr, parts: list):
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(value)
            case ast.Name(id=word) if word in self._symbols:
                return self._symbols[word]
            case ast.Name(id=word) if word in _CONSTANTS:
                return _CONSTANTS[word]
            case ast.Name(id=word):
                known = ", ".join(sorted({*self._symbols, "pi"}))
                raise self._refuse("unknown_symbol", symbol=word, known=known)
            case ast.UnaryOp(op=ast.Not()) if _are_conditions(parts):
                return sympy.Not(*parts)
            case ast.UnaryOp(op=op) if type(op) in _SIGNS:
                return _SIGNS[type(op)](*parts)
            case ast.BinOp() if not all(isinstance(p, sympy.Expr) for p in parts):
                raise self._refuse("not_a_number", part=_source(node))
            case ast.BinOp(op=ast.Pow()):
                return self._power(node, *parts)
            case ast.BinOp(op=op) if type(op) in _BINARY:
                return _BINARY[type(op)](*parts)
            case ast.BoolOp(op=op) if _are_conditions(parts):
                return (sympy.And if isinstance(op, ast.And) else sympy.Or)(*parts)
            case ast.Compare(ops=ops) if all(type(op) in _COMPARISONS for op in ops):
                pairs = zip(ops, parts, parts[1:], strict=False)
                return sympy.And(*(_COMPARISONS[type(op)](a, b) for op, a, b in pairs))
            case ast.Call(func=ast.Name(id=word)):
                return CALLABLE[word][1](*parts)
        raise self._refuse("not_a_formula", part=_source(node))

    def _number(self, value: float) -> Expr:
        if not abs(value) <= LARGEST:
            raise self._refuse("too_large", largest=f"{LARGEST:g}")
        return sympy.Integer(int(value)) if value == int(value) else sympy.Float(repr(value))

    def _power(self, node: ast.expr, base: Expr, power: Expr) -> Expr:
        """x^n, x^parameter, or number^x; no tower of powers is ever worked out."""
        part = _source(node)
        if isinstance(power, sympy.Float):
            power = sympy.nsimplify(power, rational=True) if power * 16 % 1 == 0 else power
        if power.is_number and abs(float(power)) > HIGHEST_POWER:
            raise self._refuse("power", part=part, highest=HIGHEST_POWER)
        if power.has(x) and not (base.is_number and base.is_positive):
            raise self._refuse("power", part=part, highest=HIGHEST_POWER)
        return sympy.exp(power * sympy.log(base)) if power.has(x) else base**power

    def _check_size(self, node: ast.expr, e: Expr) -> None:
        """Numbers must be finite, real and moderate before anything larger is built from them."""
        if e.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
            raise self._refuse("not_finite", part=_source(node))
        if e.is_number:
            try:
                size = abs(float(e))
            except (TypeError, OverflowError):
                size = math.nan
            if not size <= LARGEST:
                key = "too_large" if size > LARGEST else "not_finite"
                raise self._refuse(key, part=_source(node), largest=f"{LARGEST:g}")
        if any(abs(p.exp) > HIGHEST_POWER for p in e.atoms(sympy.Pow) if p.exp.is_Rational):
            raise self._refuse("power", part=_source(node), highest=HIGHEST_POWER)
        if any(max(abs(n.p), n.q) > _LONG for n in e.atoms(sympy.Rational)):
            raise self._refuse("too_large", largest=f"{LARGEST:g}")

    def _refuse(self, key: str, **fields: object) -> ActivationError:
        return _refused(self._name, self._text, key, **fields)


def _are_conditions(parts: list) -> bool:
    return not any(isinstance(part, sympy.Expr) for part in parts)


def _source(node: ast.expr) -> str:
    """The part of the text that a message speaks of."""
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        text = "..."
    return text if len(text) <= 60 else text[:57] + "..."
