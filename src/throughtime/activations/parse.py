"""A person's formula, read as mathematics and never run as Python."""

from __future__ import annotations

import ast
import operator

import sympy

from throughtime.activations.primitives import CALLABLE
from throughtime.errors import ActivationError

LONGEST, DEEPEST, HIGHEST_POWER, LARGEST = 1000, 40, 16, 1e12

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def parse(name: str, text: str, symbols: dict[str, sympy.Symbol]) -> sympy.Expr:
    """The SymPy expression of a formula in ``x`` and the parameters in ``symbols``.

    Raises:
        ActivationError: the text does not parse, names what is not known, or asks for anything
            but arithmetic, comparisons inside ``where`` and the functions of the catalogue.
    """

    def refuse(key: str, **fields: object) -> ActivationError:
        shown = text if len(text) <= 120 else text[:117] + "..."
        return ActivationError(f"activations.{key}", name=name, formula=shown, **fields)

    def read(node: ast.expr, depth: int):
        if depth > DEEPEST:
            raise refuse("too_deep", deepest=DEEPEST)
        match node:
            case ast.Constant(value=bool() | str() | bytes() | complex() | None):
                raise refuse("not_a_formula", part=ast.unparse(node))
            case ast.Constant(value=int() | float() as value) if abs(value) <= LARGEST:
                return sympy.Integer(value) if isinstance(value, int) else sympy.Float(repr(value))
            case ast.Constant(value=int() | float()):
                raise refuse("too_large", largest=f"{LARGEST:g}")
            case ast.Name(id=word) if word in symbols:
                return symbols[word]
            case ast.Name(id="pi"):
                return sympy.pi
            case ast.Name(id=word):
                known = ", ".join(sorted({*symbols, "pi"}))
                raise refuse("unknown_symbol", symbol=word, known=known)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -read(inner, depth + 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return read(inner, depth + 1)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                base, power = read(left, depth + 1), read(right, depth + 1)
                if not power.is_number or abs(float(power)) > HIGHEST_POWER:
                    raise refuse("power", part=ast.unparse(node), highest=HIGHEST_POWER)
                return base**power
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](read(left, depth + 1), read(right, depth + 1))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return _COMPARISONS[type(op)](read(left, depth + 1), read(right, depth + 1))
            case ast.Call(func=ast.Name(id=word), args=args, keywords=[]) if word in CALLABLE:
                arity, function = CALLABLE[word]
                if len(args) != arity:
                    raise refuse("arity", function=word, wanted=arity, given=len(args))
                return function(*(read(a, depth + 1) for a in args))
            case ast.Call(func=ast.Name(id=word)) if word not in CALLABLE:
                raise refuse("unknown_function", function=word, known=", ".join(sorted(CALLABLE)))
        raise refuse("not_a_formula", part=ast.unparse(node))

    if len(text) > LONGEST:
        raise refuse("too_long", longest=LONGEST)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refuse("not_a_formula", part=text[:60]) from None
    try:
        expression = read(tree.body, 0)
    except (TypeError, AttributeError, OverflowError, RecursionError):
        raise refuse("not_a_formula", part=text[:60]) from None
    if not isinstance(expression, sympy.Expr) or expression.has(sympy.zoo, sympy.nan, sympy.oo):
        raise refuse("not_finite")
    return expression
