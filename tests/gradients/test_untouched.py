"""The training run is what it would have been without the trace, bit for bit; bad input is told."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
import torch
from torch import nn

import throughtime.nn as ours
from throughtime.errors import TraceError
from throughtime.gradients import Monitor, trace


class Model(nn.Module):
    def __init__(self, layer=nn.GRU, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.rnn = layer(3, 8, **options)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        x = self.norm(x.flatten(0, 1)).view_as(x)
        return self.head(self.drop(self.rnn(x)[0][-1]))


def mse(model, batch):
    return (model(batch) - 1).square().mean()


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, ours.RNN, ours.LSTM])
def test_weights_are_the_same_bit_for_bit(layer):
    def trained(traced):
        torch.manual_seed(0)
        model = Model(layer, num_layers=2, dropout=0.2)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for step in range(6):
            optimiser.zero_grad()
            mse(model, torch.randn(10, 4, 3)).backward()
            if traced and step % 2 == 0:
                trace(model, torch.randn(10, 4, 3, generator=torch.Generator().manual_seed(1)), mse)
            optimiser.step()
        return model.state_dict()

    plain, traced = trained(False), trained(True)
    assert all(torch.equal(plain[k], traced[k]) for k in plain)


def test_everything_is_put_back_also_after_an_exception():
    model = Model().train()
    model.norm.eval()
    x = torch.randn(10, 4, 3)
    mse(model, x).backward()
    gradients = {k: p.grad for k, p in model.named_parameters()}
    values = {k: g.clone() for k, g in gradients.items()}
    buffers = {k: b.clone() for k, b in model.named_buffers()}
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()

    def breaks(m, batch):
        m.train()
        mse(m, batch).backward()
        torch.rand(3), random.random(), np.random.rand()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trace(model, x, breaks)
    assert model.training and not model.norm.training
    assert all(
        p.grad is gradients[k] and torch.equal(p.grad, values[k])
        for k, p in model.named_parameters()
    )
    assert all(torch.equal(b, buffers[k]) for k, b in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == generators[1:]
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


class BreaksGoingBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        raise KeyError("on the way back")


@pytest.mark.parametrize("layer", [nn.LSTM, ours.GRU])
def test_hooks_of_the_caller_stay_and_no_other_also_after_an_exception_going_back(layer):
    model, x, heard = Model(layer), torch.randn(10, 4, 3), []
    model.rnn.register_forward_hook(lambda *_: heard.append("forward"))
    model.rnn.weight_hh_l0.register_hook(lambda g: heard.append("gradient"))
    hooks = {m: (dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()}
    state = torch.get_rng_state()
    trace(model, x, mse)
    assert heard == ["forward", "gradient"]
    with pytest.raises(KeyError, match="on the way back"):
        trace(model, x, lambda m, x: BreaksGoingBack.apply(m(x)).square().mean())
    assert hooks == {m: (m._forward_hooks, m._forward_pre_hooks) for m in model.modules()}
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    assert model.training


def test_no_grad_and_inference_mode_around_the_call_do_not_matter():
    model, x = Model().eval(), torch.randn(10, 4, 3)
    expected = trace(model, x, mse).records["rnn.l0"].total
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert torch.equal(trace(model, x, mse).records["rnn.l0"].total, expected)


class NoGrad(Model):
    def forward(self, x):
        with torch.no_grad():
            y = self.rnn(x)[0]
        return self.head(y[-1])


class Detached(Model):
    def forward(self, x):
        return self.head(self.rnn(x)[0].detach()[-1])


class Unused(Model):
    def forward(self, x):
        return self.head(torch.ones(8))


def nan_input():
    x = torch.randn(10, 4, 3)
    x[6, 0, 0] = float("nan")
    return x


BAD = {
    "not a module": (lambda x: x, mse, None, "torch.nn.Module is needed"),
    "no recurrent layer": (nn.Linear(3, 1), mse, None, "It holds: Linear"),
    "loss without the layer": (Unused(), mse, None, "without running rnn"),
    "detached": (Detached(), mse, None, "No gradient reached rnn"),
    "no grad inside": (NoGrad(), mse, None, "No gradient reached rnn"),
    "whole model without grad": (Model(), lambda m, x: mse(m, x).detach(), None, "has no gradient"),
    "loss as a number": (Model(), lambda m, x: mse(m, x).item(), None, "it returned float"),
    "loss not reduced": (Model(), lambda m, x: m(x), None, "returned (4, 1)"),
    "NaN in the data": (nn.RNN(3, 8), lambda m, x: m(x)[0].sum(), nan_input(), "first at step 6"),
    "empty batch": (
        ours.RNN(3, 8),
        lambda m, x: m(x)[0].sum(),
        torch.zeros(0, 4, 3),
        "empty batch",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told(case):
    model, loss_fn, x, message = BAD[case]
    with pytest.raises(TraceError) as told:
        trace(model, torch.randn(10, 4, 3) if x is None else x, loss_fn)
    assert message in str(told.value)
    assert told.value.text("zh") != str(told.value)


def test_a_model_made_in_inference_mode_is_told():
    with torch.inference_mode():
        model = Model()
    with pytest.raises(TraceError, match="Model was made under") as told:
        trace(model, torch.randn(10, 4, 3), mse)
    assert "inference_mode 下建立" in told.value.text("zh")


@pytest.mark.parametrize("layer", [nn.GRU, ours.GRU])
def test_a_loss_that_goes_back_itself_is_told(layer):
    model = Model(layer)

    def training_step(m, x):
        loss = mse(m, x)
        loss.backward()
        return loss

    def penalised(m, x):
        x = x.clone().requires_grad_()
        loss = mse(m, x)
        return loss + torch.autograd.grad(loss, x, retain_graph=True)[0].square().sum()

    for loss_fn in (training_step, penalised):
        with pytest.raises(TraceError, match="went back through rnn itself") as told:
            trace(model, torch.randn(10, 4, 3), loss_fn)
        assert "自己用" in told.value.text("zh")
        assert all(p.grad is None for p in model.parameters())


def test_a_trace_is_shown_in_a_line():
    found = trace(Model(), torch.randn(10, 4, 3), mse)
    record = "Record('rnn.l0', gru, tanh, (T, B, H) = (10, 4, 8))"
    assert repr(found.records["rnn.l0"]) == record
    assert repr(found) == f"Trace(Model, loss={found.loss:.4g}, records=[{record}])"


def test_input_overwritten_after_it_was_read():
    def overwrites(m, x):
        y = m(x.add_(0))[0]
        x.zero_()
        return y.detach().sum() + y[-1].sum()

    with pytest.raises((TraceError, RuntimeError)) as told:
        trace(nn.RNN(3, 4).requires_grad_(False), torch.randn(5, 2, 3), overwrites)
    assert "in place" in str(told.value) or "inplace" in str(told.value)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, ours.GRU])
def test_one_step_and_a_batch_of_one(layer):
    module = layer(3, 8, 2)
    found = trace(module, torch.randn(1, 1, 3), lambda m, x: m(x)[0].sum())
    for record in found.records.values():
        assert record.total.shape == (1, 1, 8)
        torch.testing.assert_close(record.total, record.injected)


def test_gradients_that_overflow_are_recorded_as_they_are():
    module = nn.RNN(3, 8, nonlinearity="relu")
    nn.init.eye_(module.weight_hh_l0)
    module.weight_hh_l0.data.mul_(30)
    record = trace(module, torch.rand(60, 2, 3), lambda m, x: m(x)[0][-1].square().sum()).records[
        "l0"
    ]
    assert not record.total.isfinite().all()


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, ours.RNN, ours.GRU, ours.LSTM])
def test_autocast(layer):
    module, x = layer(3, 8), torch.randn(10, 4, 3)

    def loss_fn(m, x):
        return m(x)[0].float().square().mean()

    def cast(m, x):
        with torch.autocast("cpu", torch.bfloat16):
            return loss_fn(m, x)

    try:
        cast(module, x)
    except RuntimeError as cannot:
        pytest.skip(f"PyTorch itself cannot, on this processor: {cannot}")
    whole, half = (trace(module, x, f).records["l0"].total for f in (loss_fn, cast))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.02 * whole.abs().max().item())


@pytest.mark.parametrize("layer", [nn.GRU, ours.RNN])
def test_compiled_models_are_traced_eagerly(layer):
    model, x = Model(layer).eval(), torch.randn(10, 4, 3)
    expected = trace(model, x, mse).records
    for compiled in (torch.compile(model, backend="eager"), model):
        if compiled is model:
            model.compile(backend="eager")
        compiled(x)
        found = trace(compiled, x, mse).records
        assert list(found) == list(expected) == ["rnn.l0"]
        assert torch.equal(found["rnn.l0"].total, expected["rnn.l0"].total)


def test_data_parallel():
    model, x = Model().eval(), torch.randn(10, 4, 3)
    expected = trace(model, x, mse).records["rnn.l0"].total
    wrapped = nn.DataParallel(model)
    if len(wrapped.device_ids) <= 1:
        assert torch.equal(trace(wrapped, x, mse).records["rnn.l0"].total, expected)
    wrapped.device_ids = [0, 1]
    with pytest.raises(TraceError, match=r"model\.module"):
        trace(wrapped, x, mse)


@pytest.mark.parametrize("layer", [nn.GRU, ours.LSTM])
def test_nothing_waits_for_the_garbage_collector(layer):
    """A cycle through the graph would hold every tensor of the pass until some later collection."""
    model, x = layer(3, 8), torch.randn(7, 4, 3)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)

    def looked() -> None:
        trace(model, x, lambda m, x: m(x)[0].sin().sum()).measured()
        with Monitor(model, optimiser, every=1):
            model(x)[0].sin().sum().backward()
            optimiser.step()

    looked()
    gc.collect()
    gc.disable()
    try:
        looked()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [left for left in gc.garbage if isinstance(left, torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
