"""What does not fit is refused with the person's own words, in both languages."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import throughtime as tt
from throughtime.errors import LayerError

X = torch.zeros(5, 2, 3)
nn = tt.nn

BUILT = [
    (lambda: nn.RNN(0, 4), "input_size = 0"),
    (lambda: nn.RNN(-3, 4), "input_size = -3"),
    (lambda: nn.RNN(3, 4.5), "hidden_size = 4.5"),
    (lambda: nn.RNN(3, True), "hidden_size = True"),
    (lambda: nn.GRU(3, "4"), "hidden_size = '4'"),
    (lambda: nn.GRU(3, 4, num_layers=0), "num_layers = 0"),
    (lambda: nn.GRU(3, 4, dropout=1.5), "dropout = 1.5"),
    (lambda: nn.GRU(3, 4, dropout=-0.1), "dropout = -0.1"),
    (lambda: nn.GRU(3, 4, dropout=float("nan")), "dropout = nan"),
    (lambda: nn.GRU(3, 4, 2, dropout=True), "dropout = True"),
    (lambda: nn.GRU(3, 4, dropout="0.5"), "dropout = '0.5'"),
    (lambda: nn.GRU(3, 4, 1, "relu"), "bias = 'relu'"),
    (lambda: nn.GRU(3, 4, batch_first=1), "batch_first = 1"),
    (lambda: nn.GRU(3, 4, bidirectional=None), "bidirectional = None"),
    (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size = 4 must be smaller"),
    (lambda: nn.LSTM(3, 4, proj_size=-1), "proj_size = -1"),
    (lambda: nn.RNN(3, 4, proj_size=2), "RNN has no argument proj_size; it belongs to: LSTM"),
    (lambda: nn.RNN(3, 4, leak=0), "leak = 0"),
    (lambda: nn.RNN(3, 4, leak=1.1), "leak = 1.1"),
    (lambda: nn.RNN(3, 4, leak=None), "leak = None"),
    (lambda: nn.RNNCell(3, 4, leak=float("nan")), "leak = nan"),
    (lambda: nn.RNN(3, 4, dtype=torch.int64), "dtype = torch.int64"),
    (lambda: nn.RNN(3, 4, nonlinearity="rleu"), "nonlinearity = 'rleu': there is no activation"),
    (lambda: nn.RNN(3, 4, nonlinearity="rleu"), "The nearest: relu"),
    (lambda: nn.LSTM(3, 4, output_activation="tahn"), "output_activation = 'tahn'"),
    (lambda: nn.GRU(3, 4, activation=torch.tanh), "Activation('mine', 'x*sigmoid(x)')"),
    (lambda: nn.GRU(3, 4, gate_activation=None), "gate_activation = None: give the name"),
    (lambda: nn.RNN(3, 4, activation="relu"), "RNN the activation is given as nonlinearity="),
    (lambda: nn.RNNCell(3, 4, activation="relu"), "the activation is given as nonlinearity="),
    (lambda: nn.GRU(3, 4, nonlinearity="relu"), "GRU the activation is given as activation="),
    (lambda: nn.LSTMCell(3, 4, nonlinearity="relu"), "the activation is given as activation="),
    (lambda: nn.RNN(3, 4, gate_activation="relu"), "it belongs to: GRU, LSTM"),
    (lambda: nn.GRU(3, 4, output_activation="relu"), "it belongs to: LSTM"),
    (lambda: nn.LSTM(3, 4, leak=0.5), "it belongs to: RNN"),
    (lambda: nn.RNN(3, 4, forget_bias=1), "it belongs to: GRU, LSTM"),
    (lambda: nn.GRU(3, 4, bidirectionnal=True), "Did you mean: bidirectional"),
    (lambda: nn.RNNCell(3, 4, num_layers=2), "RNNCell has no argument num_layers"),
]

CALLED = [
    (lambda: nn.RNN(3, 4)(torch.zeros(3)), "shape (3,)"),
    (lambda: nn.RNN(3, 4)(torch.zeros(1, 5, 2, 3)), "shape (1, 5, 2, 3)"),
    (lambda: nn.RNN(3, 4)(np.zeros((5, 2, 3))), "The input is a ndarray"),
    (lambda: nn.RNN(3, 4)(torch.zeros(5, 2, 4)), "4 features a step"),
    (lambda: nn.GRU(3, 4, batch_first=True)(torch.zeros(2, 3, 5)), "5 features a step"),
    (lambda: nn.RNN(3, 4)(X.double()), "The input is torch.float64"),
    (lambda: nn.RNN(3, 4)(X.long()), "The input is torch.int64"),
    (lambda: nn.RNN(3, 4)(X.to("meta")), "The input is on meta, the weights are on cpu"),
    (
        lambda: nn.RNN(3, 4)(X, torch.zeros(1, 3, 4)),
        "h_0 has shape (1, 3, 4); it must be (1, 2, 4)",
    ),
    (lambda: nn.RNN(3, 4, 2)(X, torch.zeros(1, 2, 4)), "it must be (2, 2, 4)"),
    (lambda: nn.RNN(3, 4)(X, torch.zeros(1, 4)), "it must have 3 axes"),
    (lambda: nn.RNN(3, 4)(X[:, 0], torch.zeros(1, 1, 4)), "it must have 2 axes"),
    (lambda: nn.RNN(3, 4)(X, torch.zeros(1, 2, 4).double()), "state is torch.float64"),
    (lambda: nn.RNN(3, 4)(X, torch.zeros(1, 2, 4, device="meta")), "state is on meta"),
    (lambda: nn.RNN(3, 4)(X, (torch.zeros(1, 2, 4),)), "hx is a tuple"),
    (lambda: nn.LSTM(3, 4)(X, torch.zeros(2, 2, 4)), "a pair (h_0, c_0)"),
    (lambda: nn.LSTM(3, 4)(X, (torch.zeros(1, 2, 4),)), "a pair (h_0, c_0)"),
    (lambda: nn.LSTM(3, 4)(X, (torch.zeros(1, 2, 4), None)), "hx is a tuple"),
    (lambda: nn.LSTM(3, 4)(X, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 3))), "c_0 has shape"),
    (lambda: nn.LSTM(3, 4, proj_size=2)(X, 2 * (torch.zeros(1, 2, 4),)), "it must be (1, 2, 2)"),
    (lambda: nn.RNN(3, 4)(X, lengths=[5]), "must be 2 whole numbers"),
    (lambda: nn.RNN(3, 4)(X, lengths=[[5, 5]]), "shape (1, 2)"),
    (lambda: nn.RNN(3, 4)(X, lengths=5), "must be 2 whole numbers"),
    (lambda: nn.RNN(3, 4)(X, lengths=[5, 6]), "lengths[1] = 6: it must be from 0 to the 5 steps"),
    (lambda: nn.RNN(3, 4)(X, lengths=[-1, 5]), "lengths[0] = -1"),
    (lambda: nn.RNN(3, 4)(X, lengths=[0.5, 1.0]), "torch.float32"),
    (lambda: nn.RNN(3, 4)(X, lengths=[True, False]), "torch.bool"),
    (lambda: nn.RNN(3, 4)(X, lengths=["5", "5"]), "lengths = ['5', '5']"),
    (lambda: nn.RNN(3, 4)(X, lengths=[[1], [1, 2]]), "must be 2 whole numbers"),
    (lambda: nn.RNN(3, 4)(X[:, 0], lengths=[5, 5]), "must be 1 whole numbers"),
    (lambda: nn.RNN(3, 4)(pack_padded_sequence(X, [5, 2]), lengths=[5, 2]), "brings its own"),
    (lambda: nn.RNN(3, 4)(pack_padded_sequence(torch.zeros(5, 2, 4), [5, 2])), "4 features a step"),
    (lambda: nn.RNN(3, 4)(pack_sequence([torch.zeros(3), torch.zeros(2)])), "shape (5,)"),
    (lambda: nn.RNN(3, 4)(pack_padded_sequence(X, [5, 2]), torch.zeros(1, 4)), "h_0 has shape"),
    (lambda: nn.RNNCell(3, 4)(X), "one step is (B, I)"),
    (lambda: nn.GRUCell(3, 4)(X[0], torch.zeros(4)), "h_0 has shape (4,); it must be (2, 4)"),
    (lambda: nn.GRUCell(3, 4)(X[0], torch.zeros(3, 4)), "it must be (2, 4)"),
    (lambda: nn.LSTMCell(3, 4)(X[0], torch.zeros(2, 4)), "a pair (h_0, c_0)"),
    (lambda: nn.LSTMCell(3, 4)(X[0, :, :2]), "2 features a step"),
    (lambda: nn.LSTMCell(3, 4)([1.0, 2.0, 3.0]), "The input is a list"),
]


@pytest.mark.parametrize(("call", "message"), BUILT + CALLED)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(LayerError, match=re.escape(message)) as caught:
        call()
    assert "{" not in caught.value.text("en") + caught.value.text("zh")
    assert re.search("[一-鿿]", caught.value.text("zh"))


def test_whole_numbers_of_numpy_are_sizes():
    assert nn.GRU(np.int64(3), np.int32(4))(X)[0].shape == (5, 2, 4)
