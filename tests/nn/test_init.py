"""Where the recurrences start: each initialiser against its definition."""

from __future__ import annotations

import copy
import math
import re

import pytest
import scipy.integrate
import scipy.stats
import torch

import throughtime as tt
from throughtime.errors import LayerError
from throughtime.nn import init

H = 64
LAYERS = {
    "rnn": (tt.nn.RNN, 1),
    "gru": (tt.nn.GRU, 3),
    "lstm": (tt.nn.LSTM, 4),
    "rnn cell": (tt.nn.RNNCell, 1),
    "gru cell": (tt.nn.GRUCell, 3),
    "lstm cell": (tt.nn.LSTMCell, 4),
}


def started(kind: str, how, seed: int = 0, **options) -> torch.nn.Module:
    torch.manual_seed(seed)
    return LAYERS[kind][0](5, H, recurrent_init=how, dtype=torch.float64, **options)


def blocks(kind: str, layer: torch.nn.Module) -> list[torch.Tensor]:
    name = "weight_hh" if kind.endswith("cell") else "weight_hh_l0"
    return list(getattr(layer, name).detach().chunk(LAYERS[kind][1]))


EYE = torch.eye(H, dtype=torch.float64)


@pytest.mark.parametrize("kind", LAYERS)
def test_orthogonal_is_orthogonal_gate_by_gate(kind):
    found = blocks(kind, started(kind, "orthogonal:1.5"))
    for W in found:
        torch.testing.assert_close(W @ W.T, 2.25 * EYE)
    assert all(not torch.equal(found[0], W) for W in found[1:])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("how", "scale"),
    [("identity", 1.0), ("scaled_identity", 0.01), ("scaled_identity:0.5", 0.5),
     (("scaled_identity", {"scale": 2}), 2.0)],
)  # fmt: skip
def test_identities(kind, how, scale):
    assert all(torch.equal(W, scale * EYE) for W in blocks(kind, started(kind, how)))


@pytest.mark.parametrize("kind", LAYERS)
def test_gaussian_has_its_gain(kind):
    for W in blocks(kind, started(kind, ("gaussian", {"gain": 1.5}))):
        assert W.std() * math.sqrt(H) == pytest.approx(1.5, rel=0.06)
        assert scipy.stats.kstest(W.flatten() * math.sqrt(H) / 1.5, "norm").pvalue > 1e-4


@pytest.mark.parametrize("kind", LAYERS)
def test_np_rnn_is_positive_definite_with_largest_eigenvalue_one(kind):
    layer = started(kind, "np_rnn")
    for W in blocks(kind, layer):
        torch.testing.assert_close(W, W.T)
        values = torch.linalg.eigvalsh(W)
        assert values[-1] == pytest.approx(1.0, abs=1e-12)
        assert values[0] > 0
        assert values[-2] < 1
    w_ih = (layer.weight_ih if kind.endswith("cell") else layer.weight_ih_l0).detach()
    alpha = math.sqrt(2) * math.exp(1.2 / (H - 2.4))
    assert w_ih.std() * math.sqrt(H) == pytest.approx(alpha, rel=0.12)


def test_uniform_is_torchs_own_or_has_the_bound_given():
    plain, named = started("lstm", None), started("lstm", "uniform")
    for u, v in zip(plain.parameters(), named.parameters(), strict=True):
        assert torch.equal(u, v)
    bounded = started("lstm", "uniform:0.5").weight_hh_l0
    assert 0.49 < bounded.abs().max() <= 0.5


def expected_squared_slope(name: str) -> float:
    def density(z):
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    slope = {
        "tanh": lambda z: 1 / math.cosh(z) ** 2,
        "relu": lambda z: float(z > 0),
        "elu": lambda z: 1.0 if z > 0 else math.exp(z),
        "softsign": lambda z: (1 + abs(z)) ** -2,
    }[name]
    return scipy.integrate.quad(lambda z: density(z) * slope(z) ** 2, -10, 10, points=[0])[0]


@pytest.mark.parametrize("name", ["tanh", "relu", "elu", "softsign"])
def test_critical_gain_is_what_the_activation_calls_for(name):
    wanted = 1 / math.sqrt(expected_squared_slope(name))
    (W,) = blocks("rnn", started("rnn", "critical", nonlinearity=name))
    torch.testing.assert_close(W @ W.T, wanted**2 * EYE, rtol=1e-4, atol=1e-10)
    (W,) = blocks("rnn", started("rnn", "critical:gaussian", nonlinearity=name))
    assert W.std() * math.sqrt(H) == pytest.approx(wanted, rel=0.06)
    for kind in ("gru", "lstm"):
        gains = [float((W @ W.T)[0, 0].sqrt()) for W in blocks(kind, started(kind, "critical",
                 activation=name))]  # fmt: skip
        assert gains[2] == pytest.approx(wanted, rel=1e-5)
        assert gains[:2] + gains[3:] == pytest.approx([1.0] * (len(gains) - 1))


def test_a_critical_start_keeps_the_gradient_of_relu():
    def norm(how):
        torch.manual_seed(0)
        layer = tt.nn.RNN(4, 256, nonlinearity="relu", recurrent_init=how, dtype=torch.float64)
        h_0 = torch.randn(1, 32, 256, dtype=torch.float64, requires_grad=True)
        h_n = layer(torch.zeros(30, 32, 4, dtype=torch.float64), h_0)[1]
        return torch.autograd.grad(h_n, h_0, torch.randn_like(h_n))[0].norm() / math.sqrt(32 * 256)

    assert 0.1 < norm("critical:gaussian") < 10
    assert norm(None) < 1e-6


@pytest.mark.parametrize("kind", LAYERS)
def test_every_initialiser_changes_the_start_and_the_output(kind):
    outputs = {}
    for name in (*init.names(), torch.nn.init.xavier_uniform_):
        layer = started(kind, name)
        x = torch.ones((2, 5) if kind.endswith("cell") else (3, 2, 5), dtype=torch.float64)
        hx = torch.ones(((2, H) if kind.endswith("cell") else (1, 2, H)), dtype=torch.float64)
        y = layer(x, (hx, hx) if kind.startswith("lstm") else hx)
        outputs[str(name)] = y[0] if isinstance(y, tuple) else y
    values = list(outputs.values())
    assert not any(torch.equal(a, b) for i, a in enumerate(values) for b in values[:i])


def test_only_the_recurrent_matrix_is_touched_in_every_layer_and_direction():
    plain = started("gru", None, num_layers=2, bidirectional=True)
    other = started("gru", "orthogonal", num_layers=2, bidirectional=True)
    for (name, u), v in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(u, v) != name.startswith("weight_hh"), name


def test_a_projected_lstm_starts_orthogonal_and_refuses_what_needs_a_square():
    layer = tt.nn.LSTM(5, H, proj_size=8, recurrent_init="orthogonal", dtype=torch.float64)
    for W in layer.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(W.T @ W, torch.eye(8, dtype=torch.float64))
    for name in ("identity", "scaled_identity", "np_rnn"):
        with pytest.raises(LayerError, match=re.escape("(64, 8)")):
            tt.nn.LSTM(5, H, proj_size=8, recurrent_init=name)


def test_a_function_of_ones_own_fills_in_place_or_returns():
    def ring(w):
        return torch.roll(torch.eye(len(w), dtype=w.dtype), 1, dims=0)

    def in_place(w):
        w.copy_(ring(w))

    wanted = torch.roll(EYE, 1, dims=0)
    for how in (ring, in_place):
        assert all(torch.equal(W, wanted) for W in blocks("lstm", started("lstm", how)))
    with pytest.raises(LayerError, match=re.escape("(3, 3); it must be (64, 64)")):
        started("gru", lambda w: torch.eye(3))


def test_reset_draws_again_as_it_was_built():
    layer = started("lstm", "orthogonal", forget_bias=1.0)
    before = copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(9)
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("kind", "suffixes"),
    [("gru", ["_l0", "_l1_reverse"]), ("lstm", ["_l0", "_l1_reverse"]), ("gru cell", [""]),
     ("lstm cell", [""])],
)  # fmt: skip
def test_the_forget_bias_is_what_is_added_to_that_gate(kind, suffixes):
    options = {} if kind.endswith("cell") else {"num_layers": 2, "bidirectional": True}
    layer, plain = (started(kind, None, forget_bias=b, **options) for b in (1.5, None))
    for suffix in suffixes:
        total = getattr(layer, f"bias_ih{suffix}") + getattr(layer, f"bias_hh{suffix}")
        gates = total.chunk(LAYERS[kind][1])
        assert torch.equal(gates[1], torch.full_like(gates[1], 1.5))
        for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
            for gate, (u, v) in enumerate(
                zip(getattr(layer, name).chunk(len(gates)), getattr(plain, name).chunk(len(gates)),
                    strict=True)
            ):  # fmt: skip
                assert torch.equal(u, v) == (gate != 1)


@pytest.mark.parametrize("how", ["chrono:200", ("chrono", {"steps": 200})])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_chrono_spreads_the_spans_of_memory(kind, how):
    torch.manual_seed(0)
    layer = LAYERS[kind][0](2, 2000, forget_bias=how)
    total = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(LAYERS[kind][1])
    spans = total[1].exp()
    assert scipy.stats.kstest((spans - 1) / 198, "uniform").pvalue > 1e-3
    if kind == "lstm":
        assert torch.equal(total[0], -total[1])
    else:
        assert total[0].abs().max() <= 2 / math.sqrt(2000)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("orthogonall", "The nearest: orthogonal"),
        ("", "recurrent_init: there is no ''"),
        ("gaussian:wide", "gain = 'wide' must be a finite number above 0"),
        ("gaussian:-1", "gain = -1.0 must be"),
        ("gaussian:nan", "gain = nan must be"),
        ("orthogonal:inf", "gain = inf must be"),
        ("identity:2", "identity has no option '2'"),
        (("gaussian", {"scale": 2}), "gaussian has no option 'scale'. Its options: gain"),
        (("gaussian", 2), "is not understood"),
        (3, "recurrent_init = 3 is not understood"),
        ("critical:magic", "Choose one of: orthogonal, gaussian"),
        ("scaled_identity:", "scale = '' must be"),
    ],
)
def test_a_start_that_is_not_known_is_refused(how, message):
    with pytest.raises(LayerError, match=re.escape(message)):
        tt.nn.RNN(3, 4, recurrent_init=how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("chrono", "needs steps"),
        ("chrono:2", "steps = 2.0 must be"),
        ("chrono:long", "steps = 'long' must be"),
        ("krono:9", "forget_bias: there is no 'krono'"),
        (math.nan, "forget_bias = nan"),
        (True, "forget_bias = True"),
        ([1.0, 2.0], "forget_bias = [1.0, 2.0]"),
    ],
)
@pytest.mark.parametrize("layer", [tt.nn.GRU, tt.nn.LSTMCell])
def test_a_forget_bias_that_is_none_is_refused(layer, how, message):
    with pytest.raises(LayerError, match=re.escape(message)):
        layer(3, 4, forget_bias=how)


def test_what_has_no_place_is_refused():
    with pytest.raises(LayerError, match="no place with bias=False"):
        tt.nn.LSTM(3, 4, bias=False, forget_bias=1.0)
    with pytest.raises(LayerError, match="has no critical gain"):
        tt.nn.RNN(3, 4, nonlinearity=tt.Activation("flat", "0*x"), recurrent_init="critical")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", tt.nn.init.names())
def test_every_start_fills_weights_of_half_precision(how, dtype):
    w = tt.nn.GRU(3, 8, recurrent_init=how, dtype=dtype).weight_hh_l0[:8]
    assert w.dtype == dtype and w.isfinite().all()
    if how == "orthogonal":
        product = w.detach().float() @ w.detach().float().T
        torch.testing.assert_close(product, torch.eye(8), rtol=0, atol=0.02)
