"""Facts against what is known by analysis, published figures and dense grids."""

from __future__ import annotations

import math
import pickle
import time

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import throughtime as tt
from throughtime.activations.quadrature import gaussian_mean
from throughtime.errors import ActivationError

INF = math.inf
LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772

# range, steepest slope, dead zones, saturated zones, monotone, smoothness, odd, homogeneous
KNOWN = {
    "identity": ("(−∞, ∞)", 1, [], [], "increasing", INF, True, True),
    "tanh": ("(−1, 1)", 1, [], [math.atanh(math.sqrt(0.99))], "increasing", INF, True, False),
    "relu": ("[0, ∞)", 1, [(-INF, 0)], [], "increasing", 0, False, True),
    "leaky_relu": ("(−∞, ∞)", 1, [], [], "increasing", 0, False, True),
    "prelu": ("(−∞, ∞)", 1, [], [], "increasing", 0, False, True),
    "elu": ("(−1, ∞)", 1, [], [-math.log(100)], "increasing", 1, False, False),
    "celu": ("(−1, ∞)", 1, [], [-math.log(100)], "increasing", 1, False, False),
    "selu": ("(−1.758, ∞)", LAMBDA * ALPHA, [], [-math.log(100)], "increasing", 0, False, False),
    "softplus": ("(0, ∞)", 1, [], [-math.log(99)], "increasing", INF, False, False),
    "softsign": ("(−1, 1)", 1, [], [9.0], "increasing", 1, True, False),
    "sigmoid": ("(0, 1)", 0.25, [], [None], "increasing", INF, False, False),
    "log_sigmoid": ("(−∞, 0)", 1, [], [math.log(99)], "increasing", INF, False, False),
    "hard_tanh": ("[−1, 1]", 1, [(-INF, -1), (1, INF)], [], "increasing", 0, True, False),
    "hard_sigmoid": ("[0, 1]", 1 / 6, [(-INF, -3), (3, INF)], [], "increasing", 0, False, False),
    "hard_swish": ("[−0.375, ∞)", 1.5, [(-INF, -3)], [], None, 0, False, False),
    "relu6": ("[0, 6]", 1, [(-INF, 0), (6, INF)], [], "increasing", 0, False, False),
    "clipped_relu": ("[0, 20]", 1, [(-INF, 0), (20, INF)], [], "increasing", 0, False, False),
    "thresholded_relu": ("[0, ∞)", 1, [(-INF, 1)], [], "increasing", -1, False, False),
    "arctan": ("(−1.571, 1.571)", 1, [], [math.sqrt(99)], "increasing", INF, True, False),
    "asinh": ("(−∞, ∞)", 1, [], [math.sqrt(9999)], "increasing", INF, True, False),
    "sin": ("[−1, 1]", 1, [], [], None, INF, True, False),
    "gaussian": ("(0, 1]", math.sqrt(2 / math.e), [], [None], None, INF, False, False),
    "bent_identity": ("(−∞, ∞)", 1.5, [], [], "increasing", INF, False, False),
    "isrlu": ("(−1, ∞)", 1, [], [-math.sqrt(100 ** (2 / 3) - 1)], "increasing", 2, False, False),
    "squared_relu": ("[0, ∞)", INF, [(-INF, 0)], [], "increasing", 1, False, False),
    "rectified_tanh": (
        "[0, 1)", 1, [(-INF, 0)], [math.atanh(math.sqrt(0.99))], "increasing", 0, False, False,
    ),
    "modrelu": ("(−∞, ∞)", 1, [(-0.1, 0.1)], [], "increasing", 0, True, False),
    "symlog": ("(−∞, ∞)", 1, [], [99.0], "increasing", 1, True, False),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_facts_are_those_of_analysis(name):
    span, steepest, dead, saturated, monotone, smooth, odd, homogeneous = KNOWN[name]
    facts = tt.activation(name).facts
    assert str(facts.range) == span
    assert facts.steepest == pytest.approx(steepest, rel=1e-9)
    assert facts.lipschitz == (INF if smooth < 0 else facts.steepest)
    assert [(z.low, z.high) for z in facts.zones if z.kind == "dead"] == dead
    ends = [e for z in facts.zones if z.kind == "saturated" for e in (z.low, z.high)]
    finite = [e for e in ends if math.isfinite(e)]
    expected = [e for e in saturated if e is not None]
    assert bool(finite) == bool(saturated)
    for end in expected:
        assert min(abs(e - end) for e in finite) < 1e-6
    if odd:
        assert finite == pytest.approx([-e for e in reversed(finite)])
    assert (facts.monotone, facts.smoothness) == (monotone, smooth)
    assert (facts.odd, facts.homogeneous) == (odd, homogeneous)
    assert facts.zero_mean or not odd


@pytest.mark.parametrize("name", tt.activations())
def test_facts_hold_on_a_dense_grid_and_beside_scipy(name):
    phi = tt.activation(name)
    facts = phi.facts
    beside = [k + side for k in facts.kinks for side in (-1e-9, 1e-9)]
    x = np.unique([*np.linspace(-200, 200, 200_001), *np.linspace(-8, 8, 160_001), *beside])
    values, slopes = phi(x), phi.derivative(x)
    size = np.abs(values).max()
    assert values.min() >= facts.range.low - 1e-12 * size
    assert values.max() <= facts.range.high + 1e-12 * size
    if facts.range.low_attained:
        assert values.min() == pytest.approx(facts.range.low, abs=1e-8)
    elif math.isfinite(facts.range.low):
        assert values.min() == pytest.approx(facts.range.low, abs=0.02)
    if facts.range.high_attained:
        assert values.max() == pytest.approx(facts.range.high, abs=1e-8)
    if math.isfinite(facts.steepest):
        assert (1 - 1e-4) * facts.steepest <= np.abs(slopes).max() <= (1 + 1e-12) * facts.steepest
    for zone in facts.zones:
        inside = np.abs(slopes[(x > zone.low) & (x < zone.high)])
        bound = 0 if zone.kind == "dead" else 0.01 * facts.steepest
        assert (inside <= bound * (1 + 1e-9)).all()
    outside = np.ones_like(x, dtype=bool)
    for zone in facts.zones:
        outside &= (x < zone.low) | (x > zone.high)
    assert (slopes[outside] == 0).mean() < 0.01
    falls = (np.diff(values) < -1e-12 * size).any()
    rises = (np.diff(values) > 1e-12 * size).any()
    assert {"increasing": rises and not falls, "decreasing": falls and not rises}.get(
        facts.monotone, rises and falls
    )
    assert facts.value_at_zero == phi(0.0) and facts.slope_at_zero == phi.derivative(0.0)
    for found, function in ((facts.mean, phi), (facts.mean_squared_slope(), slope_squared(phi))):
        expected, _ = integrate.quad(
            lambda z, f=function: f(z) * stats.norm.pdf(z), -12, 12,
            points=sorted({0.0, *facts.kinks} & set(np.clip([0.0, *facts.kinks], -12, 12))),
            limit=400, epsabs=1e-12,
        )  # fmt: skip
        assert found == pytest.approx(expected, abs=1e-9)


def slope_squared(phi):
    return lambda z: phi.derivative(z) ** 2


# research/evidence.md, section 3: E[phi'(z)^2] for z ~ N(0, s^2) at s = 0.1, 0.5, 1, 2
PASSED = {
    "tanh": (0.981, 0.717, 0.464, 0.256),
    "relu": (0.500, 0.500, 0.500, 0.500),
    "elu": (0.929, 0.762, 0.668, 0.594),
    "silu": (0.253, 0.300, 0.380, 0.466),
    "softsign": (0.757, 0.377, 0.228, 0.125),
    "sigmoid": (0.062, 0.056, 0.045, 0.029),
}


@pytest.mark.parametrize("name", PASSED)
def test_the_squared_slope_is_the_published_one(name):
    facts = tt.activation(name).facts
    for s, expected in zip((0.1, 0.5, 1.0, 2.0), PASSED[name], strict=True):
        assert facts.mean_squared_slope(s) == pytest.approx(expected, abs=1.1e-3)


def test_squared_slopes_and_gains_with_a_closed_form():
    assert tt.activation("leaky_relu", slope=0.2).facts.mean_squared_slope() == pytest.approx(0.52)
    for s in (0.1, 1.0, 3.0):
        sin = tt.activation("sin").facts.mean_squared_slope(s)
        assert sin == pytest.approx((1 + math.exp(-2 * s * s)) / 2, rel=1e-12)
        erf = tt.activation("erf").facts.mean_squared_slope(s)
        assert erf == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * s * s), rel=1e-12)
        square = tt.activation("squared_relu").facts.mean_squared_slope(s)
        assert square == pytest.approx(2 * s * s, rel=1e-12)
    relu = tt.activation("relu").facts
    assert relu.critical_gain == pytest.approx(math.sqrt(2), rel=1e-12)
    assert relu.mean == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-12)
    tanh = tt.activation("tanh").facts
    assert tanh.critical_gain_at(0) == 1
    for s in (0.3, 1.0, 2.0):
        assert tanh.critical_gain_at(s) ** 2 * tanh.mean_squared_slope(s) == pytest.approx(1)
    assert tanh.critical_gain == tanh.critical_gain_at(1.0)
    assert tt.Activation("constant", "3").facts.critical_gain == INF


@pytest.mark.parametrize("s", [-1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_refused(s):
    with pytest.raises(ActivationError, match=f"at least 0; {s!r} was given"):
        tt.activation("tanh").facts.mean_squared_slope(s)


OWN = {
    "exp(x)": ("(0, ∞)", INF, INF),
    "cosh(x)": ("[1, ∞)", INF, INF),
    "x^3": ("(−∞, ∞)", INF, INF),
    "x*sin(x)": ("(−∞, ∞)", INF, INF),
    "x + sin(10*x)": ("(−∞, ∞)", 11, INF),
    "where(x == 0, 1, sin(x)/x)": ("[−0.2172, 1]", 0.43618, INF),
    "sqrt(abs(x) + 0.01)": ("[0.1, ∞)", 5, 0),
    "tanh(100*(x - 3))": ("(−1, 1)", 100, INF),
    "x^4/(1 + x^4)": ("[0, 1)", 4 * 0.6**0.75 / 1.6**2, INF),
    "exp(-exp(-x))": ("(0, 1)", math.exp(-1), INF),
    "sign(x)": ("[−1, 1]", 0, -1),
    "abs(x)^1.5": ("[0, ∞)", INF, 1),
    "log1p(log1p(abs(x)))": ("[0, ∞)", 1, 0),
    "log_cosh(x)": ("[0, ∞)", 1, INF),
    "sech(x)": ("(0, 1]", 0.5, INF),
    "-relu(-x)": ("(−∞, 0]", 1, 0),
    "max(min(x, 1), -1)": ("[−1, 1]", 1, 0),
    "where(0 < x and x < 1, x*x, 0.5*x)": ("(−∞, ∞)", 2, -1),
    "1e-6*tanh(x)": ("(−1e−06, 1e−06)", 1e-6, INF),
    "1e6*tanh(x/1e6)": ("(−1e+06, 1e+06)", 1, INF),
    "2 - exp(-x^2)": ("[1, 2)", math.sqrt(2 / math.e), INF),
    "3": ("[3, 3]", 0, INF),
    "x*tanh(x)": ("[0, ∞)", 1.199679, INF),
    "x^2": ("[0, ∞)", INF, INF),
    "log(1 + x^2)": ("[0, ∞)", 1, INF),
    "abs(sin(x))": ("[0, 1]", 1, 0),
    "abs(sin(100*x))": ("[0, 1]", 100, 0),
    "abs(sin(0.01*x))": ("[0, 1]", 0.01, 0),
    "max(sin(x), 0)": ("[0, 1]", 1, 0),
}


@pytest.mark.parametrize("formula", OWN)
def test_facts_of_formulas_of_ones_own(formula):
    span, steepest, smooth = OWN[formula]
    phi = tt.Activation("mine", formula)
    start = time.perf_counter()
    facts = phi.facts
    assert time.perf_counter() - start < 10  # a hang, not a speed, is what this catches
    assert str(facts.range) == span
    assert facts.steepest == pytest.approx(steepest, rel=1e-5)
    assert facts.smoothness == smooth


def test_facts_follow_the_parameters_and_are_cached_and_picklable():
    phi = tt.activation("elu", alpha=0.5)
    assert phi.facts is phi.facts
    assert str(phi.facts.range) == "(−0.5, ∞)" and phi.facts.kinks == (0.0,)
    again = pickle.loads(pickle.dumps(phi.facts))
    assert again == phi.facts and again.mean_squared_slope(0.5) == phi.facts.mean_squared_slope(0.5)


@pytest.mark.parametrize("s", [0.01, 1.0, 50.0])
def test_gaussian_means_are_exact(s):
    for power, moment in ((2, 1), (4, 3), (6, 15)):
        assert gaussian_mean(lambda z, p=power: z**p, s) == pytest.approx(moment * s**power)
    narrow = gaussian_mean(lambda z: np.exp(-((z - 0.3) ** 2) / 2e-8), s, [0.3])
    width = math.sqrt(s * s + 1e-8)
    expected = 1e-4 / width * math.exp(-0.5 * (0.3 / width) ** 2)
    assert narrow == pytest.approx(expected, rel=1e-9, abs=1e-30)


def test_tensors_are_not_needed():
    assert isinstance(tt.activation("tanh")(0.5), float)
    assert isinstance(tt.activation("tanh").derivative(np.zeros(2, np.float32)), np.ndarray)
    assert tt.activation("gelu")(np.zeros(2, np.float32)).dtype == np.float32
    assert torch.is_tensor(tt.activation("tanh")(torch.zeros(2)))
