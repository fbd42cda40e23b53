from __future__ import annotations

import json

import pytest
import torch
from fleet_tasks import prepared, signs, spec_for
from torch import Tensor

import throughtime as tt
from throughtime.errors import ModelError
from throughtime.fleet import ModelSpec, SequenceModel
from throughtime.tasks import load


def last_state(layer, suffix: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """All states (T, H) and the last of one direction of a tanh layer, step by step."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (getattr(layer, f"{name}_{suffix}") for name in names)
    h, states = torch.zeros(layer.hidden_size, dtype=x.dtype), []
    for x_t in x.flip(0) if suffix.endswith("reverse") else x:
        h = torch.tanh(w_ih @ x_t + b_ih + w_hh @ h + b_hh)
        states.append(h)
    if suffix.endswith("reverse"):
        states.reverse()
    return torch.stack(states), h


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_readout_sees_each_sequences_own_last_states(bidirectional, num_layers):
    data = prepared(signs(N=40, T=7))
    spec = spec_for(data, bidirectional=bidirectional, num_layers=num_layers)
    model = SequenceModel(spec).double()
    x, lengths = data.train.x.double(), data.train.lengths
    assert len(lengths.unique()) > 3
    outputs = model(x, lengths)
    directions = ("", "_reverse") if bidirectional else ("",)
    for n, T in enumerate(lengths.tolist()):
        below, last = x[n, :T], []
        for layer in range(num_layers):
            ran = [last_state(model.recurrent, f"l{layer}{d}", below) for d in directions]
            below, last = torch.cat([y for y, _ in ran], -1), [h for _, h in ran]
        expected = model.readout.weight @ torch.cat(last) + model.readout.bias
        torch.testing.assert_close(outputs[n], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_last_states_of_gated_cells_are_those_of_torch_on_packed_input(cell):
    data = prepared(signs(N=40, T=7))
    model = SequenceModel(spec_for(data, cell=cell, bidirectional=True)).double()
    theirs = getattr(torch.nn, cell.upper())(2, 8, batch_first=True, bidirectional=True).double()
    theirs.load_state_dict(model.recurrent.state_dict())
    x, lengths = data.train.x.double(), data.train.lengths
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    last = theirs(packed)[1]
    h_n = last[0] if cell == "lstm" else last
    expected = model.readout(torch.cat([h_n[0], h_n[1]], -1))
    torch.testing.assert_close(model(x, lengths), expected, rtol=1e-10, atol=1e-12)


def test_per_step_there_is_an_output_at_every_step_of_the_embedded_tokens():
    data = prepared(load("copy_memory", T=1, N=40))
    model = SequenceModel(spec_for(data))
    tokens = data.train.x[:3]
    states, _ = model.recurrent(model.embedding(tokens))  # type: ignore[misc]
    outputs = model(tokens, data.train.lengths[:3])
    assert outputs.shape == (3, tokens.shape[1], 10)
    torch.testing.assert_close(outputs, model.readout(states))


def test_a_specification_is_json_and_gives_the_same_network_again():
    phi = tt.Activation("mine", "x*sigmoid(b*x)", b=(1.5, 0.0, 9.0), learnable={"b": "unit"})
    spec = ModelSpec("lstm", phi.to_config(), 3, 2, hidden_size=4, recurrent_init="critical")
    again = ModelSpec(**json.loads(json.dumps(spec.to_config(), allow_nan=False)))
    assert again == spec
    model, other = SequenceModel(spec), SequenceModel(again)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 5, 3)
    assert torch.equal(model(x), other(x))


@pytest.mark.parametrize("cell", ["cnn", "RNN", ""])
def test_an_unknown_cell_is_refused_by_name(cell):
    with pytest.raises(ModelError, match=f"'{cell}'.*rnn, gru, lstm"):
        ModelSpec(cell, tt.activation("tanh").to_config(), 1, 1)
