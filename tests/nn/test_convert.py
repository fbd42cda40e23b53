"""Conversion of models that exist."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.errors import LayerError

quiet = {"tell": None}

TORCH_LAYERS = {
    "rnn": lambda: nn.RNN(3, 4, 2, "relu", False, True, 0.1, True, dtype=torch.float64),
    "gru": lambda: nn.GRU(3, 4, 2, bidirectional=True, batch_first=True, dtype=torch.float64),
    "lstm": lambda: nn.LSTM(3, 4, 2, dropout=0.2, proj_size=2, dtype=torch.float64),
    "rnn cell": lambda: nn.RNNCell(3, 4, False, "relu", dtype=torch.float64),
    "gru cell": lambda: nn.GRUCell(3, 4, dtype=torch.float64),
    "lstm cell": lambda: nn.LSTMCell(3, 4, bias=False, dtype=torch.float64),
}


def flat(value):
    return [v for p in value for v in flat(p)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("kind", TORCH_LAYERS)
def test_without_another_activation_the_model_computes_what_it_did(kind):
    old = TORCH_LAYERS[kind]().eval()
    new = tt.nn.convert(old, **quiet)
    assert type(new).__module__.startswith("throughtime.nn")
    assert not new.training
    x = torch.randn((5, 3) if kind.endswith("cell") else (5, 6, 3), dtype=torch.float64)
    for u, v in zip(flat(new(x)), flat(old(x)), strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-12)
    assert [id(p) for p in new.parameters()] == [id(p) for p in old.parameters()]
    for name in ("batch_first", "dropout", "bidirectional", "num_layers", "bias"):
        assert getattr(new, name, None) == getattr(old, name, None)


@pytest.mark.parametrize("kind", TORCH_LAYERS)
def test_another_activation_changes_what_it_computes(kind):
    old = TORCH_LAYERS[kind]().eval()
    x = torch.randn((5, 3) if kind.endswith("cell") else (5, 6, 3), dtype=torch.float64)
    before = flat(old(x))[0]
    asked = [{"activation": "elu"}, {"activation": "softsign"}]
    asked += [{"leak": 0.5}] if kind.startswith("rnn") else [{"gate_activation": "hard_sigmoid"}]
    asked += [{"output_activation": "identity"}] if kind.startswith("lstm") else []
    results = [before, *(flat(tt.nn.convert(old, **a, **quiet)(x))[0] for a in asked)]
    assert not any(torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])


class Tied(nn.Module):
    """Two names for one layer, a list, and weights tied between two layers."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 3)
        self.decoder = self.encoder
        self.steps = nn.ModuleList([nn.LSTMCell(3, 3), nn.RNNCell(3, 3)])
        self.left, self.right = nn.RNN(3, 3), nn.RNN(3, 3)
        self.right.weight_hh_l0 = self.left.weight_hh_l0
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        y = self.decoder(self.encoder(x)[0])[0]
        y = self.right(self.left(y)[0])[0]
        return self.head(self.steps[1](self.steps[0](y[-1])[0]))


def test_sharing_and_the_optimiser_survive():
    model = Tied()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    x = torch.randn(4, 2, 3)
    model(x).sum().backward()
    optimiser.step()
    parameters = dict(model.named_parameters())
    assert tt.nn.convert(model, activation="elu", **quiet) is model
    assert model.encoder is model.decoder
    assert model.right.weight_hh_l0 is model.left.weight_hh_l0
    assert {n: id(p) for n, p in model.named_parameters()} == {
        n: id(p) for n, p in parameters.items()
    }
    before = copy.deepcopy(model.state_dict())
    optimiser.zero_grad()
    model(x).square().sum().backward()
    optimiser.step()
    still = {n for n, v in model.state_dict().items() if torch.equal(v, before[n])}
    assert still == {"steps.0.weight_hh", "steps.1.weight_hh"}  # their state is zero


def test_it_tells_what_was_converted():
    told = []
    tt.nn.convert(Tied(), activation="elu", tell=told.append)
    assert len(told) == 5
    assert told[0] == (
        "encoder: torch.nn.GRU is now GRU(3, 3, activation=elu, gate_activation=sigmoid)"
    )
    assert told[1].startswith("steps.0: torch.nn.LSTMCell is now LSTMCell(")


def test_it_prints_by_default(capsys):
    tt.nn.convert(nn.Sequential(nn.RNN(3, 4)), "relu")
    assert capsys.readouterr().out == "0: torch.nn.RNN is now RNN(3, 4, nonlinearity=relu)\n"


def test_hooks_frozen_weights_and_types_survive():
    model = nn.Sequential(nn.GRU(3, 4).double().requires_grad_(False))
    seen = []
    handle = model[0].register_forward_hook(lambda m, i, o: seen.append(type(m)))
    tt.nn.convert(model, activation="prelu", **quiet)
    model(torch.randn(5, 2, 3).double())
    assert seen == [tt.nn.GRU]
    handle.remove()
    model(torch.randn(5, 2, 3).double())
    assert len(seen) == 1
    assert not model[0].weight_hh_l0.requires_grad
    assert model[0].activation_slope_l0.requires_grad
    assert model[0].activation_slope_l0.dtype == torch.float64


def test_our_own_layers_are_converted_too_and_keep_what_they_learnt():
    model = nn.Sequential(tt.nn.GRU(3, 4, activation="prelu", gate_activation="hard_sigmoid"))
    learnt = model[0].activation_slope_l0
    tt.nn.convert(model, gate_activation="sigmoid", **quiet)
    assert model[0].activation_slope_l0 is learnt
    tt.nn.convert(model, activation="swish", **quiet)
    assert "activation_slope_l0" not in dict(model[0].named_parameters())
    assert model[0].activation_beta_l0.item() == 1.0
    lstm = tt.nn.convert(tt.nn.LSTM(3, 4, output_activation="relu"), "elu", **quiet)
    assert (lstm.activation.name, lstm.output_activation.name) == ("elu", "elu")
    leaky = tt.nn.convert(tt.nn.RNN(3, 4, leak=0.2, recurrent_init="identity"), "relu", **quiet)
    assert (leaky.leak, leaky.recurrent_init) == (0.2, "identity")


def test_no_random_number_is_drawn():
    model = nn.Sequential(nn.LSTM(3, 4), tt.nn.RNN(3, 4, recurrent_init="np_rnn"))
    state = torch.get_rng_state()
    tt.nn.convert(model, activation="prelu", **quiet)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_with_dropout_and_no_layer_above_is_converted_without_a_warning():
    with pytest.warns(UserWarning):
        model = nn.GRU(3, 4, dropout=0.5)
    assert tt.nn.convert(model, activation="elu", **quiet).dropout == 0.5


class Own(nn.LSTM):
    pass


def parametrised():
    return nn.utils.parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0")


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 4)), {"activation": "elu"}, "no recurrent layer"),
        (lambda: nn.RNN(3, 4), {"gate_activation": "elu"}, "gate_activation= would have no effect"),
        (lambda: nn.GRU(3, 4), {"output_activation": "elu"}, "layers of this model are GRU"),
        (lambda: nn.LSTM(3, 4), {"leak": 0.5}, "leak= would have no effect"),
        (lambda: nn.RNN(3, 4), {"leak": 2}, "leak = 2"),
        (lambda: "model.pt", {"activation": "elu"}, "model is a str"),
        (lambda: nn.RNN(3, 4), {"activation": "rleu"}, "The nearest: relu"),
        (lambda: nn.Sequential(Own(3, 4)), {"activation": "elu"}, "0 is a Own"),
        (parametrised, {"activation": "elu"}, "a class derived from a recurrent layer"),
        (lambda: nn.utils.weight_norm(nn.GRU(3, 4), "weight_hh_l0"), {"activation": "elu"},
         "are not those of a plain layer"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(model, asked, message):
    with pytest.raises(LayerError, match=re.escape(message)):
        tt.nn.convert(model(), **asked, **quiet)


def test_nothing_is_swapped_when_one_layer_cannot_be():
    model = nn.Sequential(nn.GRU(3, 4), Own(4, 4))
    with pytest.raises(LayerError):
        tt.nn.convert(model, activation="elu", **quiet)
    assert type(model[0]) is nn.GRU
