"""One step at a time: the cells against torch.nn's own."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import throughtime as tt

CELLS = {
    "rnn": (tt.nn.RNNCell, torch.nn.RNNCell, {}),
    "relu": (tt.nn.RNNCell, torch.nn.RNNCell, {"nonlinearity": "relu"}),
    "gru": (tt.nn.GRUCell, torch.nn.GRUCell, {}),
    "lstm": (tt.nn.LSTMCell, torch.nn.LSTMCell, {}),
}


def flat(value):
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("shape", [(4, 3), (3,)], ids=["batch", "alone"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_outputs_and_gradients_are_torchs(kind, bias, shape, given):
    make, torch_make, options = CELLS[kind]
    torch.manual_seed(5)
    ours = make(3, 5, bias, **options, dtype=torch.float64)
    torch.manual_seed(5)
    theirs = torch_make(3, 5, bias, **options, dtype=torch.float64)
    for (name, u), (wanted, v) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == wanted
        assert torch.equal(u, v)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    states = [
        torch.randn(*shape[:-1], 5, dtype=torch.float64, requires_grad=True)
        for _ in range(2 if kind == "lstm" else 1)
    ]
    hx = None if not given else tuple(states) if kind == "lstm" else states[0]
    found, wanted = flat(ours(x, hx)), flat(theirs(x, hx))
    for u, v in zip(found, wanted, strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)
    inputs = [x, *(states if given else [])]
    for u, v in zip(
        torch.autograd.grad(sum(o.sin().sum() for o in found), [*inputs, *ours.parameters()]),
        torch.autograd.grad(sum(o.sin().sum() for o in wanted), [*inputs, *theirs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("cell", "layer", "options"),
    [
        (tt.nn.RNNCell, tt.nn.RNN, {"nonlinearity": "elu", "leak": 0.3}),
        (tt.nn.GRUCell, tt.nn.GRU, {"activation": "prelu", "gate_activation": "hard_sigmoid"}),
        (tt.nn.LSTMCell, tt.nn.LSTM, {"activation": "elu", "output_activation": "swish"}),
    ],
)
def test_a_loop_over_a_cell_is_the_layer(cell, layer, options):
    step, whole = cell(3, 5, **options), layer(3, 5, **options)
    whole.load_state_dict({f"{name}_l0": value for name, value in step.state_dict().items()})
    x = torch.randn(6, 2, 3)
    state, ys = None, []
    for x_t in x:
        state = step(x_t, state)
        ys.append(flat(state)[0])
    torch.testing.assert_close(torch.stack(ys), whole(x)[0])


def test_learnable_parameters_have_no_suffix_and_travel():
    cell = tt.nn.RNNCell(3, 5, nonlinearity="swish")
    assert cell.nonlinearity_beta.shape == ()
    with torch.no_grad():
        cell.nonlinearity_beta.fill_(3.0)
    x = torch.randn(2, 3)
    for again in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(again(x), cell(x))
    assert not torch.equal(tt.nn.RNNCell(3, 5, nonlinearity="swish")(x), cell(x))


def test_the_order_of_arguments_is_torchs():
    cell = tt.nn.RNNCell(3, 5, False, "relu", "cpu", torch.float64)
    assert (cell.bias, cell.bias_ih, cell.nonlinearity.name) == (False, None, "relu")
    assert cell.weight_ih.dtype == torch.float64
    assert repr(cell) == "RNNCell(3, 5, bias=False, nonlinearity=relu)"
    assert tt.nn.LSTMCell(3, 5, True, "meta").weight_hh.device.type == "meta"
