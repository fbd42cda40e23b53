"""What formulas become in Triton, against PyTorch in float64."""

from __future__ import annotations

import inspect
import linecache

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from throughtime.activations import Activation, activation, names
from throughtime.activations.emit import triton as emitter
from throughtime.activations.emit import triton_maths as maths
from throughtime.activations.emit.program import NotEmittable

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH = 512


@triton.jit
def applied(a, y, slope, theta, dtheta, N, VALUE: tl.constexpr, BOTH: tl.constexpr,
            LEARN: tl.constexpr, WIDTH: tl.constexpr):  # fmt: skip
    columns = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    inside = columns < N
    x = tl.load(a + columns, mask=inside, other=0.0)[None, :]
    value, derivative = BOTH(x, theta, N, columns, inside)
    alone = VALUE(x, theta, N, columns, inside)
    same = (alone == value) | ((alone != alone) & (value != value))
    both = tl.where(same, value, -12345.0)
    tl.store(y + columns[None, :], both, mask=inside[None, :])
    tl.store(slope + columns[None, :], derivative, mask=inside[None, :])
    one = maths.number(1.0, x)
    LEARN(x, one, inside[None, :], theta, dtheta, N, columns, inside)


def run(phi: Activation, learnt, x: np.ndarray, dtype: torch.dtype):
    """φ, φ' and each ∂φ/∂parameter at ``x``."""
    a = torch.tensor(x, dtype=dtype, device=DEVICE)
    N = len(a)
    defaults = [[p.default] for p in phi.parameters.values()] or [[0.0]]
    theta = torch.tensor(defaults, dtype=dtype, device=DEVICE).repeat(1, N)
    y, slope = torch.full_like(a, torch.nan), torch.full_like(a, torch.nan)
    dtheta = torch.zeros_like(theta)
    found = emitter.emit(phi, learnt)
    grid = (-(-N // WIDTH),)
    applied[grid](
        a, y, slope, theta, dtheta, N, found.value, found.both, found.learn, WIDTH,
        enable_fp_fusion=True,
    )  # fmt: skip
    return a, y, slope, dtheta


def near_a_kink(phi: Activation, a: torch.Tensor) -> torch.Tensor:
    """Where the slope jumps within the rounding of the argument or of a parameter."""
    step = 1e-6 * (1 + a.abs())
    jump = phi.derivative(a + step) - phi.derivative(a - step)
    return jump.abs() > 1e-3


ARGUMENTS = np.concatenate(
    [np.linspace(-100, 100, 4001), np.logspace(-30, 2, 500), -np.logspace(-30, 2, 500)]
)


@pytest.mark.parametrize("learnt", [False, True], ids=["numbers", "learnt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", names())
def test_every_activation_and_its_slopes(name, dtype, learnt):
    phi = activation(name)
    if learnt and not phi.parameters:
        pytest.skip("no parameters")
    wanted = tuple(phi.parameters) if learnt else ()
    a, y, slope, by_theta = run(phi, wanted, ARGUMENTS, dtype)
    wide = a.double()
    smooth = ~near_a_kink(phi, wide)
    single = dtype == torch.float32
    # a parameter is rounded to the format of the tensors, which moves φ by its own error
    found = [("value", y, phi(wide)), ("slope", slope, phi.derivative(wide))]
    for row, parameter in enumerate(phi.parameters):
        truth = phi.parameter_derivative(parameter)(wide) if learnt else torch.zeros_like(wide)
        found.append((parameter, by_theta[row], truth))
    relative, absolute = (1e-6, 1e-7) if single else (1e-12, 1e-13)
    for what, ours, truth in found:
        scale = 1 + 2 * wide**2 if learnt else 1
        error = (ours.double() - truth.expand(wide.shape)).abs()
        allowed = torch.maximum(relative * truth.abs(), absolute * torch.as_tensor(scale))
        wrong = smooth & ~(error <= allowed)
        assert not wrong.any(), (what, a[wrong][:5], ours[wrong][:5], truth[wrong][:5])


FORMULAS = (
    "x**3 - 2/(x**2 + 1)*expm1(-x**2)",
    "abs(x)**1.7",
    "where(x > 0, x**0.3, -2)*cos(3*x)",
    "sign(x)*log1p(abs(x))",
    "log(1 + exp(2*x)) - cosh(x)/(1 + cosh(x))",
    "max(min(x, 2), -1) + sinh(x/50)",
    "(1 - tanh(3*x)**2)*x + 2 - 2*erf(x)",
    "(x**2 + 1)**(-1.5) + sqrt(x**2 + 2)**3",
    "tanh(k*x)/k + 0.1*(1 + tanh(2))*sin(x)*cos(x)",
)


@pytest.mark.parametrize("learnt", [(), ("k",)], ids=["numbers", "learnt"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_of_ones_own(formula, learnt):
    phi = Activation("own", formula, k=0.7)
    a, y, slope, dtheta = run(phi, learnt, np.linspace(-30, 30, 1001) + 1e-3, torch.float64)
    smooth = ~near_a_kink(phi, a)
    torch.testing.assert_close(y, phi(a), rtol=1e-11, atol=1e-12)
    truth = phi.derivative(a)
    torch.testing.assert_close(slope[smooth], truth[smooth], rtol=1e-10, atol=1e-11)
    if learnt:
        truth = phi.parameter_derivative("k")(a).expand(a.shape)
        torch.testing.assert_close(dtheta[0], truth, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", names())
def test_nan_and_infinity_come_out_as_in_pytorch(name):
    phi = activation(name)
    ends = np.array([np.nan, np.inf, -np.inf, 0.0])
    for dtype in (torch.float32, torch.float64):
        a, y, _, _ = run(phi, (), ends, dtype)
        truth = phi(a)
        told = a.isnan() | ~truth.isnan()  # PyTorch's hardswish of -inf is NaN
        torch.testing.assert_close(y[told], truth[told], equal_nan=True)


def test_the_same_formula_is_the_same_functions_and_its_source_is_found_again():
    first, again = (emitter.emit(Activation("own", "x*sigmoid(1.3*x)")) for _ in range(2))
    assert first == again
    linecache.clearcache()
    assert "maths.sigmoid" in inspect.getsource(first.value.fn)


def test_what_is_no_operation_is_refused():
    import sympy

    from throughtime.activations.primitives import x

    phi = activation("tanh")
    strange = Activation("strange", "x")
    strange.expression = sympy.gamma(x)
    assert emitter.source(phi)
    with pytest.raises(NotEmittable, match="gamma"):
        emitter.source(strange)
