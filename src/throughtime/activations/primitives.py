"""Functions that stay finite where their textbook form overflows, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy import Piecewise
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

# SymPy's own hints say Basic, or nothing, where an expression comes back
Expr = Any
_Function: Any = sympy.Function

x = sympy.Symbol("x", real=True)

FUNCTIONS = (
    "Abs", "asinh", "atan", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p", "sigmoid", "sign",
    "sin", "sinh", "softplus", "tanh",
)  # fmt: skip
"""Every function head that an activation, or a derivative of one, can contain."""


class _Stable(_Function):
    nargs = 1
    textbook: Callable[[Any], Expr]

    def _eval_evalf(self, prec):
        return type(self).textbook(self.args[0])._eval_evalf(prec)

    def _eval_is_extended_real(self):
        return self.args[0].is_extended_real


class sigmoid(_Stable):
    """1 / (1 + exp(-x))."""

    @staticmethod
    def textbook(x):
        """The form that overflows or cancels."""
        return 1 / (1 + sympy.exp(-x))

    @classmethod
    def eval(cls, x):
        """The value at 0, without a sum to round."""
        return sympy.S.Half if x == 0 else None

    def fdiff(self, argindex=1):
        """σ' = σ(x) σ(-x), which keeps its digits in both tails."""
        (x,) = self.args
        return sigmoid(x) * sigmoid(-x)

    def _eval_is_positive(self):
        return self.args[0].is_extended_real


class softplus(_Stable):
    """log(1 + exp(x))."""

    @staticmethod
    def textbook(x):
        """The form that overflows or cancels."""
        return sympy.log(1 + sympy.exp(x))

    def fdiff(self, argindex=1):
        """The logistic function."""
        return sigmoid(self.args[0])

    def _eval_is_positive(self):
        return self.args[0].is_extended_real


class expm1(_Stable):
    """exp(x) - 1 without cancellation near 0."""

    @staticmethod
    def textbook(x):
        """The form that overflows or cancels."""
        return sympy.exp(x) - 1

    @classmethod
    def eval(cls, x):
        """The value at 0, without a sum to round."""
        return sympy.S.Zero if x == 0 else None

    def fdiff(self, argindex=1):
        """The exponential."""
        return sympy.exp(self.args[0])


class log1p(_Stable):
    """log(1 + x) without cancellation near 0."""

    @staticmethod
    def textbook(x):
        """The form that overflows or cancels."""
        return sympy.log(1 + x)

    @classmethod
    def eval(cls, x):
        """The value at 0, without a sum to round."""
        return sympy.S.Zero if x == 0 else None

    def fdiff(self, argindex=1):
        """1 / (1 + x)."""
        return 1 / (1 + self.args[0])


def where(condition: Any, yes: Any, no: Any) -> Expr:
    """``yes`` where the condition holds, else ``no``.

    A comparison with NaN does not hold, so the branch with ``x`` is put last: NaN stays NaN.
    """
    yes, no = sympy.sympify(yes), sympy.sympify(no)
    match condition:
        case BooleanTrue():
            return yes
        case BooleanFalse():
            return no
        case Not():
            return where(condition.args[0], no, yes)
        case And():
            first, rest = condition.args[0], And(*condition.args[1:])
            return where(first, where(rest, yes, no), no)
        case Or():
            first, rest = condition.args[0], Or(*condition.args[1:])
            return where(first, yes, where(rest, yes, no))
        case Relational() if inner := condition.atoms(Piecewise):
            piecewise: Expr = max(inner, key=sympy.count_ops)
            *some, (last, _) = piecewise.args
            result = where(condition.xreplace({piecewise: last}), yes, no)
            for value, test in reversed(some):
                result = where(test, where(condition.xreplace({piecewise: value}), yes, no), result)
            return result
        case Relational():
            if yes.has(x) and not no.has(x):
                condition, yes, no = condition.negated, no, yes
            yes, no = _given(yes, condition), _given(no, condition.negated)
            return Piecewise((yes, condition), (no, True))
    raise TypeError("where needs a comparison")


def _given(branch: Expr, condition: Any) -> Expr:
    """The branch without the choices that ``condition`` has already made."""

    def chosen(*branches):
        (yes, test), *rest = branches
        if test == condition:
            return yes
        if test == condition.negated and len(rest) == 1:
            return rest[0][0]
        return Piecewise(*branches)

    return branch.replace(Piecewise, chosen)


def maximum(a, b) -> Expr:
    """The larger one; where both are equal the slope of the one without ``x``, as ReLU's."""
    a, b = sympy.sympify(a), sympy.sympify(b)
    return maximum(b, a) if b.has(x) and not a.has(x) else where(a <= b, b, a)


def minimum(a, b) -> Expr:
    """The smaller one; where both are equal the slope of the one without ``x``."""
    a, b = sympy.sympify(a), sympy.sympify(b)
    return minimum(b, a) if b.has(x) and not a.has(x) else where(a >= b, b, a)


def clip(u, low, high) -> Expr:
    """``u`` kept within [low, high]; outside and at the ends its slope is 0."""
    return where(u <= low, low, where(u >= high, high, u))


def log_sigmoid(u) -> Expr:
    """log(sigmoid(u))."""
    return -softplus(-u)


def sech(u) -> Expr:
    """1 / cosh(u), which neither overflows nor leaves inf/inf to its slope."""
    a = sympy.Abs(u)
    return 2 * sympy.exp(-a) * sigmoid(2 * a)


def log_cosh(u) -> Expr:
    """log(cosh(u))."""
    a = sympy.Abs(u)
    return a + softplus(-2 * a) - sympy.log(2)


CALLABLE: dict[str, tuple[int, Callable[..., Expr]]] = {
    "abs": (1, sympy.Abs),
    "arctan": (1, sympy.atan),
    "asinh": (1, sympy.asinh),
    "atan": (1, sympy.atan),
    "clip": (3, clip),
    "cos": (1, sympy.cos),
    "cosh": (1, sympy.cosh),
    "erf": (1, sympy.erf),
    "exp": (1, sympy.exp),
    "expm1": (1, expm1),
    "ln": (1, sympy.log),
    "log": (1, sympy.log),
    "log1p": (1, log1p),
    "log_cosh": (1, log_cosh),
    "log_sigmoid": (1, log_sigmoid),
    "max": (2, maximum),
    "min": (2, minimum),
    "relu": (1, lambda u: maximum(u, 0)),
    "sech": (1, sech),
    "sigmoid": (1, sigmoid),
    "sign": (1, sympy.sign),
    "sin": (1, sympy.sin),
    "sinh": (1, sympy.sinh),
    "softplus": (1, softplus),
    "sqrt": (1, sympy.sqrt),
    "tanh": (1, sympy.tanh),
    "where": (3, where),
}
"""What a formula may call: number of arguments, and what it means."""


def stabilised(expression: Expr) -> Expr:
    """The same function with forms that overflow or cancel replaced by stable ones.

    Known: max, min, steps and hyperbolic functions of SymPy; exp(u) - 1; log(1 + u);
    log(1 + exp(u)); log(cosh(u)); sinh over cosh; sign(x) f(|x|) with f(0) = 0, whose slope at 0
    would be lost with the sign; and sums of exponentials over sums of the same
    two, of which 1 / (1 + exp(-u)) and tanh written out are cases.
    """
    for kind, stable in _REWRITTEN:
        expression = expression.replace(kind, stable)
    expression = expression.replace(lambda e: e.is_Mul and e.has(sympy.sign), _odd)
    expression = _quotients(expression)
    expression = expression.replace(sympy.log, _logarithm)
    return expression.replace(lambda e: e.is_Add, _difference)


def _folded(function: Callable) -> Callable[..., Expr]:
    def fold(first, *others) -> Expr:
        for other in others:
            first = function(first, other)
        return first

    return fold


def _nested(*branches) -> Expr:
    *some, (last, condition) = branches
    if condition != sympy.true:
        raise TypeError("a Piecewise needs a last branch for all the rest")
    for value, test in reversed(some):
        last = where(test, value, last)
    return last


_REWRITTEN: tuple[tuple[type, Callable[..., Expr]], ...] = (
    (sympy.Max, _folded(maximum)),
    (sympy.Min, _folded(minimum)),
    (sympy.Heaviside, lambda u, *_: (1 + sympy.sign(u)) / 2),
    (sympy.sech, sech),
    (sympy.coth, lambda u: 1 / sympy.tanh(u)),
    (sympy.DiracDelta, lambda *_: sympy.S.Zero),
    (Piecewise, _nested),
)


def _odd(e: Expr) -> Expr:
    f = e / sympy.sign(x)
    if f.has(sympy.sign) or not f.has(sympy.Abs(x)) or f.subs(x, 0) != 0:
        return e
    return where(x > 0, f.subs(sympy.Abs(x), x), -f.subs(sympy.Abs(x), -x))


def _quotients(e: Expr) -> Expr:
    """From the outside in: a quotient is seen before its parts."""
    if e.is_Mul or e.is_Pow:
        e = _quotient(e)
    inner = tuple(_quotients(a) for a in e.args)
    return e if inner == e.args else e.func(*inner)


def _quotient(e: Expr) -> Expr:
    """Exponentials and hyperbolic functions over their like, by functions that do not overflow."""
    for factor in sympy.Mul.make_args(e):
        base, power = factor.as_base_exp()
        if not power.is_negative:
            continue
        rest = e / factor
        if isinstance(base, sympy.cosh):
            (u,) = base.args
            sine, over = sympy.sinh(u), -power
            many = rest.as_powers_dict()[sine]
            if 0 <= many <= over:
                return rest / sine**many * sympy.tanh(u) ** many * sech(u) ** (over - many)
        if base.is_Add and (stable := _over_exponentials(rest, base, power)) is not None:
            return stable
    return e


def _over_exponentials(rest: Expr, base: Expr, power: Expr) -> Expr | None:
    below = _exponentials(base)
    if below is None or len(below) != 2 or not all(c.is_positive for c in below.values()):
        return None
    (p, c), (q, d) = sorted(below.items(), key=lambda term: term[0] != 0)
    w = p - q - sympy.log(d / c)
    if power == -1:
        for factor in sympy.Mul.make_args(rest):
            above = _exponentials(factor)
            if above and factor != 1 and set(above) <= {p, q}:
                m, n = above.get(p, sympy.S.Zero) / c, above.get(q, sympy.S.Zero) / d
                ratio = m * sympy.tanh(w / 2) if m == -n else m * sigmoid(w) + n * sigmoid(-w)
                return rest / factor * ratio
    if p == 0:
        return rest * (sigmoid(w) / c) ** -power
    if p == -q and c == d:
        return rest * (sech(p) / (2 * c)) ** -power
    return None


def _exponentials(e: Expr) -> dict[Expr, Expr] | None:
    """{u: a} of a sum of terms a exp(u) with numbers a; None where there is something else."""
    found: dict[Expr, Expr] = {}
    for term in sympy.Add.make_args(e):
        scale, rest = term.as_coeff_Mul()
        if rest != 1 and not isinstance(rest, sympy.exp):
            return None
        found[sympy.S.Zero if rest == 1 else rest.args[0]] = scale
    return found


def _logarithm(u: Expr) -> Expr:
    if isinstance(u, sympy.cosh):
        return log_cosh(u.args[0])
    if not u.is_Add or sympy.S.One not in u.args:
        return sympy.log(u)
    rest = u - 1
    return softplus(rest.args[0]) if isinstance(rest, sympy.exp) else log1p(rest)


def _difference(e: Expr) -> Expr:
    for term in e.args:
        for power in term.atoms(sympy.exp):
            scale = term / power
            if -scale in e.args and not scale.has(power):
                kept = [t for t in e.args if t not in (term, -scale)]
                return sympy.Add(*kept, scale * expm1(power.args[0]))
    return e
