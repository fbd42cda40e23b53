"""The truth of each recurrence against PyTorch's own layers, and its behaviour at the edges."""

from __future__ import annotations

import pytest
import torch

from throughtime import cells

T, B, I, H = 7, 5, 3, 4  # noqa: E741
LENGTHS = torch.tensor([7, 1, 4, 0, 6])
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def draws(cell: str, *, bias: bool = True, hidden: int = H, output: int = H) -> list:
    G = GATES[cell] * hidden
    shapes = [(T, B, I), (B, output), (G, I), (G, output)]
    tensors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    biases = [torch.randn(G, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    return tensors + (biases if bias else [None, None])


def ours(cell, x, h0, w_ih, w_hh, b_ih, b_hh, c0=None, phi=torch.tanh, **options):
    if cell == "rnn":
        return cells.elman(x, h0, w_ih, w_hh, b_ih, b_hh, phi, **options)
    if cell == "gru":
        return cells.gru(x, h0, w_ih, w_hh, b_ih, b_hh, phi, torch.sigmoid, **options)
    return cells.lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh, phi, torch.sigmoid, phi, **options)


def torch_layer(cell, w_ih, w_hh, b_ih, b_hh, w_hr=None, **options):
    kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
    hidden = w_ih.shape[0] // GATES[cell]
    layer = kind(w_ih.shape[1], hidden, bias=b_ih is not None, dtype=torch.float64, **options)
    weights = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "weight_hr_l0": w_hr}
    weights |= {"bias_ih_l0": b_ih, "bias_hh_l0": b_hh}
    layer.load_state_dict({k: v.detach() for k, v in weights.items() if v is not None})
    return layer


def gradients_of(outputs, inputs):
    torch.manual_seed(1)
    loss = sum((torch.randn_like(o) * o).sum() for o in outputs)
    return torch.autograd.grad(loss, [i for i in inputs if i is not None], allow_unused=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", GATES)
def test_outputs_and_gradients_are_torchs(cell, bias):
    torch.manual_seed(0)
    x, h0, *weights = draws(cell, bias=bias)
    c0 = torch.randn(B, H, dtype=torch.float64, requires_grad=True) if cell == "lstm" else None
    outputs = ours(cell, x, h0, *weights, c0=c0)
    layer = torch_layer(cell, *weights)
    state = h0[None] if c0 is None else (h0[None], c0[None])
    y, last = layer(x, state)
    expected = (y, *(s[0] for s in (last if cell == "lstm" else (last,))))
    for value, target in zip(outputs, expected, strict=True):
        torch.testing.assert_close(value, target, rtol=0, atol=1e-12)
    weights_of_layer = list(layer.parameters())
    found = gradients_of(outputs, [x, h0, c0, *weights])
    wanted = gradients_of(expected, [x, h0, c0, *weights_of_layer])
    for value, target in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, target, rtol=0, atol=1e-10)


def test_a_projected_lstm_is_torchs():
    torch.manual_seed(0)
    x, h0, *weights = draws("lstm", hidden=H, output=2)
    w_hr = torch.randn(2, H, dtype=torch.float64)
    c0 = torch.randn(B, H, dtype=torch.float64)
    outputs = ours("lstm", x, h0, *weights, c0=c0, w_hr=w_hr)
    y, (h_n, c_n) = torch_layer("lstm", *weights, w_hr=w_hr, proj_size=2)(x, (h0[None], c0[None]))
    for value, target in zip(outputs, (y, h_n[0], c_n[0]), strict=True):
        torch.testing.assert_close(value, target, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_each_padded_sequence_runs_as_if_alone(cell, reverse):
    torch.manual_seed(0)
    x, h0, *weights = draws(cell)
    c0 = torch.randn(B, H, dtype=torch.float64) if cell == "lstm" else None
    padded = x.detach().clone()
    padded[torch.arange(T)[:, None] >= LENGTHS] = float("nan")
    padded.requires_grad_()
    y, *last = ours(cell, padded, h0, *weights, c0=c0, lengths=LENGTHS, reverse=reverse)
    for b, n in enumerate(LENGTHS.tolist()):
        alone = x[:n, b : b + 1].flip(0) if reverse else x[:n, b : b + 1]
        start = None if c0 is None else c0[b : b + 1]
        y_alone, *last_alone = ours(cell, alone, h0[b : b + 1], *weights, c0=start)
        y_alone = y_alone.flip(0) if reverse else y_alone
        torch.testing.assert_close(y[:n, b], y_alone[:, 0], rtol=0, atol=1e-12)
        assert (y[n:, b] == 0).all()
        for value, target in zip(last, last_alone, strict=True):
            torch.testing.assert_close(value[b], target[0], rtol=0, atol=1e-12)
    gradients = gradients_of((y, *last), [padded, h0, *weights])
    assert all(g.isfinite().all() for g in gradients)
    assert (gradients[0][torch.arange(T)[:, None] >= LENGTHS] == 0).all()


@pytest.mark.parametrize("cell", GATES)
def test_no_steps_hand_back_the_initial_state(cell):
    x, h0, *weights = draws(cell)
    y, h_n, *_ = ours(cell, x[:0], h0, *weights, c0=torch.zeros_like(h0))
    assert y.shape == (0, B, H)
    torch.testing.assert_close(h_n, h0, rtol=0, atol=0)


@pytest.mark.parametrize("cell", GATES)
def test_the_activation_changes_the_outcome(cell):
    torch.manual_seed(0)
    x, h0, *weights = draws(cell)
    c0 = torch.zeros_like(h0)
    results = [
        ours(cell, x, h0, *weights, c0=c0, phi=phi)[0]
        for phi in (torch.tanh, torch.relu, torch.nn.functional.elu)
    ]
    assert not torch.allclose(results[0], results[1])
    assert not torch.allclose(results[1], results[2])


def test_a_leaky_step_is_eulers_step_by_hand():
    torch.manual_seed(0)
    x, h0, w_ih, w_hh, b_ih, b_hh = draws("rnn")
    y, _ = cells.elman(x, h0, w_ih, w_hh, b_ih, b_hh, torch.relu, leak=0.25)
    h = h0
    for t in range(T):
        h = 0.75 * h + 0.25 * torch.relu(x[t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
        torch.testing.assert_close(y[t], h, rtol=0, atol=1e-12)


def test_gradgradcheck_and_func_transforms():
    torch.manual_seed(0)
    x, h0, *weights = draws("gru")
    x = x[:2, :2].detach().requires_grad_()
    h0 = h0[:2].detach().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, h: ours("gru", x, h, *weights)[0], (x, h0))
    jacobian = torch.func.jacrev(lambda h: ours("gru", x, h, *weights)[1])(h0.detach())
    assert jacobian.shape == (2, H, 2, H)
