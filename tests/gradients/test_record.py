"""Records against an unrolled loop with autograd, in float64, to 1e-10."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import throughtime.nn as ours
from throughtime.activations import Activation, activation
from throughtime.errors import LayerError
from throughtime.gradients import trace

T, B, I, H = 6, 4, 3, 5  # noqa: E741
LENGTHS = [4, 6, 1, 3]
KINDS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


def last_step(y, h, c):
    return y[-1].pow(2).sum() + y[0].sum()


def all_steps(y, h, c):
    return (y.sin() * torch.arange(y.numel()).view_as(y)).mean()


def h_n(y, h, c):
    return (h.cos() * torch.arange(h.numel()).view_as(h)).sum()


def c_n(y, h, c):
    return (c.cos() * torch.arange(c.numel()).view_as(c)).sum() + h.sum()


LOSSES = {f.__name__: f for f in (last_step, all_steps, h_n, c_n)}


def states(last):
    return last if isinstance(last, tuple) else (last, last)


def run(module, x, loss, lengths=None, packed=False, batch_first=False, hx=None):
    def loss_fn(m, x):
        if packed:
            packed_x = pack_padded_sequence(x, torch.tensor(lengths), batch_first, False)
            y, last = m(packed_x, hx)
            y = pad_packed_sequence(y, batch_first, total_length=T)[0]
        elif lengths is not None:
            y, last = m(x, hx, lengths=torch.tensor(lengths))
        else:
            y, last = m(x, hx)
        return loss(y.transpose(0, 1) if batch_first else y, *states(last))

    return loss_fn


def assert_same(record, true):
    for name in ("state", "injected", "total", "delta", "preactivation"):
        torch.testing.assert_close(
            getattr(record, name),
            getattr(true, name),
            rtol=1e-10,
            atol=1e-10,
            msg=lambda m, n=name: f"{n}: {m}",
        )
    assert_slopes(record, true.preactivation)
    if record.cell is not None:
        torch.testing.assert_close(record.cell, true.cell, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(record.cell_total, true.cell_total, rtol=1e-10, atol=1e-10)
    first = record.first(2)
    for name in ("state", "total", "delta", "preactivation"):
        some, every = getattr(first, name), getattr(record, name)
        torch.testing.assert_close(some, every[:, :2], rtol=1e-10, atol=1e-12)


def assert_slopes(record, preactivation):
    """φ'(a_t) of every gate against autograd through φ alone."""
    r = record.recurrence
    for gate in r.gates:
        a = record.gate_block(preactivation, gate).clone().requires_grad_()
        (expected,) = torch.autograd.grad(r.activation_of(gate).value(a).sum(), a)
        expected = torch.where(record.alive.unsqueeze(-1), expected, 0.0)
        torch.testing.assert_close(record.gate_block(record.slope, gate), expected)


def compare(module, kind, truth, loss, lengths=None, packed=False, route="auto", hx=None, **places):
    batch_first = module.batch_first
    x = torch.randn(T, B, I, dtype=torch.float64)
    given = x.transpose(0, 1) if batch_first else x
    found = trace(
        module, given, run(module, given, loss, lengths, packed, batch_first, hx), route=route
    )
    h0, c0 = (None, None) if hx is None else states(hx)
    true = truth(module, kind, x, lengths or [T] * B, loss, h0=h0, c0=c0, **places)
    assert list(found.records) == list(true)
    for key, record in found.records.items():
        assert_same(record, true[key])
        padding = ~record.alive
        for tensor in (record.total, record.delta, record.injected, record.state, record.slope):
            assert not tensor[padding].any()
    assert all(difference < 1e-10 for difference in found.check.values())
    return found


@pytest.mark.parametrize("route", ["adjoint", "probe"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", KINDS)
def test_torch_layers(name, loss, route, truth):
    for layers, bidirectional, packed in itertools.product((1, 2), (False, True), (False, True)):
        module = getattr(nn, name)(I, H, layers, bidirectional=bidirectional, dtype=torch.float64)
        lengths = LENGTHS if packed else None
        compare(module, KINDS[name], truth, LOSSES[loss], lengths, packed, route)


@pytest.mark.parametrize("route", ["adjoint", "probe"])
@pytest.mark.parametrize("options", [
    {"bias": False}, {"batch_first": True}, {"num_layers": 3, "bidirectional": True, "bias": False},
    {"proj_size": 2}, {"proj_size": 2, "num_layers": 2, "bidirectional": True},
    {"nonlinearity": "relu"},
])  # fmt: skip
@pytest.mark.parametrize("name", KINDS)
def test_options_of_torch_layers(name, options, route, truth):
    if ("proj_size" in options and name != "LSTM") or ("nonlinearity" in options and name != "RNN"):
        return
    module = getattr(nn, name)(I, H, **{"dtype": torch.float64, **options})
    phi = torch.relu if "nonlinearity" in options else torch.tanh
    rows = module.num_layers * (2 if module.bidirectional else 1)
    h0 = torch.randn(rows, B, module.proj_size or H, dtype=torch.float64)
    c0 = torch.randn(rows, B, H, dtype=torch.float64)
    hx = (h0, c0) if name == "LSTM" else h0
    for lengths in (None, LENGTHS):
        compare(
            module, KINDS[name], truth, all_steps, lengths, lengths is not None, route, hx, phi=phi
        )


PHIS = ["relu", "leaky_relu", "elu", "softsign", "identity", "sin",
        Activation("mine", "x*sigmoid(beta*x)", beta=1.3, learnable={"beta": "unit"})]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("route", ["auto", "adjoint", "probe"])
@pytest.mark.parametrize("phi", PHIS, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_our_layers_with_any_activation(name, phi, route, loss, truth):
    place = {"RNN": "nonlinearity"}.get(name, "activation")
    more = {} if name == "RNN" else {"gate_activation": "hard_sigmoid"}
    options = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64, place: phi, **more}
    module = getattr(ours, name)(I, H, **options)
    with torch.no_grad():
        for key, p in module.named_parameters():
            if "beta" in key:
                p.uniform_(0.5, 1.5)
    # a parameter of one's own differs by layer and direction: one layer, one direction then
    if isinstance(phi, Activation):
        module = getattr(ours, name)(I, H, **(options | {"num_layers": 1, "bidirectional": False}))
    f, gate = module._phi(place, "l0"), activation("hard_sigmoid")
    for lengths in (None, LENGTHS):
        found = compare(
            module, KINDS[name], truth, LOSSES[loss], lengths, False, route, phi=f, gate=gate
        )
        assert all(
            r.recurrence.phi.name == (phi if isinstance(phi, str) else "mine")
            for r in found.records.values()
        )


def test_leak(truth):
    module = ours.RNN(I, H, nonlinearity="elu", leak=0.3, dtype=torch.float64)
    for route in ("auto", "adjoint", "probe"):
        compare(
            module,
            "elman",
            truth,
            all_steps,
            LENGTHS,
            False,
            route,
            phi=activation("elu"),
            leak=0.3,
        )


@pytest.mark.parametrize("name", KINDS)
def test_what_the_loss_injects_is_what_a_hook_sees(name):
    module = getattr(nn, name)(I, H, dtype=torch.float64)
    seen = {}

    def loss_fn(m, x):
        y, _ = m(x)
        y.register_hook(lambda g: seen.update(y=g))
        return y.sin().sum()

    record = trace(module, torch.randn(T, B, I, dtype=torch.float64), loss_fn).records["l0"]
    torch.testing.assert_close(record.injected, seen["y"])
    assert not torch.allclose(record.total, record.injected)
    torch.testing.assert_close(record.total[-1], record.injected[-1])


@pytest.mark.parametrize("name", KINDS)
def test_unbatched(name, truth):
    module = getattr(nn, name)(I, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, I, dtype=torch.float64)
    found = trace(module, x, lambda m, x: all_steps(*(lambda y, s: (y, *states(s)))(*m(x))))
    true = truth(module, KINDS[name], x.unsqueeze(1), [T], all_steps)
    for key, record in found.records.items():
        assert_same(record, true[key])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM, ours.GRU])
def test_dropout_between_layers_is_the_one_of_the_pass(make, packed):
    """The records rebuild ∇W_hh of every layer, which they cannot with another mask."""
    module = make(I, H, 3, dropout=0.5, bidirectional=True, batch_first=True, dtype=torch.float64)

    def loss_fn(m, x):
        if packed:
            x = pack_padded_sequence(x, torch.tensor(LENGTHS), True, enforce_sorted=False)
        y = m(x)[0]
        return (y.data if packed else y).sin().sum()

    x = torch.randn(B, T, I, dtype=torch.float64)
    found = trace(module, x, loss_fn)
    assert found.check[""] < 1e-10
    module.eval()
    assert trace(module, x, loss_fn).loss != found.loss


@pytest.mark.parametrize("library", [nn, ours], ids=["torch", "ours"])
@pytest.mark.parametrize("name", KINDS)
def test_cells_in_a_loop_of_ones_own(name, library, truth):
    layer = getattr(nn, name)(I, H, dtype=torch.float64)
    cell = getattr(library, f"{name}Cell")(I, H, dtype=torch.float64)
    for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, key).data.copy_(getattr(layer, f"{key}_l0").data)

    def loss_fn(m, x):
        s, ys = None, []
        for t in range(T):
            s = m(x[t], s)
            ys.append(s[0] if isinstance(s, tuple) else s)
        return all_steps(torch.stack(ys), *states(s)) + c_n(None, *states(s))

    x = torch.randn(T, B, I, dtype=torch.float64)
    found = trace(cell, x, loss_fn)

    def same(y, h, c):
        return all_steps(y, h, c) + c_n(None, h, c)

    true = truth(layer, KINDS[name], x, [T] * B, same)["l0"]
    record = found.records["cell"]
    assert_same(record, true)
    assert record.linked
    assert found.check[""] < 1e-10
    expected = trace(layer, x, lambda m, x: same(*(lambda y, s: (y, *states(s)))(*m(x)))).records[
        "l0"
    ]
    torch.testing.assert_close(record.injected, expected.injected)


@pytest.mark.parametrize("phi", ["relu", "elu", "softsign"])
@pytest.mark.parametrize("name", KINDS)
def test_our_cells_with_any_activation(name, phi, truth):
    place = {"RNN": "nonlinearity"}.get(name, "activation")
    layer, cell = (
        getattr(ours, kind)(I, H, dtype=torch.float64, **{place: phi})
        for kind in (name, f"{name}Cell")
    )
    for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, key).data.copy_(getattr(layer, f"{key}_l0").data)
    x = torch.randn(T, B, I, dtype=torch.float64)

    def loss_fn(m, x):
        s, ys = None, []
        for t in range(T):
            s = m(x[t], s)
            ys.append(states(s)[0])
        return all_steps(torch.stack(ys), *states(s))

    true = truth(layer, KINDS[name], x, [T] * B, all_steps, phi=activation(phi))["l0"]
    found = trace(cell, x, loss_fn)
    assert_same(found.records["cell"], true)
    assert found.check[""] < 1e-10


@pytest.mark.parametrize("name", KINDS)
def test_cells_whose_state_is_masked_between_steps(name):
    """g_t and δ_t stay exact; what came through the caller's own operation counts as injected."""
    cell = getattr(nn, f"{name}Cell")(I, H, dtype=torch.float64)
    alive = torch.arange(T).unsqueeze(-1) < torch.tensor(LENGTHS)
    totals = []

    def loss_fn(m, x):
        s = None
        for t in range(T):
            new = states(m(x[t], s))
            totals.append(new[0])
            new[0].retain_grad()
            old = tuple(torch.zeros_like(n) for n in new) if s is None else states(s)
            kept = tuple(
                torch.where(alive[t, :, None], n, o) for n, o in zip(new, old, strict=True)
            )
            s = kept if name == "LSTM" else kept[0]
        return states(s)[0].sin().sum()

    found = trace(cell, torch.randn(T, B, I, dtype=torch.float64), loss_fn)
    record = found.records["cell"]
    assert not record.linked
    assert found.check[""] < 1e-10
    for t, h in enumerate(totals):
        torch.testing.assert_close(record.total[t], h.grad, rtol=1e-10, atol=1e-12)


def test_several_layers_of_one_model_and_several_calls_of_one_layer():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.GRU(I, H, 2)
            self.head = nn.ModuleDict({"rnn": ours.RNN(H, H, nonlinearity="relu")})

        def forward(self, x):
            y, _ = self.encoder(x)
            z, _ = self.head["rnn"](y)
            return self.head["rnn"](z.detach() + y)[0]

    found = trace(
        Model().double(), torch.randn(T, B, I, dtype=torch.float64), lambda m, x: m(x).sin().sum()
    )
    assert list(found.records) == ["encoder.l0", "encoder.l1", "head.rnn.l0", "head.rnn.l0#2"]
    assert not found.records["head.rnn.l0"].total.any()
    assert max(found.check.values()) < 1e-10


def test_an_output_changed_in_place_is_recorded_as_the_layer_made_it():
    module = nn.RNN(I, H, dtype=torch.float64)

    def plain(m, x):
        return (m(x)[0] * 3).sin().sum()

    def in_place(m, x):
        y = m(x)[0]
        y.mul_(3)
        return y.sin().sum()

    x = torch.randn(T, B, I, dtype=torch.float64)
    one, two = (trace(module, x, f).records["l0"] for f in (plain, in_place))
    for name in ("state", "injected", "total", "delta"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))


def test_frozen_layers_are_recorded_too():
    module = nn.Sequential(nn.LSTM(I, H).requires_grad_(False))
    head = nn.Linear(H, 1)
    model = nn.ModuleList([module, head])
    record = trace(model, torch.randn(T, B, I), lambda m, x: m[1](m[0](x)[0][-1]).sum()).records[
        "0.0.l0"
    ]
    assert record.total[0].any()


def test_our_kernels_tell_what_they_hold():
    """The route is taken, in both precisions, and with two backward passes δ adds up."""
    from throughtime.gradients.record.capture import Capture
    from throughtime.gradients.record.layers import recurrent_modules
    from throughtime.gradients.tracing import records_of

    module = ours.GRU(I, H, 2, bidirectional=True)
    with Capture(recurrent_modules(module)) as capture:
        y, h = module(torch.randn(T, B, I))
    y.sin().sum().backward(retain_graph=True)
    h.sum().backward()
    assert sorted(capture.calls[0].tapped) == [0, 1, 2, 3]
    told, written = records_of(capture, "auto"), records_of(capture, "adjoint")
    for key in written:
        torch.testing.assert_close(told[key].total, written[key].total, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(told[key].delta, written[key].delta, rtol=1e-4, atol=1e-5)


def test_an_exception_in_the_pass_leaves_no_tap_behind():
    from throughtime.kernels.tap import listener

    module = ours.GRU(I, H)
    with pytest.raises(LayerError):
        trace(module, torch.randn(T, B, I + 1), lambda m, x: m(x)[0].sum())
    assert listener() is None


def test_one_length_for_an_unbatched_sequence():
    module = ours.RNN(I, H, dtype=torch.float64)
    x = torch.randn(T, I, dtype=torch.float64)
    record = trace(module, x, lambda m, x: m(x, lengths=4)[0].sum()).records["l0"]
    assert record.lengths.tolist() == [4] and not record.total[4:].any()


def test_the_first_sequences_of_a_batch_can_be_recorded_alone():
    from throughtime.gradients.record.capture import Capture
    from throughtime.gradients.record.layers import recurrent_modules
    from throughtime.gradients.record.replay import records_of_call

    for module in (
        nn.LSTM(I, H, 2, bidirectional=True, dropout=0.4),
        ours.GRU(I, H, 2, dropout=0.4),
    ):
        x = pack_padded_sequence(torch.randn(T, B, I), torch.tensor(LENGTHS), False, False)
        found = []
        for sequences in (None, 2):
            torch.manual_seed(0)
            with Capture(recurrent_modules(module), sequences=sequences) as capture:
                y = module(x)[0]
            y.data.sin().sum().backward()
            found.append(records_of_call(capture.calls[0], ""))
        every, few = found
        assert list(few) == list(every)
        for key, record in few.items():
            assert record.lengths.tolist() == LENGTHS[:2]
            torch.testing.assert_close(record.total, every[key].total[:, :2])


@pytest.mark.parametrize("library", [nn, ours], ids=["torch", "ours"])
@pytest.mark.parametrize("name", KINDS)
def test_cells_watched_in_training_itself(name, library):
    """Nothing is put in the way; what was injected is what is left of the whole."""
    from throughtime.gradients.record.capture import Capture
    from throughtime.gradients.record.layers import recurrent_modules
    from throughtime.gradients.tracing import records_of

    cell = getattr(library, f"{name}Cell")(I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)

    def loss_fn(m, x):
        s, ys = None, []
        for t in range(T):
            s = m(x[t], s)
            ys.append(s[0] if isinstance(s, tuple) else s)
        return all_steps(torch.stack(ys), *states(s)) + c_n(None, *states(s))

    with Capture(recurrent_modules(cell)) as capture:
        loss = loss_fn(cell, x)
    loss.backward()
    found = records_of(capture)["cell"]
    expected = trace(cell, x, loss_fn).records["cell"]
    for what in ("injected", "total", "delta", "cell_total"):
        if getattr(expected, what) is not None:
            torch.testing.assert_close(getattr(found, what), getattr(expected, what))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", KINDS)
def test_single_precision(name, loss):
    """PyTorch may run another kernel for it, and hands None to hooks of outputs not used."""
    module = getattr(nn, name)(I, H, 2, bidirectional=True)
    for lengths in (None, LENGTHS):
        loss_fn = run(module, None, LOSSES[loss], lengths, bool(lengths))
        assert trace(module, torch.randn(T, B, I), loss_fn).check[""] < 1e-4
