"""The catalogue against PyTorch's own functions, and against what every activation must obey."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F

import throughtime as tt

KINKS = torch.tensor([-3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0, 20.0], dtype=torch.float64)
GRID = torch.cat([torch.linspace(-100, 100, 20_001, dtype=torch.float64), KINKS])
FAR = torch.cat([torch.linspace(-1e4, 1e4, 20_001), torch.linspace(-6, 6, 5001), KINKS.float()])

TORCH = {
    "tanh": ({}, torch.tanh),
    "relu": ({}, torch.relu),
    "leaky_relu": ({"slope": 0.3}, lambda x: F.leaky_relu(x, 0.3)),
    "prelu": ({"slope": 0.3}, lambda x: F.prelu(x, torch.tensor(0.3, dtype=x.dtype))),
    "elu": ({"alpha": 1.7}, lambda x: F.elu(x, 1.7)),
    # PyTorch rounds 1/alpha of celu to single precision: a power of two keeps it exact
    "celu": ({"alpha": 2.0}, lambda x: F.celu(x, 2.0)),
    "selu": ({}, torch.selu),
    "gelu": ({}, F.gelu),
    "gelu_tanh": ({}, lambda x: F.gelu(x, approximate="tanh")),
    "silu": ({}, F.silu),
    "mish": ({}, F.mish),
    "softsign": ({}, F.softsign),
    "sigmoid": ({}, torch.sigmoid),
    "log_sigmoid": ({}, F.logsigmoid),
    "hard_tanh": ({}, F.hardtanh),
    # PyTorch's own slope of hardsigmoid is 1/6 in single precision: this is its definition
    "hard_sigmoid": ({}, lambda x: F.relu6(x + 3) / 6),
    "hard_swish": ({}, F.hardswish),
    "relu6": ({}, F.relu6),
    "thresholded_relu": ({"theta": 0.4}, lambda x: F.threshold(x, 0.4, 0.0)),
    "arctan": ({}, torch.atan),
    "asinh": ({}, torch.asinh),
    "sin": ({}, torch.sin),
}

SAME_BY_DEFAULT = ({"silu", "swish"}, {"elu", "celu"})  # other parameters tell them apart


def slope(function, at):
    at = at.clone().requires_grad_()
    y = function(at)
    return torch.autograd.grad(y.sum(), at)[0] if y.requires_grad else torch.zeros_like(at)


@pytest.mark.parametrize("name", TORCH)
def test_values_and_slopes_are_pytorchs(name):
    parameters, function = TORCH[name]
    phi = tt.activation(name, **parameters)
    torch.testing.assert_close(phi(GRID), function(GRID), rtol=1e-12, atol=1e-12)
    target = slope(function, GRID)
    torch.testing.assert_close(slope(phi, GRID), target, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(phi.derivative(GRID), target, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", tt.activations())
def test_nothing_overflows_in_single_precision(name):
    phi = tt.activation(name)
    assert phi(FAR).isfinite().all()
    assert phi.derivative(FAR).isfinite().all()
    assert slope(phi, FAR).isfinite().all()
    assert slope(phi.derivative, FAR).isfinite().all()


@pytest.mark.parametrize("name", tt.activations())
def test_the_symbolic_slope_is_autograds(name):
    phi = tt.activation(name)
    torch.testing.assert_close(phi.derivative(GRID), slope(phi, GRID), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in tt.activations() if tt.activation(n).parameters])
def test_every_parameter_changes_the_value_by_its_derivative(name):
    phi = tt.activation(name)
    for key, parameter in phi.parameters.items():
        theta = torch.tensor(parameter.default, dtype=torch.float64, requires_grad=True)
        # GRID + 0.0371 keeps clear of the kinks, where the derivative is a convention
        value = phi(GRID + 0.0371, **{key: theta}).sum()
        target = torch.zeros_like(theta)
        if value.requires_grad:
            (target,) = torch.autograd.grad(value, theta)
        found = phi.parameter_derivative(key)(GRID + 0.0371).sum()
        torch.testing.assert_close(found, target, rtol=1e-10, atol=1e-10)
        other = phi.with_parameters(**{key: parameter.default * 1.5})
        assert not torch.equal(other(GRID), phi(GRID))


@pytest.mark.parametrize("name", tt.activations())
def test_each_is_whole_documented_saved_and_different(name):
    phi = tt.activation(name)
    assert phi.reference and phi.note and phi.note_zh and phi.latex
    assert tt.Activation.from_config(phi.to_config()) == phi
    assert pickle.loads(pickle.dumps(phi)) == phi
    others = [n for n in tt.activations() if n != name and {n, name} not in SAME_BY_DEFAULT]
    assert not [n for n in others if torch.equal(tt.activation(n)(GRID), phi(GRID))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", tt.activations())
def test_shape_and_dtype_are_kept(name, dtype):
    phi = tt.activation(name)
    for shape in [(), (0,), (3, 0, 2), (2, 5)]:
        a = torch.randn(shape).to(dtype)
        assert phi(a).shape == phi.derivative(a).shape == a.shape
        assert phi(a).dtype == phi.derivative(a).dtype == dtype


def test_there_are_at_least_thirty_and_the_listing_is_the_package():
    import throughtime.activations

    assert len(tt.activations()) >= 30
    assert throughtime.activations is tt.activations


def test_a_value_a_unit_broadcasts_over_the_last_axis():
    phi = tt.activation("prelu")
    theta = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    y = phi.bind({"slope": theta})(-torch.ones(4, 3))
    torch.testing.assert_close(y[0], torch.tensor([0.0, -0.5, -1.0]))
    y.sum().backward()
    torch.testing.assert_close(theta.grad, torch.full((3,), -4.0))
