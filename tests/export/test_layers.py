"""Layers as ONNX files in ONNX Runtime, against torch.nn and against the layers themselves."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import throughtime as tt
from throughtime.nn import to_onnx

from .conftest import KINDS, PHI, flat

I, H = 3, 5  # noqa: E741
SIZES = ((7, 3), (4, 1))
PLACES = [
    (kind, place)
    for kind, places in {
        "rnn": ["nonlinearity"],
        "gru": ["activation", "gate_activation"],
        "lstm": ["activation", "gate_activation", "output_activation"],
    }.items()
    for place in places
]


def operators(path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def assert_close(found, wanted, tolerance=1e-5):
    for u, v in zip(found, wanted, strict=True):
        assert u.shape == v.shape and u.dtype == v.dtype
        assert np.abs(u - v).max() <= tolerance * max(1, np.abs(v).max())


def assert_same(session, layer, T, B, tolerance=1e-5):
    x, lengths = torch.randn(T, B, I, dtype=layer.weight_ih_l0.dtype), torch.randint(T + 1, (B,))
    feeds = {"input": x.numpy(), "lengths": lengths.numpy()}
    assert_close(session.run(None, feeds), flat(layer(x, None, lengths)), tolerance)


@pytest.mark.parametrize("name", tt.activations())
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_every_activation_in_every_place_of_every_cell(exported, kind, place, name):
    layer = KINDS[kind](I, H, **{place: name})
    session = exported(layer)
    for T, B in SIZES:
        assert_same(session, layer, T, B)


@pytest.mark.parametrize("name", tt.activations())
def test_every_activation_in_float64(exported, name):
    layer = tt.nn.LSTM(I, H, activation=name, dtype=torch.float64)
    session = exported(layer)
    for T, B in SIZES:
        assert_same(session, layer, T, B, 1e-13)


def test_the_activations_are_told_apart(exported):
    x = torch.randn(6, 2, I).numpy() * np.float32([0.1, 0.3, 1, 3, 10, 100])[:, None, None]
    ys = []
    for name in tt.activations():
        torch.manual_seed(0)
        layer = tt.nn.RNN(I, H, nonlinearity=name)
        ys.append(exported(layer, lengths=False).run(["output"], {"input": x})[0])
    alike = {
        (a, b)
        for i, a in enumerate(tt.activations())
        for b, y in zip(tt.activations()[:i], ys, strict=False)
        if np.allclose(y, ys[i], atol=1e-6)
    }
    assert alike == {("celu", "elu"), ("swish", "silu")}  # one function at their defaults


def modes(count: int) -> list[dict]:
    draw = random.Random(1)
    extras = {
        "rnn": lambda: {"leak": draw.choice([1.0, 0.3])},
        "gru": dict,
        "lstm": lambda: {"proj_size": draw.choice([0, 2])},
    }
    return [
        {
            "kind": kind,
            "options": {
                "num_layers": draw.choice([1, 2]),
                "bidirectional": draw.random() < 0.5,
                "batch_first": draw.random() < 0.5,
                "bias": draw.random() < 0.6,
                PHI[kind]: draw.choice(["tanh", "leaky_relu", "gelu", "prelu"]),
                **extras[kind](),
            },
            "dtype": draw.choice([torch.float32, torch.float32, torch.float64]),
            "lengths": draw.random() < 0.6,
            "states": draw.random() < 0.5,
        }
        for kind in KINDS
        for _ in range(count)
    ]


@pytest.mark.parametrize("mode", modes(20), ids=lambda m: m["kind"])
def test_every_mode_of_a_layer(exported, mode):
    kind, options, dtype = mode["kind"], mode["options"], mode["dtype"]
    layer = KINDS[kind](I, H, dtype=dtype, **options)
    session = exported(layer, lengths=mode["lengths"], states=mode["states"])
    rows = layer.num_layers * (1 + layer.bidirectional)
    widths = [layer.proj_size or H, H][: 2 if kind == "lstm" else 1]
    for T, B in SIZES:
        x = (
            torch.randn(B, T, I, dtype=dtype)
            if layer.batch_first
            else torch.randn(T, B, I).to(dtype)
        )
        states = [torch.randn(rows, B, w, dtype=dtype) for w in widths] if mode["states"] else []
        lengths = torch.randint(T + 1, (B,)) if mode["lengths"] else None
        hx = None if not states else states[0] if len(states) == 1 else tuple(states)
        feeds = {"input": x, "lengths": lengths, **dict(zip(("h_0", "c_0"), states, strict=False))}
        given = {name: value.numpy() for name, value in feeds.items() if value is not None}
        tolerance = 1e-5 if dtype == torch.float32 else 1e-13
        assert_close(session.run(None, given), flat(layer(x, hx, lengths)), tolerance)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_computes_what_torchs_own_layer_does(exported, kind, options):
    layer = KINDS[kind](I, H, **options)
    theirs = getattr(torch.nn, kind.upper())(I, H, **options)
    theirs.load_state_dict(layer.state_dict())
    session = exported(layer)
    for T, B in SIZES:
        x, lengths = torch.randn(T, B, I), torch.randint(1, T + 1, (B,))
        y, last = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
        y = pad_packed_sequence(y, total_length=T)[0]
        found = session.run(None, {"input": x.numpy(), "lengths": lengths.numpy()})
        assert_close(found, flat((y, last)))


@pytest.mark.parametrize("name", ["tanh", "gelu"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_sizes_and_lengths(exported, kind, name):
    layer = KINDS[kind](I, H, bidirectional=True, **{PHI[kind]: name})
    session = exported(layer)

    @settings(max_examples=25, deadline=None, derandomize=True,
              suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
    @given(st.integers(1, 9).flatmap(lambda T: st.tuples(
        st.just(T), st.lists(st.integers(0, T), min_size=1, max_size=9))))  # fmt: skip
    def check(sizes):
        T, lengths = sizes
        x, lengths = torch.randn(T, len(lengths), I), torch.tensor(lengths)
        feeds = {"input": x.numpy(), "lengths": lengths.numpy()}
        assert_close(session.run(None, feeds), flat(layer(x, None, lengths)))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_batch_on_several_threads(file, kind):
    import onnxruntime as ort

    layer, x = KINDS[kind](I, 64), torch.randn(20, 70, I)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    to_onnx(layer, file, check=False, lengths=False)
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    assert_close(session.run(None, {"input": x.numpy()}), flat(layer(x)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_a_stream_is_continued_from_its_states(exported, kind, name):
    layer = KINDS[kind](I, H, **{PHI[kind]: name})
    session, x = exported(layer, lengths=False, states=True), torch.randn(6, 2, I)
    states = {i.name: np.zeros((1, 2, H), "float32") for i in session.get_inputs()[1:]}
    ys = []
    for step in x.numpy():
        y, *last = session.run(None, {"input": step[None], **states})
        ys.append(y)
        states = dict(zip(states, last, strict=True))
    assert_close([np.concatenate(ys)], flat(layer(x)[0]))


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("rnn", {"nonlinearity": "relu"}, "RNN"),
        ("rnn", {"nonlinearity": "hard_sigmoid", "num_layers": 2, "bidirectional": True}, "RNN"),
        ("gru", {"activation": "scaled_tanh", "gate_activation": "hard_sigmoid"}, "GRU"),
        ("lstm", {"activation": "elu", "output_activation": "identity"}, "LSTM"),
        ("rnn", {"nonlinearity": "gelu"}, "Scan"),
        ("rnn", {"nonlinearity": "softplus"}, "Scan"),
        ("rnn", {"nonlinearity": "thresholded_relu"}, "Scan"),
        ("rnn", {"nonlinearity": "prelu"}, "Scan"),
        ("rnn", {"leak": 0.5}, "Scan"),
        ("gru", {"gate_activation": "elliott"}, "Scan"),
        ("lstm", {"output_activation": "sin"}, "Scan"),
        ("lstm", {"proj_size": 2}, "Scan"),
        ("gru", {"dtype": torch.float64}, "Scan"),
    ],
)
def test_onnxs_operators_are_taken_where_they_hold(file, kind, options, expected):
    to_onnx(KINDS[kind](I, H, **options), file)
    assert {"RNN", "GRU", "LSTM", "Scan"} & set(operators(file)) == {expected}


def test_what_is_learnt_stands_in_the_file_under_its_name(exported, file):
    layer = tt.nn.GRU(I, H, activation="modrelu", gate_activation="swish", bidirectional=True)
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(torch.rand(value.shape) / 3)
    session = exported(layer)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(stored[name], value.numpy())
    for T, B in SIZES:
        assert_same(session, layer, T, B)


def test_what_is_learnt_is_held_within_its_bounds(exported):
    phi = tt.Activation("mine", "tanh(k*x)", k=(1.0, 0.0, 2.0), learnable=("k",))
    layer = tt.nn.RNN(I, H, nonlinearity=phi)
    with torch.no_grad():
        layer.nonlinearity_k_l0.fill_(5.0)
    assert_same(exported(layer), layer, 6, 2)


def test_a_parametrised_layer_goes_out_with_its_effective_weights(exported):
    layer = tt.nn.GRU(I, H)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original0.mul_(1.5)
    assert_same(exported(layer), layer, 6, 2)


def test_dropout_is_left_out_and_the_layer_stays_in_training(exported):
    layer = tt.nn.RNN(I, H, num_layers=2, dropout=0.5)
    session = exported(layer)
    assert layer.training
    assert_same(session, layer.eval(), 6, 2)


@pytest.mark.parametrize("name", ["tanh", "relu", "hard_sigmoid", "gelu"])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_travels_as_in_the_layer(exported, kind, name):
    layer = KINDS[kind](I, H, num_layers=2, bidirectional=True, **{PHI[kind]: name})
    session = exported(layer, states=True)
    x, lengths = torch.randn(6, 4, I), torch.tensor([5, 4, 6, 5])
    states = [torch.randn(4, 4, H) for _ in session.get_inputs()[2:]]
    x[3, 0, 1] = x[5, 1, 0] = states[0][0, 2, 1] = torch.nan  # sequence 1 is over by then
    hx = states[0] if len(states) == 1 else tuple(states)
    feeds = [x, lengths, *states]
    names = [i.name for i in session.get_inputs()]
    found = session.run(None, {n: v.numpy() for n, v in zip(names, feeds, strict=True)})
    for u, v in zip(found, flat(layer(x, hx, lengths)), strict=True):
        np.testing.assert_array_equal(np.isnan(u), np.isnan(v))
        np.testing.assert_allclose(u, v, atol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
@pytest.mark.parametrize("kind", KINDS)
def test_input_that_does_not_fit_stops_the_run_and_not_the_process(exported, kind, name):
    session = exported(KINDS[kind](I, H, **{PHI[kind]: name}))
    for T, B, lengths, why in (
        (0, 2, [0, 0], "input_needs_a_step_and_a_sequence"),
        (3, 0, [], "input_needs|lengths_go"),
        (3, 2, [4, 1], "lengths_go_from_0_to_T"),
        (3, 2, [2, -1], "lengths_go_from_0_to_T"),
    ):
        feeds = {"input": np.zeros((T, B, I), "float32"), "lengths": np.array(lengths, "int64")}
        with pytest.raises(Exception, match=why):
            session.run(None, feeds)
    feeds = {"input": np.zeros((3, 2, I), "float32"), "lengths": np.array([3, 1])}
    session.run(None, feeds)
