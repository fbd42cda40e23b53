from __future__ import annotations

from typing import Any

import pytest
import torch
from fleet_tasks import prepared, signs, spec_for

import throughtime as tt
from throughtime.fleet import ModelSpec, SequenceModel
from throughtime.fleet.stability import MOST_SEQUENCES, stability
from throughtime.tasks import Block, load

CANDIDATE = {"rnn": 0, "gru": 2, "lstm": 2}


def hand_built(cell: str, phi: Any, biases: list[float], width: float = 0.0) -> SequenceModel:
    """One unit a bias of the candidate; its other weights are 0, those of x are ``width``."""
    config = tt.activation(phi).to_config()
    model = SequenceModel(ModelSpec(cell, config, 1, 1, hidden_size=len(biases)))
    H, layer = len(biases), model.recurrent
    rows = slice(CANDIDATE[cell] * H, (CANDIDATE[cell] + 1) * H)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.startswith(("weight", "bias")):
                weight.zero_()
        layer.bias_ih_l0[rows] = torch.tensor(biases)
        layer.weight_ih_l0[rows] = width
    return model


def block(x: torch.Tensor, lengths: list[int] | None = None) -> Block:
    N, T, _ = x.shape
    steps = torch.full((N,), T) if lengths is None else torch.tensor(lengths)
    return Block(x, steps, torch.zeros(N))


@pytest.mark.parametrize("cell", CANDIDATE)
@pytest.mark.parametrize(
    ("phi", "biases", "dead", "saturated"),
    [
        ("relu", [-1.0, -0.1, 0.5, 2.0], 0.5, 0.0),
        ("tanh", [-9.0, 0.0, 1.0, 9.0], 0.0, 0.5),
        ("tanh", [30.0, 0.0, 1.0, 4.0], 0.25, 0.25),  # 1 - tanh(30)² is 0 in single precision
        ("hard_tanh", [-2.0, 0.0, 0.5, 2.0], 0.5, 0.0),
        ("leaky_relu", [-9.0, -1.0, 1.0, 9.0], 0.0, 0.0),
        ("identity", [-9.0, 0.0, 1.0, 9.0], 0.0, 0.0),
        ("elu", [-9.0, -1.0, 1.0, 9.0], 0.0, 0.25),
        ("squared_relu", [-1.0, 0.001, 0.05, 1.0], 0.25, 0.25),
    ],
)
def test_dead_saturated_and_healthy_units_are_told_apart(cell, phi, biases, dead, saturated):
    seen = stability(hand_built(cell, phi, biases), block(torch.randn(5, 6, 1)))
    assert seen == {"dead_units": dead, "saturated_units": saturated}


def test_one_step_with_a_slope_is_enough_not_to_be_dead():
    model = hand_built("rnn", "relu", [-1.0, -1.0], width=1.0)
    x = torch.zeros(4, 10, 1)
    assert stability(model, block(x))["dead_units"] == 1
    x[2, 7] = 5.0
    assert stability(model, block(x)) == {"dead_units": 0, "saturated_units": 1}


def test_saturated_is_95_in_100_steps():
    model = hand_built("rnn", "tanh", [9.0], width=-9.0)
    x = torch.zeros(1, 100, 1)
    x[0, :5] = 1.0
    assert stability(model, block(x))["saturated_units"] == 1
    x[0, 5] = 1.0
    assert stability(model, block(x))["saturated_units"] == 0


@pytest.mark.parametrize("cell", CANDIDATE)
def test_steps_beyond_the_lengths_are_not_counted(cell):
    model = hand_built(cell, "relu", [-1.0], width=1.0)
    x = torch.zeros(3, 8, 1)
    x[:, 4:] = 7.0
    assert stability(model, block(x, [4, 2, 3]))["dead_units"] == 1
    assert stability(model, block(x, [4, 5, 3]))["dead_units"] == 0


def test_the_recurrence_itself_counts():
    """A unit that x alone would leave dead is woken by the state, one step later."""
    model = hand_built("rnn", "relu", [1.0, -0.5])
    with torch.no_grad():
        model.recurrent.weight_hh_l0[1, 0] = 1.0
    assert stability(model, block(torch.zeros(2, 1, 1)))["dead_units"] == 0.5
    assert stability(model, block(torch.zeros(2, 2, 1)))["dead_units"] == 0


def test_what_was_learnt_decides_unit_by_unit():
    phi = tt.Activation("scaled", "tanh(k*x)", k=1.0, learnable={"k": "unit"})
    model = hand_built("rnn", phi, [3.0, 3.0])
    with torch.no_grad():
        model.recurrent.nonlinearity_k_l0.copy_(torch.tensor([0.1, 2.0]))
    assert stability(model, block(torch.zeros(2, 3, 1)))["saturated_units"] == 0.5


def test_at_most_so_many_sequences_are_looked_at_and_none_is_none():
    model = hand_built("rnn", "relu", [-1.0], width=1.0)
    x = torch.zeros(MOST_SEQUENCES + 1, 2, 1)
    x[-1] = 5.0
    assert stability(model, block(x))["dead_units"] == 1
    assert stability(model, block(x[:0])) == {}


@pytest.mark.parametrize("cell", CANDIDATE)
def test_networks_of_every_kind_are_looked_at_and_left_as_they_were(cell):
    data = prepared(signs())
    tokens = prepared(load("copy_memory", T=1, N=40))
    for given, spec in ((data, {"bidirectional": True, "num_layers": 2}), (tokens, {})):
        model = SequenceModel(spec_for(given, cell=cell, phi="swish", **spec))
        before = {k: v.clone() for k, v in model.state_dict().items()}
        seen = stability(model, given.validation)
        assert set(seen) == {"dead_units", "saturated_units"}
        assert all(0 <= share <= 1 for share in seen.values())
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
