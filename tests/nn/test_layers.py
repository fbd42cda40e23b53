"""The layers against torch.nn's own, over a table of all modes drawn at random."""

from __future__ import annotations

import copy
import pickle
import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import throughtime as tt
from throughtime.errors import ThroughtimeWarning

KINDS = {
    "rnn": (tt.nn.RNN, torch.nn.RNN),
    "gru": (tt.nn.GRU, torch.nn.GRU),
    "lstm": (tt.nn.LSTM, torch.nn.LSTM),
}
T, B, I, H = 6, 4, 3, 5  # noqa: E741
FORMS = ("padded", "packed", "packed unsorted", "unbatched", "lengths")


def modes(count: int) -> list[dict]:
    draw = random.Random(0)
    extras = {
        "rnn": lambda: {"nonlinearity": draw.choice(["tanh", "relu"])},
        "gru": dict,
        "lstm": lambda: {"proj_size": draw.choice([0, 2])},
    }
    return [
        {
            "kind": kind,
            "options": {
                "num_layers": draw.choice([1, 2, 3]),
                "bidirectional": draw.random() < 0.5,
                "batch_first": draw.random() < 0.5,
                "bias": draw.random() < 0.7,
                **extras[kind](),
            },
            "form": FORMS[i % len(FORMS)],
            "state": draw.random() < 0.5,
        }
        for kind in KINDS
        for i in range(count)
    ]


def flat(value) -> list:
    if isinstance(value, PackedSequence):
        return [value.data]
    return [v for part in value for v in flat(part)] if isinstance(value, tuple) else [value]


def padded_by_torch(layer, x, hx, lengths):
    """What torch.nn makes of padded sequences: pack, run, pad again."""
    packed = pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False)
    y, last = layer(packed, hx)
    return pad_packed_sequence(y, layer.batch_first, total_length=T)[0], last


def gradients(outputs, inputs):
    generator = torch.Generator().manual_seed(3)
    loss = sum((torch.randn(o.shape, generator=generator).double() * o).sum() for o in outputs)
    return torch.autograd.grad(loss, inputs, retain_graph=True)


def same_seed(kind: str, **options):
    layers = []
    for make in KINDS[kind]:
        torch.manual_seed(7)
        layers.append(make(I, H, **options, dtype=torch.float64))
    return layers


@pytest.mark.parametrize("mode", modes(40), ids=lambda m: f"{m['kind']}-{m['form']}")
def test_outputs_and_gradients_are_torchs(mode):
    ours, theirs = same_seed(mode["kind"], **mode["options"])
    for (name, value), (torch_name, wanted) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == torch_name
        assert torch.equal(value, wanted)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())

    form = mode["form"]
    shape = (T, I) if form == "unbatched" else (B, T, I) if ours.batch_first else (T, B, I)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    rows = ours.num_layers * (1 + ours.bidirectional)
    widths = [ours.proj_size or H, H][: 2 if mode["kind"] == "lstm" else 1]
    size = (rows,) if form == "unbatched" else (rows, B)
    states = [torch.randn(*size, w, dtype=torch.float64, requires_grad=True) for w in widths]
    hx = None if not mode["state"] else states[0] if len(states) == 1 else tuple(states)
    if form == "lengths":
        lengths = torch.tensor([2, 6, 1, 5])
        found, wanted = ours(x, hx, lengths=lengths), padded_by_torch(theirs, x, hx, lengths)
    else:
        fed = x
        if form.startswith("packed"):
            lengths = torch.tensor([6, 4, 4, 1] if form == "packed" else [2, 5, 1, 4])
            ordered = form == "packed"
            fed = pack_padded_sequence(x, lengths, ours.batch_first, enforce_sorted=ordered)
        found, wanted = ours(fed, hx), theirs(fed, hx)
        if form.startswith("packed"):
            for u, v in zip(found[0][1:], wanted[0][1:], strict=True):
                assert (u is None and v is None) or torch.equal(u, v)

    found, wanted = flat(found), flat(wanted)
    for u, v in zip(found, wanted, strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)
    leaves = [x, *(states if mode["state"] else [])]
    for u, v in zip(
        gradients(found, [*leaves, *ours.parameters()]),
        gradients(wanted, [*leaves, *theirs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_draws_the_masks_that_torch_draws(kind):
    ours, theirs = same_seed(kind, num_layers=3, dropout=0.4, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(11)
    found = ours(x)[0]
    torch.manual_seed(11)
    torch.testing.assert_close(found, theirs(x)[0], rtol=0, atol=1e-10)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-10)


def test_dropout_of_one_drops_everything_between_layers():
    layer = tt.nn.GRU(I, H, 2, dropout=1.0)
    y = layer(torch.randn(T, B, I))[0]
    assert torch.equal(y, layer(torch.randn(T, B, I))[0])
    assert not torch.equal(layer.eval()(torch.randn(T, B, I))[0], y)


def test_dropout_on_one_layer_is_told():
    with pytest.warns(ThroughtimeWarning, match="acts between layers and there is only one"):
        layer = tt.nn.GRU(I, H, dropout=0.5)
    assert torch.equal(layer(torch.ones(T, B, I))[0], layer(torch.ones(T, B, I))[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sequence_of_length_zero_keeps_its_state(kind, bidirectional):
    layer = KINDS[kind][0](I, H, 2, bidirectional=bidirectional, dtype=torch.float64)
    rows = 2 * layer._directions
    h_0, c_0 = torch.randn(2, rows, 2, H, dtype=torch.float64)
    hx = (h_0, c_0) if kind == "lstm" else h_0
    y, last = layer(torch.randn(T, 2, I, dtype=torch.float64), hx, lengths=[0, T])
    assert (y[:, 0] == 0).all()
    assert all(torch.equal(s[:, 0], h[:, 0]) for s, h in zip(flat(last), flat(hx), strict=True))


@pytest.mark.parametrize(
    "lengths",
    [[3, 6], (3, 6), np.array([3, 6]), torch.tensor([3, 6], dtype=torch.int32)],
    ids=["list", "tuple", "numpy", "int32"],
)
def test_lengths_come_in_many_forms(lengths):
    layer, x = tt.nn.RNN(I, H), torch.randn(T, 2, I)
    assert torch.equal(layer(x, lengths=lengths)[0], layer(x, lengths=torch.tensor([3, 6]))[0])


def test_an_unbatched_sequence_may_have_a_length():
    layer = tt.nn.LSTM(I, H, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, I, dtype=torch.float64)
    y, last = layer(x, lengths=4)
    y_short, last_short = layer(x[:4])
    assert (y[4:] == 0).all()
    for u, v in zip(flat((y[:4], last)), flat((y_short, last_short)), strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    num_layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    steps=st.integers(0, 7),
    data=st.data(),
)
def test_each_padded_sequence_is_run_as_if_alone(kind, num_layers, bidirectional, steps, data):
    lengths = data.draw(st.lists(st.integers(0, steps), max_size=5))
    layer = KINDS[kind][0](I, H, num_layers, bidirectional=bidirectional, dtype=torch.float64)
    x = torch.randn(steps, len(lengths), I, dtype=torch.float64)
    padding = torch.arange(steps)[:, None] >= torch.tensor(lengths, dtype=torch.int64)
    x[padding] = float("nan")
    y, last = layer(x, lengths=lengths)
    for b, n in enumerate(lengths):
        y_alone, last_alone = layer(x[:n, b])
        torch.testing.assert_close(y[:n, b], y_alone, rtol=0, atol=1e-12)
        assert (y[n:, b] == 0).all()
        for u, v in zip(flat(last), flat(last_alone), strict=True):
            torch.testing.assert_close(u[:, b], v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 2, I), (5, 0, I)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_and_no_sequences_are_answered(kind, shape):
    layer = KINDS[kind][0](I, H, 2, bidirectional=True)
    y, last = layer(torch.zeros(shape))
    assert y.shape == (*shape[:2], 2 * H)
    assert all(s.shape == (4, shape[1], H) for s in flat(last))
    assert layer(torch.zeros(shape), lengths=[0] * shape[1])[0].shape == y.shape


PLACES = [
    ("rnn", "nonlinearity"), ("gru", "activation"), ("gru", "gate_activation"),
    ("lstm", "activation"), ("lstm", "gate_activation"), ("lstm", "output_activation"),
]  # fmt: skip

# these pairs are one function at their default parameters on the inputs tried here
ALIKE = [{"silu", "swish"}, {"elu", "celu"}, {"relu", "relu6"}, {"relu", "clipped_relu"},
         {"relu6", "clipped_relu"}]  # fmt: skip


@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_every_activation_changes_the_output_in_every_place(kind, place):
    x = torch.randn(7, 3, I, generator=torch.Generator().manual_seed(0)) * 2
    lstm = {"activation": "identity", "output_activation": "tanh"} if kind == "lstm" else {}
    outputs = {}
    for name in tt.activations():
        torch.manual_seed(1)
        outputs[name] = KINDS[kind][0](I, H, **{**lstm, place: name})(x)[0]
    assert all(y.isfinite().all() for y in outputs.values())
    same = [
        {p, q} for p in outputs for q in outputs if p < q and torch.equal(outputs[p], outputs[q])
    ]
    assert all(pair in ALIKE for pair in same)


def elman_by_hand(p, x, phi, leak):
    h, ys = torch.zeros(x.shape[1], H, dtype=x.dtype), []
    for t in range(len(x)):
        a = x[t] @ p["weight_ih_l0"].T + p["bias_ih_l0"]
        h = (1 - leak) * h + leak * phi(a + h @ p["weight_hh_l0"].T + p["bias_hh_l0"])
        ys.append(h)
    return torch.stack(ys)


def gru_by_hand(p, x, phi, gate):
    h, ys = torch.zeros(x.shape[1], H, dtype=x.dtype), []
    W, U = p["weight_ih_l0"].split(H), p["weight_hh_l0"].split(H)
    b, d = p["bias_ih_l0"].split(H), p["bias_hh_l0"].split(H)
    for t in range(len(x)):
        r = gate(x[t] @ W[0].T + b[0] + h @ U[0].T + d[0])
        z = gate(x[t] @ W[1].T + b[1] + h @ U[1].T + d[1])
        n = phi(x[t] @ W[2].T + b[2] + r * (h @ U[2].T + d[2]))
        h = (1 - z) * n + z * h
        ys.append(h)
    return torch.stack(ys)


def lstm_by_hand(p, x, phi, gate, output):
    h, c, ys = *torch.zeros(2, x.shape[1], H, dtype=x.dtype), []
    for t in range(len(x)):
        a = x[t] @ p["weight_ih_l0"].T + p["bias_ih_l0"]
        i, f, g, o = (a + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]).split(H, dim=1)
        c = gate(f) * c + gate(i) * phi(g)
        h = gate(o) * output(c)
        ys.append(h)
    return torch.stack(ys)


F = torch.nn.functional


def hard_sigmoid(a):  # torch's own rounds 1/6 to float32
    return (a / 6 + 0.5).clamp(0, 1)


BY_HAND = [
    ("rnn", elman_by_hand, {"nonlinearity": ("elu", F.elu), "leak": (0.3, 0.3)}),
    ("rnn", elman_by_hand, {"nonlinearity": ("softsign", F.softsign), "leak": (1.0, 1.0)}),
    ("gru", gru_by_hand, {"activation": ("gelu", F.gelu),
                          "gate_activation": ("hard_sigmoid", hard_sigmoid)}),
    ("lstm", lstm_by_hand, {"activation": ("relu", F.relu),
                            "gate_activation": ("hard_sigmoid", hard_sigmoid),
                            "output_activation": ("softsign", F.softsign)}),
    ("lstm", lstm_by_hand, {"activation": ("mish", F.mish), "gate_activation": ("sigmoid",
                            torch.sigmoid), "output_activation": (None, F.mish)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "by_hand", "places"), BY_HAND)
def test_other_activations_agree_with_a_loop_written_by_hand(kind, by_hand, places):
    options = {argument: ours for argument, (ours, _) in places.items()}
    layer = KINDS[kind][0](I, H, **options, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    y = layer(x)[0]
    wanted = by_hand(dict(layer.named_parameters()), x, *(f for _, f in places.values()))
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-10)
    inputs = [x, *layer.parameters()]
    for u, v in zip(gradients([y], inputs), gradients([wanted], inputs), strict=True):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "shape"), [("prelu", (6,)), ("swish", ())])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_learnable_parameters_are_learnt_and_saved(kind, place, name, shape):
    fixed = {"output_activation": "tanh"} if kind == "lstm" else {}
    layer = KINDS[kind][0](2, 6, 2, bidirectional=True, **{**fixed, place: name})
    torch_names = set(KINDS[kind][1](2, 6, 2, bidirectional=True).state_dict())
    parameter = {"prelu": "slope", "swish": "beta"}[name]
    suffixes = ("l0", "l0_reverse", "l1", "l1_reverse")
    assert set(layer.state_dict()) - torch_names == {f"{place}_{parameter}_{s}" for s in suffixes}
    thetas = [getattr(layer, f"{place}_{parameter}_{s}") for s in suffixes]
    assert all(v.shape == shape for v in thetas)
    x = torch.randn(7, 3, 2)
    layer(x)[0].square().sum().backward()
    assert all(v.grad is not None and v.grad.abs().sum() > 0 for v in thetas)
    before = layer(x)[0]
    with torch.no_grad():
        thetas[0].add_(0.5)
    assert not torch.equal(layer(x)[0], before)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x)[0], layer(x)[0])
    layer.reset_parameters()
    assert torch.equal(
        thetas[0], torch.full(shape, tt.activation(name).parameters[parameter].default)
    )


def test_what_is_learnt_is_held_within_its_bounds():
    phi = tt.Activation("celu1", "where(x > 0, x, a*expm1(x/a))", a=(1.0, 0.5, 2.0),
                        learnable=("a",))  # fmt: skip
    layer, x = tt.nn.RNN(I, H, nonlinearity=phi), torch.randn(T, B, I)
    with torch.no_grad():
        layer.nonlinearity_a_l0.fill_(-3.0)
    torch.testing.assert_close(
        layer(x)[0],
        elman_by_hand(dict(layer.named_parameters()), x, lambda a: phi(a, a=0.5), 1.0),
    )


def test_learnable_gradients_agree_with_finite_differences():
    layer = tt.nn.GRU(I, H, activation="swish", gate_activation="prelu", dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    names = ["activation_beta_l0", "gate_activation_slope_l0"]

    def run(*thetas):
        return torch.func.functional_call(layer, dict(zip(names, thetas, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(
        run, [getattr(layer, n).detach().requires_grad_() for n in names]
    )


@pytest.mark.parametrize(
    ("kind", "options", "other"),
    [
        ("rnn", {"num_layers": 2}, {"num_layers": 1}),
        ("rnn", {"leak": 0.5}, {"leak": 1.0}),
        ("rnn", {"bias": False}, {}),
        ("gru", {"bidirectional": True}, {}),
        ("gru", {"batch_first": True}, {}),
        ("gru", {"forget_bias": 2.0}, {}),
        ("lstm", {"proj_size": 2}, {}),
        ("lstm", {"forget_bias": 1.0}, {}),
        ("lstm", {"forget_bias": "chrono:50"}, {"forget_bias": 1.0}),
        ("lstm", {"recurrent_init": "orthogonal"}, {}),
        ("lstm", {"dtype": torch.float64}, {}),
    ],
)
def test_every_argument_changes_the_outcome(kind, options, other):
    results = []
    for chosen in (options, other):
        torch.manual_seed(0)
        layer = KINDS[kind][0](I, H, **chosen)
        x = torch.randn(T, B, I, dtype=layer.weight_ih_l0.dtype,
                        generator=torch.Generator().manual_seed(1))  # fmt: skip
        results.append(layer(x)[0])
    a, b = results
    assert a.shape != b.shape or a.dtype != b.dtype or not torch.allclose(a, b)


def test_the_contract_of_torch_beyond_running():
    ours, theirs = same_seed("lstm", num_layers=2, bidirectional=True, proj_size=2)
    for weights, wanted in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(u, v) for u, v in zip(weights, wanted, strict=True))
    assert ours.flatten_parameters() is None
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
                 "bidirectional", "proj_size"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name)
    x = torch.randn(T, B, I)
    assert ours.to(torch.float32)(x)[0].dtype == torch.float32
    assert pickle.loads(pickle.dumps(ours))(x)[0].equal(ours(x)[0])
    positional = tt.nn.RNN(3, 4, 2, "relu", False, True, 0.0, True, "cpu", torch.float64)
    assert positional.weight_ih_l0.dtype == torch.float64
    assert repr(positional) == (
        "RNN(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True, "
        "nonlinearity=relu)"
    )
    projected = tt.nn.LSTM(3, 4, 1, True, False, 0.0, False, 2, "meta")
    assert projected.weight_hr_l0.shape == (2, 4)
    assert projected.weight_hr_l0.device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_gives_what_torch_gives(kind):
    ours, theirs = KINDS[kind][0](I, H, 2), KINDS[kind][1](I, H, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(T, B, I)
    with torch.autocast("cpu", torch.bfloat16):
        try:
            expected = theirs(x)[0].float()
        except RuntimeError:  # some processors have no LSTM of this precision
            with torch.autocast("cpu", enabled=False):
                expected = theirs(x)[0]
        for fed in (x, x.bfloat16()):
            torch.testing.assert_close(ours(fed)[0].float(), expected, rtol=0, atol=0.03)


def test_the_layer_shows_its_arguments_and_activations():
    assert repr(tt.nn.RNN(3, 4, nonlinearity="elu", leak=0.5)) == (
        "RNN(3, 4, nonlinearity=elu, leak=0.5)"
    )
    shown = repr(tt.nn.LSTM(3, 4, 2, False, True, 0.1, True, 2, recurrent_init="orthogonal:2"))
    assert shown == (
        "LSTM(3, 4, num_layers=2, bias=False, batch_first=True, dropout=0.1, bidirectional=True, "
        "proj_size=2, activation=tanh, gate_activation=sigmoid, output_activation=tanh, "
        "recurrent_init=orthogonal:2)"
    )
    assert "forget_bias=1" in repr(tt.nn.GRU(3, 4, forget_bias=1))
    assert re.search(
        "recurrent_init=eye_", repr(tt.nn.RNN(3, 4, recurrent_init=torch.nn.init.eye_))
    )


def test_a_setting_that_would_be_ignored_cannot_be_made():
    with pytest.raises(AttributeError):
        tt.nn.RNN(3, 4).nonlinearity = "relu"
