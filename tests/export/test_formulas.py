"""Formulas as ONNX operators, run in ONNX Runtime and held against NumPy in float64."""

from __future__ import annotations

import doctest

import numpy as np
import onnx
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from scipy import special

import throughtime as tt
from throughtime.activations.emit import onnx as emitter
from throughtime.activations.emit.onnx import Graph, Named, Value, named

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime, the extra 'onnx', is not installed")

GRID = np.concatenate(
    [np.linspace(-100, 100, 2001), np.linspace(-3, 3, 601), [1e-7, -1e-7, 1e-3, -1e-3, 0.0]]
)
DIGITS = {"float32": 1e-6, "float64": 1e-13}


def run(phi: tt.Activation, u: np.ndarray) -> np.ndarray:
    graph = Graph(u.dtype)
    theta = [graph.constant(p.default) for p in phi.parameters.values()]
    symbols = [sympy.Symbol(p, real=True) for p in phi.parameters]
    y = emitter.emit(phi.expression, symbols)(Value("u", graph), *theta)
    graph.nodes.append(helper.make_node("Identity", [y.name], ["y"]))
    kind = helper.np_dtype_to_tensor_dtype(u.dtype)
    ends = [helper.make_tensor_value_info(name, kind, ["n"]) for name in ("u", "y")]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "g", ends[:1], ends[1:], [*graph.tensors.values()]),
        opset_imports=[helper.make_opsetid("", 22)],
        ir_version=10,
    )
    onnx.checker.check_model(proto, full_check=True)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"u": u})[0]


def assert_same(found: np.ndarray, truth: np.ndarray, digits: float):
    finite = np.abs(truth) < np.finfo(found.dtype).max
    assert (np.isfinite(found) == finite).all()
    off = np.abs(found - truth)[finite] / np.maximum(1, np.abs(truth[finite]))
    assert off.max() < digits


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize("name", tt.activations())
def test_every_activation_of_the_catalogue(name, kind):
    phi, u = tt.activation(name), GRID.astype(kind)
    found = run(phi, u)
    assert found.dtype == u.dtype
    assert_same(found, phi(u.astype("float64")), DIGITS[kind])


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize(
    "name", [n for n in tt.activations() if np.isnan(tt.activation(n)(np.array(np.nan)))]
)
def test_what_is_no_number_stays_none(name, kind):
    assert np.isnan(run(tt.activation(name), np.array([np.nan], kind))).all()


FUNCTIONS = {
    "asinh(x)": np.arcsinh,
    "atan(x)": np.arctan,
    "cos(x)": np.cos,
    "cosh(x/2)": lambda u: np.cosh(u / 2),
    "sinh(x/2)": lambda u: np.sinh(u / 2),
    "erf(x)": special.erf,
    "expm1(x/2)": lambda u: np.expm1(u / 2),
    "log1p(x^2)": lambda u: np.log1p(u**2),
    "log(1 + x^2)": lambda u: np.log1p(u**2),
    "softplus(x)": lambda u: np.logaddexp(u, 0),
    "sigmoid(x)": special.expit,
    "sign(x)": np.sign,
    "sqrt(abs(x) + 1)": lambda u: np.sqrt(np.abs(u) + 1),
    "1/sqrt(1 + x^2)": lambda u: 1 / np.sqrt(1 + u**2),
    "(1 + x^2)^0.3": lambda u: (1 + u**2) ** 0.3,
    "1.5^clip(x, -9, 9)": lambda u: 1.5 ** np.clip(u, -9, 9),
    "(2 - 3*x)/(1 + x^4)": lambda u: (2 - 3 * u) / (1 + u**4),
    "where(x > 1 and x <= 2, 1, where(x < -1 or x >= 3, -1, 0))": lambda u: np.select(
        [(u > 1) & (u <= 2), (u < -1) | (u >= 3)], [1, -1], 0.0
    ),
    "where(x == 0, 5, x)": lambda u: np.where(u == 0, 5, u),
    "where(x != 0, x, 5)": lambda u: np.where(u == 0, 5, u),
    "0.25": lambda u: np.full_like(u, 0.25),
}


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize("formula", FUNCTIONS)
def test_every_function_of_formulas(formula, kind):
    u = GRID.astype(kind)
    truth = FUNCTIONS[formula](u.astype("float64"))
    assert_same(run(tt.Activation("f", formula), u), truth, DIGITS[kind])


@pytest.mark.parametrize(
    ("formula", "truth"),
    [("log1p(x)", np.log1p), ("expm1(x)", np.expm1), ("sinh(x)", np.sinh), ("erf(x)", special.erf)],
)
def test_digits_near_zero_are_kept(formula, truth):
    u = np.array([1e-18, 1e-12, -3e-8, 2e-5, 0.01])
    if formula == "log1p(x)":
        phi = tt.Activation("f", "sign(x)*log1p(abs(x))")
        truth = lambda u: np.sign(u) * np.log1p(np.abs(u))  # noqa: E731
    else:
        phi = tt.Activation("f", formula)
    np.testing.assert_allclose(run(phi, u), truth(u), rtol=1e-14)


TERMS = st.recursive(
    st.sampled_from(["x", "0.5", "2", "b"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*"), inner, inner).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(
            st.sampled_from(["tanh", "sigmoid", "atan", "sin", "erf", "abs", "softplus", "relu"]),
            inner,
        ).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} > 0.3*x, {t[1]}, {t[2]})"),
    ),
    max_leaves=5,
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(TERMS)
def test_formulas_drawn_at_random(formula):
    phi, u = tt.Activation("f", formula, b=0.7), np.linspace(-5, 5, 41) + 0.0123
    np.testing.assert_allclose(run(phi, u), phi(u), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("max(x, 0)", Named("Relu")),
        ("relu(x)", Named("Relu")),
        ("1/(1 + exp(-x))", Named("Sigmoid")),
        ("x/(abs(x) + 1)", Named("Softsign")),
        ("x", Named("Affine", 1.0, 0.0)),
        ("2*x - 1", Named("Affine", 2.0, -1.0)),
        ("-tanh(x)", Named("ScaledTanh", -1.0, 1.0)),
        ("where(x >= 0, x, x/4)", Named("LeakyRelu", 0.25)),
        ("where(x < 0, x/4, x)", Named("LeakyRelu", 0.25)),
        ("where(x > 0, x, 2*(exp(x) - 1))", Named("Elu", 2.0)),
        ("clip(x/4 + 1/2, 0, 1)", Named("HardSigmoid", 0.25, 0.5)),
        ("clip(x, 0, 1)", Named("HardSigmoid", 1.0, 0.0)),
        ("where(x <= -3, 0, where(x >= 3, 1, x/6 + 0.4))", None),
        ("clip(x, 0, 2)", None),
        ("softplus(x)", None),
        ("where(x > 1, x, 0)", None),
        ("where(x > 0, 2*x, x/4)", None),
        ("where(x > 0, x, expm1(2*x))", None),
        ("tanh(x) + 1", None),
        ("tanh(x)^2", None),
    ],
)
def test_which_formulas_onnx_has_a_name_for(formula, expected):
    assert named(tt.Activation("f", formula)) == expected


def test_parameters_enter_a_name():
    assert named(tt.activation("leaky_relu", slope=0.3)) == Named("LeakyRelu", 0.3)
    assert named(tt.activation("celu", alpha=2.0)) is None


def test_the_examples_run():
    result = doctest.testmod(emitter)
    assert result.attempted > 0 and result.failed == 0
