"""The layers against torch.nn's own, over a table of all modes drawn at random."""

from __future__ import annotations

import copy
import pickle
import random
import re

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import throughtime as tt
from throughtime.errors import LayerError

KINDS = {"rnn": (tt.nn.RNN, torch.nn.RNN), "gru": (tt.nn.GRU, torch.nn.GRU),
         "lstm": (tt.nn.LSTM, torch.nn.LSTM)}  # fmt: skip


def modes(count: int) -> list[dict]:
    draw = random.Random(0)
    return [
        {
            "kind": kind,
            "num_layers": draw.choice([1, 2, 3]),
            "bidirectional": draw.random() < 0.5,
            "batch_first": draw.random() < 0.5,
            "bias": draw.random() < 0.7,
            "form": draw.choice(["padded", "packed", "packed unsorted", "unbatched"]),
            "state": draw.random() < 0.5,
            "extra": {"nonlinearity": draw.choice(["tanh", "relu"])} if kind == "rnn"
            else {"proj_size": draw.choice([0, 2])} if kind == "lstm" else {},
        }
        for kind in KINDS
        for _ in range(count)
    ]  # fmt: skip


def flat(value):
    if isinstance(value, PackedSequence):
        return [value.data]
    return [v for part in value for v in flat(part)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("mode", modes(20), ids=lambda m: f"{m['kind']}-{m['form']}")
def test_outputs_and_gradients_are_torchs(mode):
    torch.manual_seed(0)
    ours, theirs = KINDS[mode["kind"]]
    T, B, I, H = 6, 4, 3, 5  # noqa: E741
    options = {k: mode[k] for k in ("num_layers", "bidirectional", "batch_first", "bias")}
    options |= mode["extra"]
    torch.manual_seed(7)
    a = ours(I, H, **options, dtype=torch.float64)
    torch.manual_seed(7)
    b = theirs(I, H, **options, dtype=torch.float64)
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, value in b.state_dict().items():
        assert torch.equal(a.state_dict()[name], value)
    b.load_state_dict(a.state_dict())
    a.load_state_dict(b.state_dict())
    shape = (T, I) if mode["form"] == "unbatched" else (B, T, I) if a.batch_first else (T, B, I)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    rows = a.num_layers * (1 + a.bidirectional)
    widths = [a.proj_size or H, H][: 2 if mode["kind"] == "lstm" else 1]
    size = (rows,) if mode["form"] == "unbatched" else (rows, B)
    states = [torch.randn(*size, w, dtype=torch.float64, requires_grad=True) for w in widths]
    hx = None if not mode["state"] else states[0] if len(states) == 1 else tuple(states)
    given = x
    if mode["form"].startswith("packed"):
        lengths = torch.tensor([6, 4, 4, 1] if mode["form"] == "packed" else [2, 6, 1, 5])
        given = pack_padded_sequence(
            x, lengths, batch_first=a.batch_first, enforce_sorted=mode["form"] == "packed"
        )
    found, wanted = flat(a(given, hx)), flat(b(given, hx))
    for u, v in zip(found, wanted, strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)
    weights = [torch.randn_like(v) for v in wanted]
    leaves = [x, *(states if mode["state"] else [])]
    for layer, outputs, store in ((a, found, []), (b, wanted, [])):
        loss = sum((w * o).sum() for w, o in zip(weights, outputs, strict=True))
        store += torch.autograd.grad(loss, [*leaves, *layer.parameters()], retain_graph=True)
        if layer is a:
            kept = store
    for u, v in zip(kept, store, strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_on_padding_say_what_packing_says(kind):
    torch.manual_seed(0)
    layer = KINDS[kind][0](3, 5, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    lengths = torch.tensor([2, 6, 1, 5])
    y, last = layer(x, lengths=lengths)
    packed, last_packed = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    z, _ = torch.nn.utils.rnn.pad_packed_sequence(packed)
    for u, v in zip(flat((y, last)), flat((z, last_packed)), strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-12)


PLACES = [
    ("rnn", "nonlinearity"), ("gru", "activation"), ("gru", "gate_activation"),
    ("lstm", "activation"), ("lstm", "gate_activation"), ("lstm", "output_activation"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_every_activation_changes_the_output_in_every_place(kind, place):
    x = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0)) * 2
    outputs = {}
    for name in tt.activations():
        torch.manual_seed(1)
        extra = (
            {} if place == "output_activation" or kind != "lstm" else {"output_activation": "tanh"}
        )
        outputs[name] = KINDS[kind][0](2, 6, **{place: name}, **extra)(x)[0]
    same = [
        {p, q} for p in outputs for q in outputs if p < q and torch.equal(outputs[p], outputs[q])
    ]
    # these are one function at their default parameters (and clips at 6 and 20 lie beyond reach)
    alike = [{"silu", "swish"}, {"elu", "celu"}, {"relu", "relu6"}, {"relu", "clipped_relu"},
             {"relu6", "clipped_relu"}]  # fmt: skip
    assert all(pair in alike for pair in same)


@pytest.mark.parametrize("name", ["prelu", "swish"])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_learnable_parameters_are_learnt_saved_and_counted(kind, place, name):
    layer = KINDS[kind][0](2, 6, 2, bidirectional=True, **{place: name})
    thetas = {k: v for k, v in layer.named_parameters() if k.startswith(place)}
    assert len(thetas) == 4
    layer(torch.randn(7, 3, 2))[0].square().sum().backward()
    assert all(v.grad is not None and v.grad.abs().sum() > 0 for v in thetas.values())
    again = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    x = torch.randn(4, 3, 2)
    assert torch.equal(again(x)[0], layer(x)[0])


def test_the_leak_slows_the_state():
    torch.manual_seed(0)
    fast = tt.nn.RNN(2, 5)
    slow = tt.nn.RNN(2, 5, leak=0.1)
    slow.load_state_dict(fast.state_dict())
    x = torch.randn(9, 3, 2)
    assert slow(x)[0].diff(dim=0).norm() < 0.5 * fast(x)[0].diff(dim=0).norm()


def test_dropout_acts_between_layers_in_training_only():
    layer = tt.nn.GRU(2, 50, 2, dropout=0.5)
    x = torch.randn(9, 3, 2)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_the_layer_shows_its_activations():
    assert repr(tt.nn.RNN(3, 4, nonlinearity="elu", leak=0.5)) == (
        "RNN(3, 4, nonlinearity=elu, leak=0.5)"
    )
    assert "gate_activation=hard_sigmoid" in repr(tt.nn.LSTM(3, 4, gate_activation="hard_sigmoid"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tt.nn.RNN(0, 4), "input_size = 0"),
        (lambda: tt.nn.RNN(3, 4.5), "hidden_size = 4.5"),
        (lambda: tt.nn.GRU(3, 4, num_layers=0), "num_layers = 0"),
        (lambda: tt.nn.GRU(3, 4, dropout=1.5), "dropout = 1.5"),
        (lambda: tt.nn.GRU(3, 4, dropout=0.5), "acts between layers"),
        (lambda: tt.nn.LSTM(3, 4, proj_size=4), "proj_size = 4 must be smaller"),
        (lambda: tt.nn.RNN(3, 4, leak=0), "leak = 0"),
        (lambda: tt.nn.RNN(3, 4, nonlinearity="rleu"), "'rleu'"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(3)), "shape (3,)"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 4)), "4 features a step"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3).double()), "torch.float64"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3), torch.zeros(1, 3, 4)), "shape (1, 3, 4)"),
        (lambda: tt.nn.LSTM(3, 4)(torch.zeros(5, 2, 3), torch.zeros(1, 2, 4)), "a pair"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[5]), "must be 2 whole numbers"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[5, 6]), "lengths[1] = 6"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[-1, 5]), "lengths[0] = -1"),
        (lambda: tt.nn.RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[0.5, 1.0]), "whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert isinstance(caught.value, (LayerError, ValueError))


@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 0, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_and_no_sequences_are_answered(kind, shape):
    y, _ = KINDS[kind][0](3, 4, bidirectional=True)(torch.zeros(shape))
    assert y.shape == (*shape[:2], 8)
