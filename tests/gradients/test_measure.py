"""Every measure against a known answer."""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import schur
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime.cells as cells
import throughtime.nn as ours
from throughtime.errors import TraceError
from throughtime.gradients import measure, trace
from throughtime.gradients.measure.beside import side_by_side
from throughtime.gradients.measure.onestep import (
    commutator,
    eigenvalues,
    henrici,
    radii,
    singular_values,
)
from throughtime.gradients.measure.transport import (
    _step_by_step,
    reach,
)
from throughtime.gradients.measured import measured, measures
from throughtime.gradients.plain import plain
from throughtime.gradients.record.fused import sent_back

T, B, H = 12, 5, 6
LENGTHS = [12, 7, 1, 9, 12]
MAKE = {
    "RNN": lambda **k: nn.RNN(3, H, **k),
    "leaky": lambda **k: ours.RNN(3, H, nonlinearity="elu", leak=0.4, **k),
    "GRU": lambda **k: nn.GRU(3, H, **k),
    "LSTM": lambda **k: nn.LSTM(3, H, **k),
    "projected": lambda **k: nn.LSTM(3, H, proj_size=4, **k),
}


def traced(module, x=None, loss=lambda y: y.sin().sum(), lengths=None):
    x = torch.randn(T, B, 3, dtype=torch.float64) if x is None else x

    def loss_fn(m, x):
        if lengths is None:
            return loss(m(x)[0])
        packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        return loss(m(packed)[0].data)

    return trace(module, x, loss_fn).records


@pytest.fixture(params=MAKE)
def module(request):
    return MAKE[request.param](dtype=torch.float64)


def linear(weight, T=200, B=3):
    """A linear Elman layer on a trajectory of zeros."""
    layer = ours.RNN(1, len(weight), nonlinearity="identity", bias=False, dtype=torch.float64)
    layer.weight_hh_l0.data.copy_(weight)
    x = torch.zeros(T, B, 1, dtype=torch.float64)
    return traced(layer, x)["l0"]


def traced_from_last(record):
    """The same network with a loss of the last state alone."""
    r = record.recurrence
    layer = ours.RNN(1, len(r.w_hh), nonlinearity="identity", bias=False, dtype=torch.float64)
    layer.weight_hh_l0.data.copy_(r.w_hh)
    return traced(layer, record.run.x, loss=lambda y: y[-1].sum())["l0"]


def orthogonal(n):
    return nn.init.orthogonal_(torch.empty(n, n, dtype=torch.float64))


# 1


@pytest.mark.parametrize("reverse", [False, True])
def test_signal(reverse):
    module = nn.GRU(3, H, bidirectional=True, dtype=torch.float64)
    record = traced(module, lengths=LENGTHS)["l0_reverse" if reverse else "l0"]
    found, norms = measure.signal(record), record.total.norm(dim=-1)
    for t in range(T):
        alive = [b for b in range(B) if t < LENGTHS[b]]
        assert found.sequences[t] == len(alive)
        expected = norms[t, alive].square().mean().sqrt()
        assert found.total[t] == pytest.approx(expected.item(), rel=1e-12)
        assert found.total_low[t] <= expected <= found.total_high[t] or len(alive) == 2
    lagged = measure.signal(record, align="lag")
    ends = [(0 if reverse else n - 1) for n in LENGTHS]
    last = norms[ends, range(B)].square().mean().sqrt()
    assert lagged.total[0] == pytest.approx(last.item(), rel=1e-12)
    assert lagged.sequences.tolist() == [sum(n > k for n in LENGTHS) for k in range(T)]


def test_signal_counts_exact_zeros():
    record = traced(nn.RNN(3, H, dtype=torch.float64), loss=lambda y: y[-1, :2].sin().sum())["l0"]
    found = measure.signal(record)
    np.testing.assert_allclose(found.total_zero, 3 / 5)
    assert found.injected_zero[:-1].tolist() == [1.0] * (T - 1)


def test_signal_far_below_the_square_root_of_the_smallest_number():
    """From 1e-162 on down the square of a norm is 0; the norm is not."""
    record = linear(0.01 * orthogonal(8), T=100)
    found = measure.signal(traced_from_last(record))
    np.testing.assert_allclose(np.log10(found.total / found.total[-1])[::-1], -2.0 * np.arange(100))


def test_spread_over_sequences():
    values = np.abs(np.random.default_rng(0).normal(size=(8, 9)))
    values[2, 3:] = np.nan
    values[4] = np.nan
    values[5, ::3] = 0
    values[6, 0] = np.inf
    values[7] *= 1e-200  # squares vanish
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [
            np.sqrt(np.nanmean(values.astype(np.longdouble) ** 2, 1)),  # its exponent is wider
            *np.nanquantile(values, [0.1, 0.9], axis=1),
            [np.mean(row[~np.isnan(row)] == 0) for row in values],
            (~np.isnan(values)).sum(1),
        ]
    np.testing.assert_allclose(measure.series.spread(values), expected)


# 2


def test_split_of_elman_adds_up():
    record = traced(nn.RNN(3, H, dtype=torch.float64), lengths=LENGTHS)["l0"]
    found = measure.split(record)
    np.testing.assert_allclose(found.total[1:], (found.slope + found.weights)[1:], rtol=1e-12)
    t, alive = 4, [b for b in range(B) if LENGTHS[b] > 4]
    g, d, w = record.total[t, alive], record.slope[t, alive], record.recurrence.w_hh
    assert found.slope[t] == pytest.approx(((d * g).norm() / g.norm()).log().item(), rel=1e-12)
    assert found.weights[t] == pytest.approx((((d * g) @ w).norm() / (d * g).norm()).log().item())
    assert math.isnan(found.total[0])
    np.testing.assert_allclose(found.paths["h"][1:], 1, rtol=1e-12)


@pytest.mark.parametrize("gain", [1.0, 1e-1, 1e-4, 1e-9])
def test_split_of_what_is_far_below_what_is_injected(gain):
    """It is no difference of the two, which in single precision would be rounding."""
    torch.manual_seed(0)
    layer, x = nn.RNN(3, H), torch.randn(T, B, 3)
    layer.weight_hh_l0.data.mul_(gain)
    wide = nn.RNN(3, H, dtype=torch.float64)
    wide.load_state_dict(layer.state_dict())
    found, expected = (measure.split(traced(m, x.to(m.weight_hh_l0.dtype))["l0"])
                       for m in (layer, wide))  # fmt: skip
    for name in ("total", "slope", "weights"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-5)


def halved(cell, x):
    """The states of a cell whose caller halves each before it goes on, and at one step drops it."""
    states = []
    for t, step in enumerate(x):
        states.append(cell(step, states[-1] * (0.0 if t == 6 else 0.5) if states else None))
    return torch.stack(states)


INJECTED = {
    "last step": lambda y: y[-1].sin().sum(),
    "some": lambda y: y[4, :3].sum() + y[::5, 2].square().sum(),
    "none but zeros": lambda y: y[-1, 0].sum() + 0 * y[3].sum(),
    "last unit": lambda y: y[:, :, -1].sum(),
}


@pytest.mark.parametrize("run", [lambda m, x: m(x)[0], halved])
@pytest.mark.parametrize("loss", INJECTED)
def test_split_is_that_of_the_product(run, loss):
    """Wherever the loss injects, and where the caller changes states between the steps."""
    torch.manual_seed(0)
    module = (nn.RNNCell if run is halved else nn.RNN)(3, H, dtype=torch.float64)
    x = torch.randn(T, B, 3, dtype=torch.float64)
    ((_, record),) = trace(module, x, lambda m, x: INJECTED[loss](run(m, x))).records.items()
    found, w = measure.split(record), record.recurrence.w_hh
    delta, total = record.delta[1:], record.total[1:]
    for values, above, below in (
        (found.total, delta @ w, total),
        (found.weights, delta @ w, delta),
    ):
        sizes = [(part**2).sum((1, 2)).sqrt() for part in (above, below)]
        there = sizes[1] > 0
        expected = torch.where(there, (sizes[0] / sizes[1]).log(), torch.nan)
        np.testing.assert_allclose(values[1:], expected, rtol=1e-10)


def test_split_of_what_arrives_is_all_that_arrives(module):
    """Undo the injection at t-1: what is left is what came through time."""
    record = traced(module)["l0"]
    found, run = measure.split(record), record.run
    if record.recurrence.kind == "lstm":
        here, w_hr = run.injected, record.recurrence.w_hr
        outside = (here if w_hr is None else here @ w_hr) * run.linear.to_cell
        source, arrived = run.pulled.cell, run.pulled.cell - outside
    else:
        source, arrived = run.pulled.total, run.pulled.total - run.injected
    expected = (arrived[:-1].norm(dim=(1, 2)) / source[1:].norm(dim=(1, 2))).log()
    np.testing.assert_allclose(found.total[1:], expected, rtol=1e-9)
    np.testing.assert_allclose(sum(found.paths.values())[1:], 1, rtol=1e-12)
    assert ("carry" in found.paths) == (type(module) is not nn.RNN)


# 3


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_budget_adds_up_to_one(module, lengths):
    if lengths and not isinstance(module, nn.RNNBase):
        lengths = None
    record = traced(module, lengths=lengths)["l0"]
    found = measure.budget(record)
    assert abs(found.share.sum() - 1) < 1e-10
    assert abs(found.by_lag.sum() - 1) < 1e-10
    hidden, previous = record.run.pulled.hidden, record.run.orbit.previous
    steps = torch.einsum("tbg,tbh->tgh", hidden, previous)
    whole = steps.sum(0)
    torch.testing.assert_close(whole, record.weight_gradient)
    expected = (steps * whole).sum((1, 2)) / whole.square().sum()
    np.testing.assert_allclose(found.share, expected, rtol=1e-9, atol=1e-12)
    assert found.cancellation == pytest.approx((whole.norm() / steps.norm(dim=(1, 2)).sum()).item())
    cumulative = np.cumsum(found.by_lag)
    assert (np.abs(cumulative[found.last_steps - 1 :] - 1) <= 0.1).all()


def test_budget_of_a_single_step():
    found = measure.budget(
        traced(nn.RNN(3, H, dtype=torch.float64), torch.randn(1, 2, 3).double())["l0"]
    )
    assert np.isnan(found.share).all()
    assert found.last_steps == 1


# 4


def test_lag_map_itemises(module):
    x = torch.randn(T, B, 3, dtype=torch.float64)
    record = traced(module, x)["l0"]
    found = measure.lag_map(record, steps=[3, 7])
    for row, step in zip(found.norm, (3, 7), strict=True):
        only = traced(module, x, loss=lambda y, s=step: y[s].sin().sum())["l0"]
        np.testing.assert_allclose(row, measure.signal(only).total, rtol=1e-9)
        assert not row[step + 1 :].any()
    assert found.profile[0] == pytest.approx(np.mean([found.norm[0, 3], found.norm[1, 7]]))
    with pytest.raises(TraceError, match="no step 12"):
        measure.lag_map(record, steps=[12])


def test_lag_map_finds_where_the_loss_is():
    record = traced(nn.LSTM(3, H, dtype=torch.float64), loss=lambda y: y[[2, 9]].sum())["l0"]
    assert measure.lag_map(record).steps == (2, 9)


# 5


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_transport_is_the_norm_of_the_product_of_jacobians(module, lengths):
    if lengths and not isinstance(module, nn.RNNBase):
        lengths = None
    record = traced(module, lengths=lengths)["l0"]
    exact = measure.transport(record, probes=None, resamples=20)
    r, P = record.recurrence, record.recurrence.output_size
    expected, cell = np.full((2, T + 1, B), np.nan)
    for b, n in enumerate(lengths or [T] * B):
        product = torch.eye(r.state_size, dtype=torch.float64)
        for k in range(n + 1):
            expected[k, b] = (product[:P, :P].square().sum() / P).item()
            last = n - 1 - k
            if r.kind == "lstm":
                # c_t reaches h_t within the step, which the Jacobian between states leaves out
                through = product[:P, P:]
                if last >= 0:
                    write = torch.diag(record.run.linear.to_cell[last, b])
                    write = write if r.w_hr is None else r.w_hr @ write
                    through = through + product[:P, :P] @ write
                cell[k, b] = (through.square().sum() / P).item()
            product = product @ record.run.linear.jacobian(max(last, 0))[b]
    np.testing.assert_allclose(exact.rho, np.sqrt(np.nanmean(expected, axis=1)), rtol=1e-9)
    if r.kind == "lstm":
        np.testing.assert_allclose(exact.rho_cell, np.sqrt(np.nanmean(cell, axis=1)), rtol=1e-9)
    drawn = measure.transport(record, probes=400, resamples=20)
    np.testing.assert_allclose(drawn.rho, exact.rho, rtol=0.25)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_probes_go_back_through_a_kernel_as_step_by_step(module, lengths):
    """Side by side in one pass, or by the chain rule written down; the projection has no kernel."""
    if lengths and not isinstance(module, nn.RNNBase):
        lengths = None
    record = traced(module, lengths=lengths)["l0"]
    v = torch.randn(3, B, record.recurrence.output_size, dtype=torch.float64)
    expected, cell = _step_by_step(record, v, 1.0)
    told = sent_back(record.run, last=v)
    assert (told is None) == (record.recurrence.w_hr is not None)
    if told is not None:
        whole = torch.cat([told["dh0"][None], told["total"]]).unflatten(1, (3, B))
        np.testing.assert_allclose(whole.norm(dim=(1, 3)), expected, rtol=1e-10, atol=1e-14)
    if cell is not None and told is not None:
        at_start = told["dc0"].unflatten(0, (3, B)).norm(dim=(0, 2))
        np.testing.assert_allclose(at_start, cell[0], rtol=1e-10, atol=1e-14)


def test_decay_time_and_horizon_of_a_known_network():
    found = measure.transport(linear(0.9 * orthogonal(8), T=100), probes=None, resamples=50)
    assert found.rho[10] == pytest.approx(0.9**10)
    assert found.decay_time.value == pytest.approx(-1 / math.log(0.9))
    assert found.half_life.value == pytest.approx(-math.log(2) / math.log(0.9))
    assert found.horizon.value == math.floor(math.log(1e-3) / math.log(0.9))
    assert found.decay_time.low == pytest.approx(found.decay_time.high)
    assert not found.censored
    kept = measure.transport(linear(orthogonal(8), T=50), resamples=10)
    assert kept.censored and kept.horizon.value == 50


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_reach_is_a_part_of_transport(lengths):
    record = traced(nn.GRU(3, H, dtype=torch.float64), lengths=lengths)["l0"]
    whole = measure.transport(record, epsilon=0.3)
    rho, horizon = reach(record, epsilon=0.3)
    np.testing.assert_array_equal(rho, whole.rho)
    assert horizon == whole.horizon.value > 0


def test_transport_far_below_the_square_root_of_the_smallest_number():
    """ln ρ falls on a straight line to 1e-200; nothing is taken for an exact zero."""
    found = measure.transport(linear(0.01 * orthogonal(8), T=100), probes=None, resamples=20)
    np.testing.assert_allclose(np.log10(found.rho), -2.0 * np.arange(101), atol=1e-9)
    assert not found.zero.any()
    assert found.decay_time.value == pytest.approx(-1 / math.log(0.01))


# 6


def one_step_of(record, t, b):
    """J_t by autograd through the reference cell."""
    r, run = record.recurrence, record.run
    weights = (r.w_ih, r.w_hh, r.b_ih, r.b_hh)
    x, h = run.x[t : t + 1, b : b + 1], run.orbit.previous[t, b]

    def step(state):
        h, c = state.split([r.output_size, len(state) - r.output_size])
        h, c = h[None], c[None]
        if r.kind == "elman":
            return cells.elman(x, h, *weights, r.phi.value, leak=r.leak)[1][0]
        if r.kind == "gru":
            return cells.gru(x, h, *weights, r.phi.value, r.phi_gate.value)[1][0]
        places = r.phi.value, r.phi_gate.value, r.phi_output.value
        _, h, c = cells.lstm(x, h, c, *weights, *places, w_hr=r.w_hr)
        return torch.cat([h[0], c[0]])

    state = h if r.kind != "lstm" else torch.cat([h, run.orbit.previous_cell[t, b]])
    return torch.autograd.functional.jacobian(step, state)


def test_jacobian_of_the_whole_state(module):
    record = traced(module)["l0"]
    for t, b in ((0, 0), (5, 2)):
        found = record.run.linear.jacobian(t)[b]
        torch.testing.assert_close(found, one_step_of(record, t, b), rtol=1e-10, atol=1e-12)


def test_exponents_of_a_linear_network_are_the_eigenvalues():
    weight = torch.randn(5, 5, dtype=torch.float64) / 2
    expected = np.sort(np.log(torch.linalg.eigvals(weight).abs().numpy()))[::-1]
    found = measure.lyapunov(linear(weight, T=4000, B=1), transient=400)
    np.testing.assert_allclose(found.exponents, expected, atol=5e-3)
    assert found.steps == 3600


def test_exponents_add_up_to_the_mean_log_determinant(module):
    record = traced(module, torch.randn(40, 3, 3, dtype=torch.float64))["l0"]
    found = measure.lyapunov(record, transient=0)
    dets = [record.run.linear.jacobian(t).det().abs().log().mean().item() for t in range(40)]
    assert found.exponents.sum() == pytest.approx(np.mean(dets), rel=1e-8)
    few = measure.lyapunov(record, k=2, transient=0)
    assert len(few.exponents) == 2


def test_exponents_of_an_orthogonal_network_are_zero():
    found = measure.lyapunov(linear(orthogonal(6)))
    np.testing.assert_allclose(found.exponents, 0, atol=1e-12)
    np.testing.assert_allclose(found.error, 0, atol=1e-12)


def test_henon_map():
    point = torch.zeros(2, dtype=torch.float64)
    orbit = []
    for _ in range(22_000):
        x, y = point
        orbit.append(x)
        point = torch.stack([1 - 1.4 * x**2 + y, 0.3 * x])

    def push(t, q):
        jacobian = torch.tensor([[-2.8 * orbit[t], 1.0], [0.3, 0.0]], dtype=torch.float64)
        return jacobian @ q

    found = measure.lyapunov_of(push, steps=len(orbit), size=2, transient=1000)
    np.testing.assert_allclose(found.exponents, [0.419, -1.623], rtol=0.02)
    assert found.exponents.sum() == pytest.approx(math.log(0.3))
    assert found.dimension == pytest.approx(1.258, rel=0.01)
    assert found.error[0] < 0.01


@pytest.mark.parametrize("forget", [0.5, 0.97])
def test_lstm_without_recurrent_weights_keeps_its_cell(forget):
    """The H x H shortcut, which holds c fixed, would give -inf throughout."""
    layer = nn.LSTM(3, H, dtype=torch.float64)
    layer.weight_hh_l0.data.zero_()
    layer.weight_ih_l0.data[H : 2 * H] = 0
    layer.bias_ih_l0.data[H : 2 * H] = math.log(forget / (1 - forget))
    layer.bias_hh_l0.data[H : 2 * H] = 0
    found = measure.lyapunov(traced(layer, torch.randn(60, 2, 3, dtype=torch.float64))["l0"])
    finite = found.exponents[np.isfinite(found.exponents)]
    assert len(finite) == H
    np.testing.assert_allclose(finite, math.log(forget), atol=0.02)


def test_exponents_with_sequences_of_different_lengths():
    record = traced(nn.GRU(3, H, dtype=torch.float64), lengths=LENGTHS)["l0"]
    assert np.isfinite(measure.lyapunov(record).exponents).all()
    with pytest.raises(TraceError, match="longest sequence has 12"):
        measure.lyapunov(record, transient=12)


def test_kaplan_yorke():
    assert measure.kaplan_yorke(np.array([-0.1, -1.0])) == 0
    assert measure.kaplan_yorke(np.array([0.9, 0.0, -14.57])) == pytest.approx(2 + 0.9 / 14.57)
    assert math.isnan(measure.kaplan_yorke(np.array([0.5])))


# 7


def test_one_step_law(module):
    record = traced(module)["l0"]
    found = measure.one_step(record, count=3, sequences=2)
    assert found.steps == (0, 6, 11) or found.steps == (0, 5, 11)
    j = torch.stack([record.run.linear.jacobian(t)[b] for t in found.steps for b in range(2)])
    np.testing.assert_allclose(
        found.singular_values, torch.linalg.svdvals(j), rtol=1e-9, atol=1e-12
    )
    assert found.gain.mean() == pytest.approx((j.square().sum((1, 2)) / j.shape[-1]).mean().item())
    if type(module) is nn.RNN:
        whole = torch.stack([record.run.linear.jacobian(t) for t in range(T)])
        np.testing.assert_allclose(found.chi, whole.square().sum((2, 3)).mean(1) / H, rtol=1e-10)


def test_the_spectral_radius_from_powers_is_that_from_eigenvalues(module):
    record = traced(module)["l0"]
    slow, fast = (measure.one_step(record, 1, 1, exact=exact) for exact in (True, False))
    assert slow.steps == fast.steps == (T // 2,)
    assert fast.spectral_radius == pytest.approx(slow.spectral_radius, rel=5e-3)
    assert fast.commutator == slow.commutator > 0
    assert math.isnan(fast.non_normality) and 0 < slow.non_normality < 1
    np.testing.assert_array_equal(fast.singular_values, slow.singular_values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_values(dtype):
    """Also of a matrix of low rank, of one far below 1, and of none."""
    some = torch.randn(4, 30, 30, dtype=dtype)
    some[1] = some[1, :, :3] @ some[1, :3]
    some[2] *= 1e-30
    some[3] = 0.0
    found = singular_values(some)
    for one, values in zip(some, found, strict=True):
        expected = np.linalg.svd(one.double().numpy(), compute_uv=False)
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7 * expected.max())
    assert singular_values(some[:0]).shape == (0, 30)


def matrices(kind, n=80):
    """Eight float32 matrices of one kind."""
    w = torch.randn(8, n, n, generator=torch.Generator().manual_seed(0)) / n**0.5
    q = torch.linalg.qr(w)[0]
    slope = 1 - torch.tanh(w[:, :, :1] * n**0.5).square()
    return {
        "gaussian": w,
        "orthogonal": q,
        "slopes": slope * w,
        "rotated": slope * q,
        "gated": 0.9 * torch.eye(n) + 0.1 * slope * w,
        "symmetric": w + w.mT,
        "skew": w - w.mT,
        "triangular": torch.triu(w, 1) + torch.diag(torch.linspace(-0.9, 0.8, n)),
        "low rank": w[:, :, :3] @ w[:, :3],
    }[kind]


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "slopes", "rotated", "gated",
                                  "symmetric", "skew", "triangular", "low rank"])  # fmt: skip
def test_radii(kind):
    some = matrices(kind)
    expected = np.abs(np.linalg.eigvals(some.double().numpy())).max(-1)
    np.testing.assert_allclose(np.abs(eigenvalues(some)).max(-1), expected, rtol=1e-3)
    for scale in (1e-30, 1.0, 1e30):
        np.testing.assert_allclose(radii(scale * some) / scale, expected, rtol=3e-3)


def test_radii_of_nothing_and_of_no_number():
    shift = torch.diag(torch.ones(5), 1)
    some = torch.stack([torch.zeros(6, 6), shift, torch.eye(6) * torch.inf, torch.eye(6)])
    for found in (radii(some), np.abs(eigenvalues(some)).max(-1)):
        np.testing.assert_allclose(found, [0, 0, np.nan, 1])
    assert radii(some[:0]).shape == (0,) and eigenvalues(some[:0]).shape == (0, 6)


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.7])
def test_radius_and_peak_of_random_weights(gain):
    weight = gain * torch.randn(40, 40, dtype=torch.float64) / 40**0.5
    found = measure.one_step(linear(weight, T=4), 1, 1)
    norms, power = [], torch.eye(40, dtype=torch.float64)
    for _ in range(100):
        power = power @ weight
        norms.append(torch.linalg.matrix_norm(power, 2).item())
    radius = torch.linalg.eigvals(weight).abs().max().item()
    assert found.weight_radius == pytest.approx(radius, rel=2e-3)
    assert found.weight_peak == pytest.approx(max(norms), rel=2e-3)


def test_non_normality():
    found = measure.one_step(linear(orthogonal(6)))
    assert found.non_normality < 1e-6 and found.commutator < 1e-12
    delays = torch.diag(torch.ones(5, dtype=torch.float64), 1) * 3
    found = measure.one_step(linear(delays))
    assert found.non_normality == pytest.approx(1) and found.commutator == pytest.approx(5**-0.5)
    assert found.weight_radius < 1e-2 and found.weight_peak == pytest.approx(3**5)
    found = measure.one_step(linear(0 * delays))
    assert math.isnan(found.non_normality) and math.isnan(found.commutator)


def test_non_normality_by_hand():
    """A = [[1, 1], [0, 1]]: A Aᵀ = [[2, 1], [1, 1]], the commutator is diag(1, -1), λ = 1, 1."""
    some = torch.tensor([[[1.0, 1], [0, 1]], [[0, 5], [0, 0]], [[0, -2], [2, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(commutator(some), [7**-0.5, 1, 0, np.nan], rtol=1e-6)
    found = henrici(some.square().sum((1, 2)).numpy(), eigenvalues(some.double()))
    np.testing.assert_allclose(found, [3**-0.5, 1, 0, np.nan], rtol=1e-6, atol=1e-7)


def test_non_normality_is_what_lies_above_the_diagonal_of_a_schur_form(module):
    record = traced(module)["l0"]
    found = measure.one_step(record, count=3, sequences=2)
    expected = []
    for t in found.steps:
        for j in record.run.linear.jacobian(t)[:2].numpy():
            form = schur(j, "complex")[0]
            expected.append(np.linalg.norm(np.triu(form, 1)) / np.linalg.norm(j))
    assert found.non_normality == pytest.approx(np.mean(expected), rel=1e-9)


def test_commutator_of_random_matrices():
    a = torch.randn(4, 256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = commutator(a)
    kept = torch.linalg.matrix_norm(a @ a) / torch.linalg.matrix_norm(a @ a.mT)
    np.testing.assert_allclose(found, (1 - kept.square()).sqrt(), rtol=1e-12)
    np.testing.assert_allclose(found, 0.5**0.5, rtol=0.01)
    for scale in (1e-30, 1.0, 1e30):
        np.testing.assert_allclose(commutator((scale * a).float()), found, rtol=1e-5)
    assert commutator(torch.linalg.qr(a)[0].float()).max() < 1e-5


@pytest.mark.parametrize("make,units", [(ours.LSTM, 128), (ours.GRU, 256)])
def test_the_law_of_one_step_is_whole_where_the_state_is_large(make, units):
    (found,) = measured(traced(make(3, units), torch.randn(T, B, 3)), compare=()).values()
    assert 0 < found["one_step"]["commutator"] < 1 and found["one_step"]["non_normality"] is None
    assert found["one_step"]["spectral_radius"] > 0


# 8


def test_census_of_a_network_built_by_hand():
    """One unit dead, one latched off by its own state, one always on, one switched by the input."""
    layer = ours.RNN(1, 4, nonlinearity="relu", bias=True, dtype=torch.float64)
    for p in layer.parameters():
        p.data.zero_()
    dead, latched, on, switched = range(4)
    layer.bias_ih_l0.data[dead] = -10
    layer.bias_ih_l0.data[on] = 10
    layer.weight_ih_l0.data[switched] = 1
    layer.weight_hh_l0.data[latched, latched] = 1
    layer.bias_hh_l0.data[latched] = -0.3
    h0 = torch.zeros(1, 3, 4, dtype=torch.float64)
    h0[..., latched] = 1.0
    x = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1], dtype=torch.float64)[:, None, None].expand(
        8, 3, 1
    )
    record = trace(layer, x, lambda m, x: m(x, h0)[0].sum()).records["l0"]
    found = measure.census(record)
    assert found.label == ("never_on", "latched", "always_on", "ordinary")
    assert found.on.tolist() == [0, 3 / 8, 1, 1 / 2]
    assert found.shares == {"never_on": 0.25, "latched": 0.25, "always_on": 0.25, "ordinary": 0.25}
    assert found.saturated_low[dead] == 1 and found.gradient[dead] == 0
    assert measure.census([record, record]).sequences == 6


def test_census_over_a_data_set_wakes_a_unit_that_one_batch_does_not():
    layer = ours.RNN(1, 2, nonlinearity="relu", bias=False, dtype=torch.float64)
    layer.weight_hh_l0.data.zero_()
    layer.weight_ih_l0.data.copy_(torch.tensor([[1.0], [-1.0]]))
    quiet, loud = (
        traced(layer, x.expand(6, 2, 1))["l0"]
        for x in (torch.ones(1).double(), -torch.ones(1).double())
    )
    assert measure.census(quiet).label == ("always_on", "never_on")
    assert measure.census([quiet, loud]).label == ("sequence_dead", "sequence_dead")


def test_census_of_saturation_and_of_units_nobody_reads():
    layer = nn.RNN(1, 3, dtype=torch.float64)
    layer.weight_hh_l0.data.zero_()
    layer.weight_ih_l0.data.fill_(0.1)
    layer.bias_ih_l0.data.copy_(torch.tensor([20.0, -20.0, 0.0]))
    x = torch.randn(9, 2, 1, dtype=torch.float64)
    record = traced(layer, x, loss=lambda y: y[..., :2].sum())["l0"]
    found = measure.census(record)
    assert found.label == ("never_on", "never_on", "gradient_dead")
    assert (found.saturated_high[0], found.saturated_low[1]) == (1, 1)
    leaky = ours.RNN(1, 3, nonlinearity="leaky_relu", dtype=torch.float64)
    leaky.bias_ih_l0.data.fill_(-10)
    assert "never_on" not in measure.census(traced(leaky, x)["l0"]).shares


def test_census_of_gates():
    layer = nn.LSTM(1, 2, dtype=torch.float64)
    layer.bias_ih_l0.data[2:4] = 30
    record = traced(layer, torch.randn(9, 2, 1, dtype=torch.float64))["l0"]
    assert measure.census(record, "f").saturated_high.tolist() == [1, 1]
    assert measure.census(record, "c").place == "c"
    with pytest.raises(TraceError, match="It has: i, f, g, o, c"):
        measure.census(record, "z")
    with pytest.raises(TraceError, match="no record"):
        measure.census([])


# 9


def test_usage(module):
    record = traced(module)["l0"]
    found = measure.usage(record)
    assert sum(found.zones.values()) == pytest.approx(1)
    width = np.diff(found.edges)
    assert (found.density * width).sum() == pytest.approx(1, abs=1e-6)
    slope = record.gate_block(record.slope, found.place)
    assert found.rms_slope == pytest.approx(slope.square().mean().sqrt().item())
    assert ((found.linearity > 0.5) & (found.linearity <= 1 + 1e-12)).all()


def test_usage_of_a_sample_of_the_steps():
    record = traced(nn.RNN(3, H), torch.randn(400, 9, 3))["l0"]
    whole, some = measure.usage(record), measure.usage(record, points=H * 9 * 100)
    assert some.rms_slope != whole.rms_slope
    assert some.rms_slope == pytest.approx(whole.rms_slope, rel=0.05)
    np.testing.assert_allclose(list(some.zones.values()), list(whole.zones.values()), atol=0.05)


def test_usage_of_an_identity_is_linear():
    layer = ours.RNN(3, H, nonlinearity="identity", dtype=torch.float64)
    found = measure.usage(traced(layer)["l0"])
    np.testing.assert_allclose(found.linearity, 1)
    assert found.zones["steep"] == 1


# 10


def test_state_growth():
    layer = ours.RNN(1, 4, nonlinearity="identity", bias=False, dtype=torch.float64)
    layer.weight_hh_l0.data.copy_(1.1 * torch.eye(4, dtype=torch.float64))
    h0 = torch.ones(1, 2, 4, dtype=torch.float64)
    x = torch.zeros(30, 2, 1, dtype=torch.float64)
    found = measure.health(trace(layer, x, lambda m, x: m(x, h0)[0].sum()).records["l0"])
    assert found.growth == pytest.approx(math.log(1.1))
    np.testing.assert_allclose(found.rms, 1.1 ** np.arange(1, 31))
    assert found.dimension == 1 and found.participation == pytest.approx(1)


def test_participation_of_a_sample_of_the_steps():
    record = traced(nn.RNN(3, 16), torch.randn(60, 8, 3))["l0"]
    whole, half = measure.health(record), measure.health(record, points=60 * 8 * 16 // 2)
    states = record.state.flatten(0, 1)[::2].double().numpy()
    kappa = np.linalg.eigvalsh(np.cov(states.T))
    assert half.participation == pytest.approx(kappa.sum() ** 2 / (kappa**2).sum(), rel=1e-4)
    assert half.participation != whole.participation
    np.testing.assert_array_equal(half.rms, whole.rms)


def test_participation_ratio():
    layer = ours.RNN(4, 4, nonlinearity="identity", bias=False, dtype=torch.float64)
    layer.weight_hh_l0.data.zero_()
    layer.weight_ih_l0.data.copy_(torch.eye(4))
    found = measure.health(traced(layer, torch.randn(500, 4, 4, dtype=torch.float64))["l0"])
    assert found.participation == pytest.approx(4, rel=0.02)
    assert found.dimension == found.units == 4


# 11


def test_gate_time_scales():
    layer = nn.LSTM(1, 2, dtype=torch.float64)
    for p in layer.parameters():
        p.data.zero_()
    layer.bias_ih_l0.data[2:4] = torch.tensor([math.log(0.95 / 0.05), math.log(0.05 / 0.95)])
    found = measure.gates(traced(layer, torch.randn(20, 2, 1, dtype=torch.float64))["l0"])
    np.testing.assert_allclose(found.time_scale, [-1 / math.log(0.95), -1 / math.log(0.05)])
    assert found.open["f"].tolist() == [1, 0] and found.closed["f"].tolist() == [0, 1]
    assert found.length == 20
    with pytest.raises(TraceError, match="no gates"):
        measure.gates(traced(nn.RNN(3, H, dtype=torch.float64))["l0"])


# 12


def test_update_ratio():
    before = torch.randn(5, 5)
    assert measure.update_ratio(before, before * 1.001) == pytest.approx(-3, abs=1e-3)
    assert measure.update_ratio(before, before) == -math.inf


def test_signal_to_noise():
    layer, x = nn.RNN(3, H, dtype=torch.float64), torch.randn(T, 1, 3, dtype=torch.float64)
    same = measure.signal_to_noise(traced(layer, x.expand(T, 4, 3))["l0"])
    assert (same > 1e20).all()
    record = traced(layer, torch.randn(T, B, 3, dtype=torch.float64))["l0"]
    g = record.total[3]
    expected = g.mean(0).square().sum() / (g - g.mean(0)).square().sum(-1).mean()
    assert measure.signal_to_noise(record)[3] == pytest.approx(expected.item())
    assert np.isnan(measure.signal_to_noise(traced(layer, x)["l0"])).all()


def test_underflow():
    layer = nn.RNN(3, H)
    layer.weight_hh_l0.data.mul_(0.01)
    x = torch.randn(60, 4, 3)
    found = measure.underflow(traced(layer, x, loss=lambda y: y[-1].sum())["l0"])
    assert found.zero > 0.5 and found.subnormal > 0
    assert found.by_time[0] == 1 and found.by_time[-1] == 0


def test_truncation():
    record = traced(nn.RNN(3, H, dtype=torch.float64), loss=lambda y: y[-1].sum())["l0"]
    sizes = measure.signal(record).total[::-1]
    assert measure.truncation(record, 4) == pytest.approx(sizes[4:].sum() / sizes.sum())
    assert measure.truncation(record, T) == 0


def test_clipping():
    found = measure.clipping([1.0, 0.5, 1.0, 0.1, math.nan])
    assert (found.share, found.factor, found.steps) == (0.5, pytest.approx(0.3), 4)


# 13


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_counterfactual_is_the_network_with_that_activation(name):
    """With a loss linear in the outputs the same gradient is injected, so the forecast is exact."""
    place = "nonlinearity" if name == "RNN" else "activation"
    one, two = (
        getattr(ours, name)(3, H, dtype=torch.float64, **{place: phi}) for phi in ("tanh", "elu")
    )
    two.load_state_dict(one.state_dict())
    x = torch.randn(T, B, 3, dtype=torch.float64)
    was, expected = (traced(m, x, loss=lambda y: y[-1].sum())["l0"] for m in (one, two))
    found = measure.counterfactual(was, "elu")
    assert found.key == "l0 (elu)"
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(found.state, expected.state)
    assert not torch.allclose(found.total, was.total)
    for one_measure in (measure.signal, measure.transport, measure.census):
        one_measure(found)


def test_measured_says_over_how_many_sequences():
    module, x = nn.GRU(3, H), torch.randn(T, 12, 3)
    found = trace(module, x, lambda m, x: m(x)[0][-1].square().sum())
    some, every = (found.measured(compare=(), sequences=n)["l0"] for n in (8, None))
    assert some == found.measured(compare=())["l0"]
    assert some["sequences"] == every["sequences"] == 12
    assert some["sample"]["sequences"] == 8 and every["sample"]["sequences"] == 12
    assert every["sample"]["error"] == 0
    assert some["sample"]["total"] == measure.signal(found.records["l0"].first(8)).total.tolist()
    sizes = found.records["l0"].total.square().sum((0, 2)).numpy()
    error = sizes.std(ddof=1) / sizes.mean() * math.sqrt((1 - 8 / 12) / 8)
    assert some["sample"]["error"] == pytest.approx(error, rel=1e-5)
    for name in ("signal", "census"):
        assert some[name] == every[name]
    first = measure.split(found.records["l0"].first(8))
    np.testing.assert_allclose(some["split"]["total"][1:], first.total[1:])
    assert some["split"] != every["split"]


# side by side


CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_side_by_side_each_answers_in_its_place(threads):
    def power(base):
        return torch.linalg.matrix_power(torch.full((50, 50), base / 50.0), 9).sum().item()

    found = side_by_side(CPU, {str(base): partial(power, base) for base in range(1, 30)})
    for name, value in found.items():
        assert value == pytest.approx(50 * float(name) ** 9, rel=1e-3)
    assert list(found) == [str(base) for base in range(1, 30)]
    assert side_by_side(CPU, {}) == {}
    assert torch.get_num_threads() == threads


def test_what_one_measure_cannot_do_is_told_by_all(threads):
    def fails():
        raise TraceError("gradients.no_records")

    with pytest.raises(TraceError, match="no record"):
        side_by_side(CPU, {"a": list, "b": fails, "c": list})
    with pytest.raises(IndexError):
        side_by_side(CPU, {"a": [].pop, "b": list})
    inner = {"b": lambda: 1, "c": lambda: 2}
    nested = side_by_side(CPU, {"a": lambda: side_by_side(CPU, inner), "d": lambda: 3})
    assert nested == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_measures_side_by_side_are_those_one_after_another(name):
    module, x = MAKE[name](dtype=torch.float64), torch.randn(T, B, 3, dtype=torch.float64)
    records, before, found = traced(module, x), torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            found.append(list(leaves(measured(records))))
        finally:
            torch.set_num_threads(before)
    for (one, value), (other, expected) in zip(*found, strict=True):
        assert one == other
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected), one


def leaves(held, path=()):
    parts = held.items() if isinstance(held, dict) else enumerate(held)
    for name, part in parts:
        if isinstance(part, (dict, list)):
            yield from leaves(part, (*path, name))
        else:
            yield (*path, name), part


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_all_measures_are_those_of_the_single_functions(name, lengths):
    records = traced(MAKE[name](dtype=torch.float64), lengths=lengths)
    (record,) = records.values()
    (found,) = measures(records, costly=True, compare=("elu",), sequences=None).values()
    for one in ("signal", "split", "budget", "transport", "health", "census", "underflow"):
        assert plain(found[one]) == plain(getattr(measure, one)(record)), one
    assert plain(found["one_step"]) == plain(measure.one_step(record))
    assert plain(found["lag_map"]) == plain(measure.lag_map(record))
    for place, used in found["usage"].items():
        assert plain(used) == plain(measure.usage(record, place)), place
    other = measure.counterfactual(record, "elu")
    assert found["counterfactual"]["elu"]["shares"] == measure.census(other).shares
    assert plain(found["gates"]) == (plain(measure.gates(record)) if name != "RNN" else None)
    (numbers,) = measured(records, costly=True, compare=("elu",), sequences=None).values()
    held = plain(found)
    same = set(held) - {"transport", "one_step", "lyapunov", "lyapunov_start"}
    assert {name: numbers[name] for name in same} == {name: held[name] for name in same}
    assert numbers["lyapunov"] == held["lyapunov"] | {"start": held["lyapunov_start"]}
    left_out = set(held["transport"]) - set(numbers["transport"])
    assert left_out == {"per_sequence"}


def test_measures_do_not_depend_on_what_the_calling_thread_is_set_to(threads):
    records = traced(ours.GRU(3, 16), torch.randn(T, B, 3))
    before = measured(records, compare=("elu",))
    with torch.autocast("cpu"):
        assert measured(records, compare=("elu",)) == before


@pytest.mark.parametrize("units,there", [(64, True), (65, False)])
def test_the_peak_of_powers_is_found_where_it_is_cheap(units, there):
    (found,) = measured(traced(ours.RNN(3, units), torch.randn(T, B, 3)), compare=()).values()
    assert (found["one_step"]["weight_peak"] is not None) == there
