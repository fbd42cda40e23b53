"""The vector functions and what formulas become, against mpmath and float64."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from throughtime.activations import Activation, activation, names
from throughtime.activations.emit import lane_maths
from throughtime.activations.emit.lanes import REALS
from throughtime.kernels.cpu.machine import host, program
from throughtime.kernels.cpu.pointwise import Cell, write_backward, write_forward

mpmath.mp.dps = 40
TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}
LARGEST = {"float32": 3.4e38, "float64": 1.7e308}

# truth, and a range of arguments as powers of ten, with both signs or the positive one only
FUNCTIONS = {
    "exp": (mpmath.exp, (-30, 2.9), True),
    "expm1": (mpmath.expm1, (-30, 2.9), True),
    "log": (mpmath.log, (-37, 38), False),
    "log1p": (mpmath.log1p, (-30, 37), False),
    "tanh": (mpmath.tanh, (-30, 3), True),
    "sech2": (lambda x: mpmath.sech(x) ** 2, (-30, 1.6), True),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), (-30, 1.9), True),
    "sigmoid_slope": (lambda x: 1 / (2 * mpmath.cosh(x / 2)) ** 2, (-30, 1.9), True),
    "half_one_plus_tanh": (lambda x: 1 / (1 + mpmath.exp(-2 * x)), (-30, 1.6), True),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), (-30, 1.9), True),
    "erf": (mpmath.erf, (-30, 2), True),
    "erfc": (mpmath.erfc, (-30, 0.6), True),
    "sin": (mpmath.sin, (-30, 4), True),
    "cos": (mpmath.cos, (-30, 4), True),
    "atan": (mpmath.atan, (-30, 30), True),
    "asinh": (mpmath.asinh, (-30, 30), True),
    "sinh": (mpmath.sinh, (-30, 2.9), True),
    "cosh": (mpmath.cosh, (-30, 2.9), True),
}


def vectorised(name: str, real: str, values: np.ndarray) -> np.ndarray:
    """The function on an array, its length made whole vectors."""
    width = host().width(REALS[real])
    a = np.resize(values.astype(real), -(-len(values) // width) * width)

    def write(assembly):
        function = getattr(lane_maths, name)
        with assembly.function("f", "aai", public=True) as (code, x, y, count):  # noqa: SIM117
            with code.repeat(count, step=code.width) as i:
                (y + i).put(function((x + i).lanes()))

    out = np.empty_like(a)
    program(f"test {name}", real, write).function("f", 3)(a.ctypes.data, out.ctypes.data, len(a))
    return out[: len(values)]


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_true_to_a_few_units_in_the_last_place(name, real):
    truth, (low, high), both = FUNCTIONS[name]
    x = np.logspace(low, high, 1500).astype(real)
    x = np.concatenate([x, -x]) if both else x
    found = vectorised(name, real, x)
    if name in ("sin", "cos", "erf", "tanh", "atan", "asinh"):
        assert np.abs(found).max() < 1e3
    true = [truth(mpmath.mpf(float(v))) for v in x]
    unit = np.finfo(real).eps
    for value, result, wanted in zip(x, found, true, strict=True):
        if abs(wanted) > LARGEST[real]:
            assert abs(result) >= LARGEST[real], (value, result)
        elif abs(wanted) < 3 * TINY[real]:
            assert abs(result) <= 4 * TINY[real], (value, result)
        else:
            limit = 4 + (2 * abs(float(value)) ** 2 if name == "erfc" and value > 1 else 0)
            error = abs(mpmath.mpf(float(result)) - wanted) / abs(wanted)
            if name in ("sin", "cos") and abs(value) > 1:
                error *= abs(wanted)
            assert error <= limit * unit, (value, result, wanted)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_ends_of_the_number_line_are_those_of_numpy(name, real):
    ends = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    like = {
        "erf": lambda x: torch.erf(torch.tensor(x)).numpy(),
        "erfc": lambda x: torch.erfc(torch.tensor(x)).numpy(),
        "sigmoid": lambda x: torch.sigmoid(torch.tensor(x)).numpy(),
        "softplus": lambda x: np.logaddexp(x, 0),
        "sech2": lambda x: np.where(np.isinf(x), 0, 1 - np.tanh(x) ** 2),
        "sigmoid_slope": lambda x: np.where(np.isinf(x), 0, x * 0 + 0.25),
        "half_one_plus_tanh": lambda x: (1 + np.tanh(x)) / 2,
        "atan": np.arctan,
        "asinh": np.arcsinh,
    }
    with np.errstate(all="ignore"):
        wanted = like.get(name, getattr(np, name, None))(ends)
    np.testing.assert_allclose(vectorised(name, real, ends), wanted, rtol=1e-6)


def machine_code(phi: Activation, real: str, a: np.ndarray):
    """φ, φ' and the gradient of the sum with respect to each parameter, at ``a``."""
    width = host().width(REALS[real])
    n = -(-len(a) // width) * width
    a = np.resize(a.astype(real), n)
    cell = Cell("elman", (phi,), (tuple(phi.parameters),))

    def write(assembly):
        write_forward(assembly, cell)
        write_backward(assembly, cell)

    code = program(cell.text, real, write)
    values = [p.default for p in phi.parameters.values()] or [0.0]
    theta = np.repeat(np.array(values, real)[:, None], n, 1)
    dtheta, y, slope = np.zeros_like(theta), np.empty(n, real), np.empty(n, real)
    ones = np.ones(n, real)
    at = [v.ctypes.data for v in (a, y, ones, slope, theta, dtheta)]
    vectors = n // width
    code.function("forward", 8)(at[0], n, at[1], at[1], 1, vectors, n, at[4])
    code.function("backward", 13)(at[0], n, 0, 0, at[2], 0, at[3], n, 1, vectors, n, at[4], at[5])
    return a, y, slope, dtheta


def near_a_kink(phi: Activation, a: torch.Tensor) -> torch.Tensor:
    """Where the slope jumps within the rounding of the argument or of a parameter."""
    step = 1e-6 * (1 + a.abs())
    jump = phi.derivative(a + step) - phi.derivative(a - step)
    return jump.abs() > 1e-3


ARGUMENTS = np.concatenate(
    [np.linspace(-100, 100, 20001), np.logspace(-30, 2, 1000), -np.logspace(-30, 2, 1000)]
)


@pytest.mark.parametrize("name", names())
def test_every_activation_and_its_slopes_in_float32(name):
    phi = activation(name)
    a, y, slope, by_theta = machine_code(phi, "float32", ARGUMENTS)
    wide = torch.tensor(a).double()
    smooth = ~near_a_kink(phi, wide).numpy()
    found = [("value", y, phi(wide), 1), ("slope", slope, phi.derivative(wide), 1)]
    for row, parameter in enumerate(phi.parameters):
        # a parameter that multiplies x has its rounding multiplied too
        truth, scale = phi.parameter_derivative(parameter)(wide), 1 + 2 * a.astype(float) ** 2
        found.append((parameter, by_theta[row], truth, scale))
    for what, ours, truth, scale in found:
        truth = truth.expand(wide.shape).numpy()
        error = np.abs(ours.astype(float) - truth)
        allowed = np.maximum(1e-6 * np.abs(truth), 1e-7 * scale)
        wrong = smooth & ~(error <= allowed)
        assert not wrong.any(), (what, a[wrong][:5], ours[wrong][:5], truth[wrong][:5])


@pytest.mark.parametrize("name", names())
def test_every_activation_and_its_slopes_in_float64(name):
    phi = activation(name)
    a, y, slope, by_theta = machine_code(phi, "float64", ARGUMENTS)
    wide = torch.tensor(a)
    smooth = ~near_a_kink(phi, wide).numpy()
    np.testing.assert_allclose(y, phi(wide), rtol=1e-13, atol=1e-14)
    truth = phi.derivative(wide).numpy()
    np.testing.assert_allclose(slope[smooth], truth[smooth], rtol=1e-12, atol=1e-14)
    for row, parameter in enumerate(phi.parameters):
        truth = phi.parameter_derivative(parameter)(wide).expand(wide.shape).numpy()
        np.testing.assert_allclose(by_theta[row][smooth], truth[smooth], rtol=1e-12, atol=1e-13)


FORMULAS = (
    "x**3 - 2/(x**2 + 1)*expm1(-x**2)",
    "abs(x)**1.7",
    "where(x > 0, x**0.3, -2)*cos(3*x)",
    "sign(x)*log1p(abs(x))",
    "log(1 + exp(2*x)) - cosh(x)/(1 + cosh(x))",
    "max(min(x, 2), -1) + sinh(x/50)",
    "(1 - tanh(3*x)**2)*x + 2 - 2*erf(x)",
    "(x**2 + 1)**(-1.5) + sqrt(x**2 + 2)**3",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_of_ones_own(formula):
    phi = Activation("own", formula)
    a, y, slope, _ = machine_code(phi, "float64", np.linspace(-30, 30, 3001) + 1e-3)
    wide = torch.tensor(a)
    smooth = ~near_a_kink(phi, wide).numpy()
    np.testing.assert_allclose(y, phi(wide), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        slope[smooth], phi.derivative(wide).numpy()[smooth], rtol=1e-10, atol=1e-11
    )


@pytest.mark.parametrize("name", names())
def test_nan_and_infinity_come_out_as_in_pytorch(name):
    phi = activation(name)
    ends = np.array([np.nan, np.inf, -np.inf, 0.0])
    _, y, _, _ = machine_code(phi, "float64", ends)
    truth = phi(torch.tensor(ends)).numpy()
    told = np.isnan(ends) | ~np.isnan(truth)  # PyTorch's hardswish of -inf is NaN
    np.testing.assert_allclose(y[:4][told], truth[told], rtol=1e-12)
