"""Every measure takes every record, also the shortest, the emptiest and the broken ones."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime.nn as ours
from throughtime.gradients import advise, measure, trace

I, H = 3, 5  # noqa: E741

MEASURES = {
    "signal": measure.signal,
    "signal by lag": lambda r: measure.signal(r, align="lag"),
    "split": measure.split,
    "budget": measure.budget,
    "lag map": measure.lag_map,
    "transport": measure.transport,
    "lyapunov": measure.lyapunov,
    "one step": measure.one_step,
    "census": measure.census,
    "usage": measure.usage,
    "health": measure.health,
    "gates": lambda r: r.recurrence.kind != "elman" and measure.gates(r),
    "signal to noise": measure.signal_to_noise,
    "underflow": measure.underflow,
    "truncation": lambda r: measure.truncation(r, 3),
    "counterfactual": lambda r: measure.signal(measure.counterfactual(r, "elu")),
    "advise": lambda r: advise({r.key: r}, seeds=2),
}


def last(model, x):
    return model(x)[0][-1].square().sum()


def packed(model, x):
    x = pack_padded_sequence(x, torch.tensor([10, 4, 1, 2]), enforce_sorted=False)
    return model(x)[0].data.square().sum()


def with_an_empty_sequence(model, x):
    return model(x, lengths=torch.tensor([10, 0, 1, 2]))[0].square().sum()


def not_a_number(model, x):
    return model(x)[0].sum() * float("nan")


def of_no_weight(model, x):
    return model(x)[0].sum() * 0


EDGES = {
    "one step, one sequence": ((1, 1, I), last),
    "one sequence": ((10, 1, I), last),
    "one step": ((1, 4, I), last),
    "unbatched": ((10, I), last),
    "gradients that are NaN": ((10, 4, I), not_a_number),
    "gradients that are zero": ((10, 4, I), of_no_weight),
    "packed": ((10, 4, I), packed),
}


def measured(model, x, loss_fn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = trace(model, x, loss_fn).records
        return [
            {name: measured(record) for name, measured in MEASURES.items()}
            for record in records.values()
        ]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, ours.RNN, ours.GRU, ours.LSTM])
def test_edges(layer, edge):
    shape, loss_fn = EDGES[edge]
    for found in measured(layer(I, H), torch.randn(shape), loss_fn):
        findings = {f.cause for f in found["advise"]}
        assert findings == {
            "gradients that are NaN": {"gradient_not_finite"},
            "gradients that are zero": {"unread"},
        }.get(edge, set())


@pytest.mark.parametrize("layer", [ours.RNN, ours.GRU, ours.LSTM])
def test_a_sequence_of_no_length(layer):
    assert measured(layer(I, H), torch.randn(10, 4, I), with_an_empty_sequence)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, ours.RNN, ours.GRU, ours.LSTM])
def test_a_model_in_half_precision_is_measured_in_single(layer):
    model = layer(I, H).bfloat16()
    assert measured(model, torch.randn(10, 4, I).bfloat16(), last)
    record = trace(model, torch.randn(10, 4, I).bfloat16(), last).records["l0"]
    assert record.total.dtype == torch.float32


def test_one_unit():
    assert measured(nn.LSTM(I, 1), torch.randn(10, 4, I), last)


@pytest.mark.parametrize("seed", range(3))
def test_states_that_overflow(seed):
    torch.manual_seed(seed)
    model = nn.RNN(I, H, nonlinearity="relu")
    for p in model.parameters():
        p.data.mul_(100)
    (found,) = measured(model, torch.rand(60, 4, I), last)
    assert [f.cause for f in found["advise"]][:2] == ["explodes", "state_not_finite"]


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_weights_that_are_no_number(layer):
    model = layer(I, H)
    model.weight_hh_l0.data[0, 0] = math.nan
    found = trace(model, torch.randn(10, 4, I), last)
    assert [f.cause for f in found.findings()] == ["state_not_finite"]
    assert math.isnan(found.check[""])  # not 0: nothing was compared


def test_weights_that_are_computed_from_others():
    model = nn.Sequential(weight_norm(nn.RNN(I, H), "weight_hh_l0"))
    assert measured(model, torch.randn(10, 4, I), lambda m, x: last(m[0], x))
