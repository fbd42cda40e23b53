"""Formulas of one's own, good and bad; hostile text is refused unread."""

from __future__ import annotations

import math
import os
import pickle
import re
import time

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import throughtime as tt
from throughtime.errors import ActivationError
from throughtime.language import LANGUAGES

A = torch.linspace(-5, 5, 101, dtype=torch.float64)
X = sympy.Symbol("x")


@pytest.mark.parametrize(
    "formula",
    [
        "x*sigmoid(beta*x)",
        "x/(1 + exp(-beta*x))",
        X / (1 + sympy.exp(-sympy.Symbol("beta") * X)),
        sympy.Symbol("x", positive=True)
        * tt.activations.primitives.sigmoid(sympy.Symbol("beta") * X),
        lambda x, beta: x / (1 + sympy.exp(-beta * x)),
    ],
    ids=["text", "textbook text", "sympy", "sympy with assumptions", "function"],
)
def test_the_ways_to_write_a_formula_agree_and_are_saved(formula):
    phi = tt.Activation("mine", formula, beta=2.0, learnable=("beta",))
    torch.testing.assert_close(phi(A), A * torch.sigmoid(2 * A), rtol=1e-12, atol=1e-12)
    for again in (tt.Activation.from_config(phi.to_config()), pickle.loads(pickle.dumps(phi))):
        assert again == phi and torch.equal(again(A), phi(A))


@pytest.mark.parametrize(
    ("formula", "true"),
    [
        ("x^2", lambda x: x**2),
        ("1 + x^2", lambda x: 1 + x**2),
        ("2^x", lambda x: 2**x),
        ("-x**2", lambda x: -(x**2)),
        ("2*π*x", lambda x: 2 * math.pi * x),
        ("where(x > 1, x, where(x < -1, -x, 0.5))", lambda x: abs(x) if abs(x) > 1 else 0.5),
        ("where(-1 < x <= 1, x, 0)", lambda x: x if -1 < x <= 1 else 0),
        ("where(x > 1 or x < -2, 1, 2)", lambda x: 1 if x > 1 or x < -2 else 2),
        ("where(not (x > 1 and x < 2), 1, x)", lambda x: x if 1 < x < 2 else 1),
        ("where(x == 0, 1, sin(x)/x)", lambda x: math.sin(x) / x if x else 1),
        ("where(x != 0, 3, 4)", lambda x: 3 if x else 4),
        ("max(x, 0.5) + min(1, x)", lambda x: max(x, 0.5) + min(1, x)),
        ("max(min(max(x, -2), 1), x/2)", lambda x: max(min(max(x, -2), 1), x / 2)),
        ("clip(x, -1.5, 2)", lambda x: min(max(x, -1.5), 2)),
        ("sign(x)*abs(x)^1.5", lambda x: math.copysign(abs(x) ** 1.5, x)),
        ("log_cosh(x)", lambda x: math.log(math.cosh(x))),
        ("ln(x*x + 1)", lambda x: math.log(x * x + 1)),
        ("sech(x)", lambda x: 1 / math.cosh(x)),
        ("sinh(x)/cosh(x)", math.tanh),
        ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", math.tanh),
        ("arctan(x)*expm1(-abs(x))", lambda x: math.atan(x) * math.expm1(-abs(x))),
    ],
)
def test_formulas_mean_what_they_say(formula, true):
    phi = tt.Activation("mine", formula)
    expected = [true(v) for v in A.tolist()]
    assert phi(A).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert phi(A.numpy()).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert tt.Activation.from_config(phi.to_config())(A).tolist() == phi(A).tolist()


def written(inner):
    one = [f"{f}({{}})" for f in ("tanh", "sigmoid", "sin", "atan", "asinh", "abs", "softplus")]
    two = ["({} + {})", "({} - {})", "({} * {})", "max({}, {})", "min({}, {})", "{}/(1 + abs({}))"]
    return st.one_of(
        st.tuples(st.sampled_from(one), inner).map(lambda t: t[0].format(t[1])),
        st.tuples(st.sampled_from(two), inner, inner).map(lambda t: t[0].format(*t[1:])),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} > 0.1, {t[1]}, {t[2]})"),
    )


FORMULAS = st.recursive(
    st.sampled_from(["x", "x", "0.5", "2", "(-1.25)", "k"]), written, max_leaves=7
)
NUMBERS = {
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "softplus": lambda v: math.log1p(math.exp(v)) if v < 30 else v,
    "where": lambda condition, yes, no: yes if condition else no,
    **{f: getattr(math, f) for f in ("tanh", "sin", "atan", "asinh")},
    "abs": abs,
    "max": max,
    "min": min,
}


@settings(max_examples=60, deadline=None)
@given(FORMULAS, st.lists(st.floats(-6, 6), min_size=1, max_size=4), st.floats(-2, 2))
def test_any_formula_gives_what_python_gives(formula, points, k):
    """The judge is Python's own arithmetic on this test's own text."""
    phi = tt.Activation("mine", formula, k=0.7)
    points = [p + 0.00137 for p in points]  # not on a kink
    at = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    expected = [eval(formula, {"__builtins__": {}}, NUMBERS | {"x": p, "k": k}) for p in points]
    found = phi(at, k=k)
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if found.requires_grad:
        (slopes,) = torch.autograd.grad(found.sum(), at)
        torch.testing.assert_close(phi.derivative(at.detach(), k=k), slopes, rtol=1e-8, atol=1e-8)
    assert tt.Activation.from_config(phi.to_config()) == phi


@pytest.mark.parametrize(
    ("text", "stable"),
    [
        ("1/(1+exp(-x))", torch.sigmoid),
        ("1.0/(1.0+exp(-x))", torch.sigmoid),
        ("exp(x)/(1+exp(x))", torch.sigmoid),
        ("x/(1+exp(-x))", torch.nn.functional.silu),
        ("2/(1+exp(-2*x)) - 1", torch.tanh),
        ("(1-exp(-2*x))/(1+exp(-2*x))", torch.tanh),
        ("log(1+exp(x))", torch.nn.functional.softplus),
        ("x*tanh(log(1+exp(x)))", torch.nn.functional.mish),
        ("log(1+abs(x))", lambda x: torch.log1p(x.abs())),
        ("log(cosh(x))", lambda x: x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2)),
        ("1/cosh(x)", lambda x: 1 / torch.cosh(x)),
        ("sinh(x)/cosh(x)", torch.tanh),
        ("where(x > 0, x, exp(x) - 1)", torch.nn.functional.elu),
    ],
)
def test_textbook_forms_that_overflow_are_made_stable(text, stable):
    phi = tt.Activation("mine", text)
    far = torch.cat([torch.linspace(-1e4, 1e4, 2001), torch.linspace(-3, 3, 601)])
    torch.testing.assert_close(phi(far), stable(far), rtol=1e-5, atol=2e-6)
    at = far.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(phi(at).sum(), at)
    assert phi.derivative(far).isfinite().all() and slopes.isfinite().all()


HOSTILE = [
    "__import__('os').system('touch /tmp/throughtime-was-here')",
    "().__class__.__bases__[0].__subclasses__()",
    "x.__class__",
    "x.subs(x, 1)",
    "(lambda: x)()",
    "[x for x in (1,)]",
    "{x: 1}",
    "open('f')",
    "exec('1')",
    "eval('x')",
    "getattr(x, 'diff')",
    "tanh.__globals__",
    "tanh(x).real",
    "x if x else 1",
    "x; x",
    "x = 1",
    "(y := x)",
    "f'{x}'",
    "'x'",
    "b'x'",
    "x[0]",
    "x @ x",
    "x // 2",
    "x % 2",
    "x << 2",
    "x and x",
    "not x",
    "yield x",
    "await x",
    "9**9**9",
    "9**9**9**9*x",
    "((((((((9**16)**16)**16)**16)**16)**16)**16)**16)*x",
    "(((((((((2*x)**16)**16)**16)**16)**16)**16)**16)**16)**16",
    "(((((x**16)**16)**16)**16)**16)**16",
    "(((((((1/1000)**16)**16)**16)**16)**16)**16)**16*x",
    "x**exp(exp(exp(9)))",
    "exp(exp(exp(exp(9))))*x",
    "cosh(1e12)*x",
    "x**1000",
    "x**x",
    "(-2)**x",
    "1e300*x",
    "1e999*x",
    "9" * 400 + "*x",
    "-" * 200 + "x",
    "tanh(" * 70 + "x" + ")" * 70,
    "(" * 300 + "x" + ")" * 300,
    "x+" * 600 + "x",
    "",
    "   ",
    "# x",
    "tanh(x",
    "tanh(x, x)",
    "tanh()",
    "tanh(x=x)",
    "tanh(*x)",
    "tanh",
    "x > 0",
    "where(x, 1, 2)",
    "where(x > 0, x > 1, 2)",
    "x + True",
    "True",
    "None",
    "...",
    "x/0",
    "log(0)*x",
    "sqrt(-1)*x",
    "1j*x",
    "log(x)",
    "1/x",
    "sqrt(x)",
    "sqrt(abs(x))",
    "exp(exp(x))",
    "nan*x",
    "x\x00",
    "\x00",
    "x\n+1",
    "公式",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_formula_is_refused_at_once(text):
    start = time.perf_counter()
    with pytest.raises(ActivationError) as refused:
        tt.Activation("mine", text)
    assert time.perf_counter() - start < 2
    assert not os.path.exists("/tmp/throughtime-was-here")
    for language in LANGUAGES:
        assert "mine" in refused.value.text(language)
    shown = text if len(text) <= 120 else text[:117]
    assert repr(shown)[1:-1].rstrip("'") in str(refused.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tt.activation("rleu"), "'rleu'. The nearest: relu"),
        (lambda: tt.activation("LeakyReLU"), "'LeakyReLU'. The nearest: leaky_relu"),
        (lambda: tt.activation("xyzzy"), "The nearest: identity, tanh, relu"),
        (lambda: tt.activation("x*tanh(x)"), "'x*tanh(x)'. If it is a formula of your own"),
        (lambda: tt.Activation("mine", "x*(x > 0)"), "'x * (x > 0)' uses a comparison as if"),
        (lambda: tt.Activation("mine", "x if x > 0 else 0"), "'x if x > 0 else 0' uses a comp"),
        (lambda: tt.activation("elu")("half"), "elu was given values of type <U4"),
        (lambda: tt.activation("elu")(None), "elu was given values of type object"),
        (lambda: tt.activation("elu")(np.array([1j])), "elu was given values of type complex128"),
        (lambda: tt.activation("elu")(A.long()), "elu was given values of type torch.int64"),
        (lambda: tt.activation(torch.tanh), "given by its name, such as 'elu'"),
        (lambda: tt.activation(None), "a NoneType was given"),
        (lambda: tt.activation("elu", beta=1.0), "no parameter 'beta'. It has: alpha"),
        (lambda: tt.activation("elu", alpha=-1.0), "alpha = -1.0 must be"),
        (lambda: tt.activation("elu", alpha=float("nan")), "alpha = nan must be"),
        (lambda: tt.activation("elu", alpha="2"), "alpha = '2' must be"),
        (lambda: tt.activation("elu", alpha=True), "alpha = True must be"),
        (lambda: tt.activation("elu")(A, alpha=-2.0), "alpha = -2.0 must be"),
        (lambda: tt.activation("elu")(A, slope=1.0), "no parameter 'slope'"),
        (lambda: tt.activation("elu").bind({"slope": A}), "no parameter 'slope'"),
        (lambda: tt.activation("tanh").bind({"slope": A}), "no parameter 'slope'. It has: -"),
        (lambda: tt.activation("elu").parameter_derivative("b"), "no parameter 'b'"),
        (lambda: tt.Activation("mine", "x*gamma"), "'gamma', which is neither x nor a parameter"),
        (lambda: tt.Activation("mine", X * sympy.Symbol("g")), "'g', which is neither x nor"),
        (lambda: tt.Activation("mine", "foo(x)"), "calls 'foo'"),
        (lambda: tt.Activation("mine", sympy.gamma(X)), "calls 'gamma'"),
        (lambda: tt.Activation("mine", "tanh(x, x)"), "tanh takes 1 argument(s), 2 given"),
        (lambda: tt.Activation("mine", "x", learnable=("beta",)), "cannot learn 'beta'"),
        (lambda: tt.Activation("mine", "x*k", k=1.0, learnable={"k": "each"}), "'each' was given"),
        (lambda: tt.Activation("mine", "x*k", k="three"), "k = 'three' must be"),
        (lambda: tt.Activation("mine", "x*k", k=(3.0, 0.0, 1.0)), "k = 3.0 must be"),
        (lambda: tt.Activation("mine", "x*k", k=(3.0, 1.0)), "k = (3.0, 1.0) must be"),
        (lambda: tt.Activation("mine", "x*tanh", tanh=1.0), "'tanh' cannot name a parameter"),
        (lambda: tt.Activation("mine", "x*pi", pi=1.0), "'pi' cannot name a parameter"),
        (lambda: tt.Activation("mine", "x", **{"lambda": 1.0}), "'lambda' cannot name"),
        (lambda: tt.Activation("mine", "x", **{"a b": 1.0}), "'a b' cannot name"),
        (lambda: tt.Activation("mine", "1/x"), "is inf at x = 0"),
        (lambda: tt.Activation("mine", "log(x)"), "is -inf at x = 0"),
        (lambda: tt.Activation("mine", "log(x + 1)"), "is -inf at x = -1"),
        (lambda: tt.Activation("mine", "sqrt(abs(x))"), "The slope of mine"),
        (lambda: tt.Activation("mine", "x/k", k=0.0), "'x/k', is nan"),
        (lambda: tt.Activation("mine", 5), "The formula of mine is a int"),
        (lambda: tt.Activation("mine", X > 0), "The formula of mine is a StrictGreaterThan"),
        (lambda: tt.Activation("mine", lambda x: "x"), "The formula of mine is a str"),
        (lambda: tt.Activation("mine", lambda x: max(x, 0)), "use sympy.tanh, sympy.Max"),
        (lambda: tt.Activation("mine", lambda x: math.tanh(x)), "cannot be used: TypeError"),
        (lambda: tt.Activation("mine", torch.tanh), "cannot be used"),
        (lambda: tt.Activation("", "x"), "needs a name, some text; '' was given"),
        (lambda: tt.Activation(3, "x"), "needs a name, some text; 3 was given"),
        (lambda: tt.Activation.from_config({"name": "mine"}), "does not describe an activation"),
        (lambda: tt.Activation.from_config([1]), "does not describe an activation"),
    ],
)
def test_errors_speak_in_the_persons_own_words(make, message):
    with pytest.raises(ActivationError, match=re.escape(message)) as refused:
        make()
    assert refused.value.text("zh") != refused.value.text("en")


def test_sympys_own_choices_are_understood():
    at = A.numpy()
    pairs = [
        (sympy.Max(X, 0), np.maximum(at, 0)),
        (sympy.Min(X, 1, 2 * X), np.minimum(np.minimum(at, 1), 2 * at)),
        (sympy.Heaviside(X - 0.123) * X, np.where(at > 0.123, at, 0)),
        (sympy.sech(X), 1 / np.cosh(at)),
        (sympy.Piecewise((X, sympy.And(X > -1, X < 1)), (0, True)), at * (np.abs(at) < 1)),
        (sympy.Piecewise((-1, X < -1), (1, X > 1), (X, True)), np.clip(at, -1, 1)),
        (sympy.sqrt(X**2), np.abs(at)),
        (sympy.Float("1.0507009873554805") * X, 1.0507009873554805 * at),
    ]
    for formula, true in pairs:
        phi = tt.Activation("mine", formula)
        np.testing.assert_allclose(phi(at), true, rtol=1e-13, atol=1e-13)
        assert tt.Activation.from_config(phi.to_config()) == phi
    with pytest.raises(ActivationError, match="a last branch for all the rest"):
        tt.Activation("mine", sympy.Piecewise((X, X > 0), (0, X < 0)))


def test_parameters_may_have_any_name_that_formulas_do_not_use():
    for name in ("a", "self", "torch", "t0", "p1", "np", "β", "formula_"):
        phi = tt.Activation("mine", f"x*{name}", **{name: 2.0})
        assert torch.equal(phi(A), 2 * A) and torch.equal(phi(A, **{name: 3.0}), 3 * A)
        assert torch.equal(phi.derivative(A, **{name: 3.0}), torch.full_like(A, 3))


def test_one_learnable_name_may_stand_alone():
    phi = tt.Activation("mine", "x*beta", beta=1.0, learnable="beta")
    assert phi.learnable == ("beta",) and phi.parameters["beta"].learnable == "shared"


def test_equal_formulas_are_equal_and_others_are_not():
    one, same = (tt.Activation("mine", "x*k", k=1.0) for _ in range(2))
    assert one == same and hash(one) == hash(same) and len({one, same}) == 1
    assert one != tt.Activation("mine", "x*k", k=2.0)
    assert one != tt.Activation("mine", "x*k", k=(1.0, 0.0, 2.0))
    assert one != tt.Activation("mine", "k*x", k=1.0) and one != "mine"


def test_importing_the_package_leaves_sympy_out(fresh_python):
    import subprocess

    code = (
        "import sys; sys.path.insert(0, 'src'); import throughtime; print('sympy' in sys.modules)"
    )
    said = subprocess.run([fresh_python, "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == "False"
