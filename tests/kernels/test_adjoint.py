"""What the kernels do one way at a time."""

from __future__ import annotations

import pytest
import torch

from throughtime import nn
from throughtime.activations import activation
from throughtime.kernels.adjoint import Recurrence


@pytest.mark.parametrize(
    ("cell", "leak"), [("elman", 1.0), ("elman", 0.3), ("gru", 1.0), ("lstm", 1.0)]
)
def test_what_is_told_is_the_same_whatever_else_is_told(cell, leak):
    T, B, width, H = 7, 5, 3, 11
    gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
    torch.manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64)  # noqa: E731
    weights = draw(gates * H, width), draw(gates * H, H) / 4, draw(gates * H), draw(gates * H)
    places = [activation(n) for n in ("tanh", "sigmoid", "tanh")[: min(gates, 3)]]
    states = (draw(B, H), draw(B, H) if cell == "lstm" else None)
    layer = Recurrence(cell, places, weights, leak)
    y, kept = layer.forward(draw(T, B, width), *states, None)
    dy, dh_n = draw(T, B, H), draw(B, H)
    whole = layer.back(*states, y, kept, None, dy, dh_n)
    for tap in (("total",), ("delta",), ("total", "carried"), ()):
        found = layer.back(*states, y, kept, None, dy, dh_n, tap)
        assert {"delta", "total", "carried"} & set(found) <= set(tap)
        assert all(torch.equal(tensor, whole[name]) for name, tensor in found.items())
    assert torch.equal(whole["total"][-1], dy[-1] + dh_n)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_a_frozen_recurrent_weight_changes_no_other_gradient(cell):
    layer, x = getattr(nn, cell)(3, 9).double(), torch.randn(6, 4, 3, dtype=torch.float64)
    found = []
    for trained in (True, False):
        layer.zero_grad()
        layer.weight_hh_l0.requires_grad_(trained)
        layer(x)[0].square().sum().backward()
        found.append({n: p.grad for n, p in layer.named_parameters() if n != "weight_hh_l0"})
    assert all(torch.equal(grad, found[1][name]) for name, grad in found[0].items())
