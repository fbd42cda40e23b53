"""The catalogue against PyTorch's own functions, and against what every activation must obey."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F

import throughtime as tt
from throughtime.testing import check_activation

KINKS = torch.tensor([-3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0, 20.0], dtype=torch.float64)
GRID = torch.cat([torch.linspace(-100, 100, 20_001, dtype=torch.float64), KINKS])


def shrunk(x, bias):
    return F.softshrink(x, -bias)


TORCH = {
    "identity": (lambda x: x * 1, {}),
    "tanh": (torch.tanh, {}),
    "relu": (torch.relu, {}),
    "leaky_relu": (lambda x, slope: F.leaky_relu(x, slope), {"slope": (-1, 1)}),
    "prelu": (lambda x, slope: F.prelu(x, torch.tensor(slope).to(x)), {"slope": (-1, 1)}),
    "elu": (lambda x, alpha: F.elu(x, alpha), {"alpha": (0, 3)}),
    # PyTorch rounds 1/alpha of celu to single precision: powers of two keep it exact
    "celu": (lambda x, alpha: F.celu(x, alpha), {"alpha": (0.5, 1.0, 2.0, 4.0)}),
    "selu": (torch.selu, {}),
    "gelu": (F.gelu, {}),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), {}),
    "silu": (F.silu, {}),
    "swish": (lambda x, beta: F.silu(x * beta) / beta, {"beta": (0.2, 3)}),
    "mish": (F.mish, {}),
    "softplus": (lambda x: F.softplus(x, threshold=40.0), {}),
    "softsign": (F.softsign, {}),
    "sigmoid": (torch.sigmoid, {}),
    "log_sigmoid": (F.logsigmoid, {}),
    "hard_tanh": (F.hardtanh, {}),
    # PyTorch's own slope of hardsigmoid is 1/6 in single precision: this is its definition
    "hard_sigmoid": (lambda x: F.relu6(x + 3) / 6, {}),
    "hard_swish": (F.hardswish, {}),
    "relu6": (F.relu6, {}),
    "clipped_relu": (lambda x, ceiling: F.hardtanh(x, 0.0, ceiling), {"ceiling": (0.5, 30)}),
    "thresholded_relu": (lambda x, theta: F.threshold(x, theta, 0.0), {"theta": (-2, 2)}),
    "arctan": (torch.atan, {}),
    "asinh": (torch.asinh, {}),
    "sin": (torch.sin, {}),
    "erf": (torch.erf, {}),
    "modrelu": (shrunk, {"bias": (-2, -0.1)}),
    "squared_relu": (lambda x: torch.relu(x) ** 2, {}),
}
# What the functions without a namesake in PyTorch are, written from their papers another way
PAPERS = {
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "penalized_tanh": lambda x: torch.maximum(torch.tanh(x), 0.25 * torch.tanh(x)),
    "elliott": lambda x: 0.5 * F.softsign(x) + 0.5,
    "gaussian": lambda x: torch.exp(-x.square()),
    "bent_identity": lambda x: (torch.sqrt(x.square() + 1) - 1) / 2 + x,
    "isrlu": lambda x: torch.clamp(x, min=0) + torch.clamp(x, max=0) / (1 + x.square()).sqrt(),
    "isru": lambda x: x / (1 + x.square()).sqrt(),
    "rectified_tanh": lambda x: torch.tanh(torch.relu(x)),
    "power_law": lambda x: 0.04 * torch.relu(x) ** 2,
    "symlog": lambda x: torch.copysign(torch.log1p(x.abs()), x),
    "snake": lambda x: x + (1 - torch.cos(2 * x)) / 2,
}
SAME_BY_DEFAULT = ({"silu", "swish"}, {"elu", "celu"})  # other parameters tell them apart


def slope(function, at):
    at = at.clone().requires_grad_()
    y = function(at)
    return torch.autograd.grad(y.sum(), at)[0] if y.requires_grad else torch.zeros_like(at)


def drawn(bounds, seed):
    if len(bounds) > 2:
        return bounds[seed % len(bounds)]
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=torch.Generator().manual_seed(seed)).item()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", TORCH)
def test_values_and_slopes_are_pytorchs(name, seed):
    function, bounds = TORCH[name]
    if seed and not bounds:
        return
    theta = {key: drawn(b, seed) for key, b in bounds.items()}
    phi = tt.activation(name)
    target = slope(lambda x: function(x, **theta), GRID)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(phi(GRID, **theta), function(GRID, **theta), **close)
    torch.testing.assert_close(slope(lambda x: phi(x, **theta), GRID), target, **close)
    torch.testing.assert_close(phi.derivative(GRID, **theta), target, **close)
    other = tt.activation(name, **theta)
    assert torch.equal(other(GRID), phi(GRID, **theta))


@pytest.mark.parametrize("name", PAPERS)
def test_values_and_slopes_are_the_papers(name):
    phi, function, grid = tt.activation(name), PAPERS[name], GRID[GRID != 0]
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(phi(grid), function(grid), **close)
    torch.testing.assert_close(phi.derivative(grid), slope(function, grid), rtol=1e-11, atol=1e-12)


def test_every_entry_is_held_against_something():
    assert {*TORCH, *PAPERS} == set(tt.activations())


@pytest.mark.parametrize("name", tt.activations())
def test_every_entry_keeps_the_contract(name):
    check_activation(name)


@pytest.mark.parametrize("name", tt.activations())
def test_the_slope_at_a_kink_is_autograds(name):
    phi = tt.activation(name)
    at = torch.tensor([0.0, *phi.facts.kinks], dtype=torch.float64)
    torch.testing.assert_close(phi.derivative(at), slope(phi, at), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", tt.activations())
def test_each_is_whole_documented_saved_and_different(name):
    phi = tt.activation(name)
    assert phi.reference and phi.note and phi.note_zh and phi.latex
    again = pickle.loads(pickle.dumps(phi))
    assert again == phi and hash(again) == hash(phi) and again.note_zh == phi.note_zh
    others = [n for n in tt.activations() if n != name and {n, name} not in SAME_BY_DEFAULT]
    assert not [n for n in others if torch.equal(tt.activation(n)(GRID), phi(GRID))]


def test_the_issues_names_are_there_and_the_listing_is_the_package():
    import throughtime.activations

    wanted = (
        "identity tanh relu leaky_relu prelu elu celu selu gelu gelu_tanh silu swish mish softplus "
        "softsign sigmoid log_sigmoid hard_tanh hard_sigmoid hard_swish relu6 clipped_relu "
        "thresholded_relu scaled_tanh penalized_tanh elliott arctan asinh sin gaussian "
        "bent_identity isrlu squared_relu rectified_tanh"
    )
    assert set(wanted.split()) <= set(tt.activations())
    assert throughtime.activations is tt.activations


def test_a_value_a_unit_broadcasts_over_the_last_axis():
    phi = tt.activation("prelu")
    theta = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    bound = phi.bind({"slope": theta})
    y = bound(-torch.ones(4, 3))
    torch.testing.assert_close(y[0], torch.tensor([0.0, -0.5, -1.0]))
    y.sum().backward()
    torch.testing.assert_close(theta.grad, torch.full((3,), -4.0))
    torch.testing.assert_close(bound.derivative(-torch.ones(4, 3))[0], theta)


def test_other_defaults_keep_what_was_written_about_the_function():
    phi = tt.activation("leaky_relu", slope=0.2)
    assert phi.note == tt.activation("leaky_relu").note and phi.reference
    assert phi.parameters["slope"].default == 0.2 and phi != tt.activation("leaky_relu")
