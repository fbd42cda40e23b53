"""Following a training run: untouched, counted, logged, told."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import throughtime.nn as ours
from throughtime.errors import MissingExtraError, ThroughtimeWarning, TraceError
from throughtime.gradients import Monitor, loggers, trace

T, B, H = 12, 6, 8


class Model(nn.Module):
    def __init__(self, layer=nn.GRU, **options):
        super().__init__()
        self.rnn = layer(3, H, **options)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(H, 1)

    def forward(self, x):
        return self.head(self.drop(self.rnn(x)[0][-1]))


class Looped(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell(3, H), nn.Linear(H, 1)

    def forward(self, x):
        state, outputs = None, []
        for step in x:
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return self.head(torch.stack(outputs)).mean(0)


def mse(model, x):
    return (model(x) - 1).square().mean()


def train(model, steps, optimiser, after=lambda step: None, clip=None):
    for step in range(steps):
        optimiser.zero_grad()
        mse(model, torch.randn(T, B, 3)).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        after(step)


MODELS = {
    "RNN": lambda: Model(nn.RNN),
    "LSTM": lambda: Model(nn.LSTM, num_layers=2, dropout=0.3),
    "our GRU": lambda: Model(ours.GRU, num_layers=2, dropout=0.3),
    "our RNN": lambda: Model(ours.RNN, nonlinearity="elu"),
    "RNNCell": lambda: Looped(nn.RNNCell),
    "LSTMCell": lambda: Looped(nn.LSTMCell),
    "our GRUCell": lambda: Looped(ours.GRUCell),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_come_out_the_same_bit_for_bit(make):
    def trained(monitored):
        torch.manual_seed(0)
        model = make()
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        monitor = Monitor(model, optimiser, every=2) if monitored else None
        train(model, 7, optimiser)
        if monitor is not None:
            assert [s.step for s in monitor.history] == [0, 2, 4, 6]
            monitor.close()
        return model

    plain, monitored = trained(False), trained(True)
    other = monitored.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in plain.state_dict().items())
    for module in monitored.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_is_seen_is_what_a_trace_sees(make):
    torch.manual_seed(0)
    model, x = make(), torch.randn(T, B, 3)
    for module in model.modules():
        if hasattr(module, "dropout") or isinstance(module, nn.Dropout):
            module.eval()  # the same pass twice
            module.train() if not isinstance(module, nn.Dropout) else None
            if hasattr(module, "dropout"):
                module.dropout = 0.0
    expected = trace(model, x, mse).records
    with Monitor(model, every=1, sequences=None) as monitor:
        mse(model, x).backward()
        monitor.step()
    assert list(monitor.records) == list(expected)
    for key, record in monitor.records.items():
        torch.testing.assert_close(record.total, expected[key].total, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(record.injected, expected[key].injected, rtol=1e-3, atol=1e-6)


def test_only_every_so_many_steps_are_touched():
    model = Model()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    monitor = Monitor(model, optimiser, every=4)
    hooks = []
    train(model, 9, optimiser, lambda step: hooks.append(len(model.rnn._forward_hooks)))
    assert hooks == [0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert [s.step for s in monitor.history] == [0, 4, 8]
    assert all(len(r.lengths) == B for r in monitor.records.values())
    assert monitor.overhead > 0
    monitor.close()


def test_updates_and_clipping_are_measured():
    model = Model(nn.RNN)
    optimiser = torch.optim.SGD(model.parameters(), 0.5)
    monitor = Monitor(model, optimiser, every=1)
    before = model.rnn.weight_hh_l0.detach().clone()
    train(model, 1, optimiser, clip=1e-3)
    (sight,) = monitor.history
    moved = (model.rnn.weight_hh_l0.detach() - before).norm() / before.norm()
    assert sight.updates["rnn.weight_hh_l0"] == pytest.approx(math.log10(moved), rel=1e-4)
    whole = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert whole == pytest.approx(1e-3, rel=1e-2)
    assert sight.clips["rnn.weight_hh_l0"] < 0.1
    train(model, 1, optimiser)
    assert monitor.history[-1].clips["rnn.weight_hh_l0"] == pytest.approx(1)
    monitor.close()


def test_accumulated_gradients_and_a_validation_pass_in_between():
    model = Model()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    monitor = Monitor(model, optimiser, every=1)
    model.eval()
    mse(model, torch.randn(T, B, 3))
    model.train()
    with torch.no_grad():
        mse(model, torch.randn(T, B, 3))
    for _ in range(3):
        mse(model, torch.randn(T, B, 3)).backward()
    optimiser.step()
    (sight,) = monitor.history
    assert list(sight.layers) == ["rnn.l0"]
    assert sight.clips["rnn.weight_hh_l0"] == pytest.approx(1)
    monitor.close()


def test_a_scaler_is_divided_out():
    torch.manual_seed(0)
    model, x = Model(nn.RNN).eval(), torch.randn(T, B, 3)
    model.rnn.train()
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    totals = []
    for factor, given in ((1.0, None), (1024.0, scaler)):
        model.zero_grad()
        with Monitor(model, every=1, scaler=given) as monitor:
            (mse(model, x) * factor).backward()
            for p in model.parameters():
                p.grad /= factor
            monitor.step()
        totals.append(monitor.records["rnn.l0"].total)
        assert monitor.history[0].clips["rnn.weight_hh_l0"] == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(*totals)


def test_a_monitor_that_sees_nothing_says_so_and_lets_the_run_go_on():
    class Frozen(Model):
        def forward(self, x):
            with torch.no_grad():
                y = self.rnn(x)[0][-1]
            return self.head(y)

    model = Frozen()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    monitor = Monitor(model, optimiser, every=1)
    with pytest.warns(ThroughtimeWarning, match="saw no gradient come back through rnn"):
        train(model, 1, optimiser)
    train(model, 3, optimiser)
    assert not monitor.history
    monitor.close()


@pytest.mark.parametrize("layer", [nn.GRU, ours.RNN])
def test_a_compiled_model_is_seen_or_the_monitor_says_that_it_is_not(layer):
    model = Model(layer)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    compiled = torch.compile(model, backend="eager")
    train(compiled, 1, optimiser)
    monitor = Monitor(compiled, optimiser, every=1)
    try:
        train(compiled, 2, optimiser)
    except ThroughtimeWarning as told:
        assert "compiled models run past it" in str(told)
    else:
        assert len(monitor.history) == 2
        assert list(monitor.records) == ["rnn.l0"]
    monitor.close()


BAD = {
    "no recurrent layer": (lambda: Monitor(nn.Linear(2, 2)), "It holds: Linear"),
    "every": (lambda: Monitor(nn.GRU(2, 2), every=0), "every = 0"),
    "sequences": (lambda: Monitor(nn.GRU(2, 2), sequences=0), "sequences = 0"),
    "no module": (lambda: Monitor([]), "list was given"),
    "several devices": (lambda: Monitor(spread()), r"model\.module"),
    "logger": (lambda: loggers.Metrics(object()), "object has neither"),
    "no folder": (lambda: loggers.JsonLines("nowhere/a.jsonl"), "no folder nowhere"),
}


def spread():
    model = nn.DataParallel(Model())
    model.device_ids = [0, 1]
    return model


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, message = BAD[case]
    with pytest.raises(TraceError, match=message):
        make()


# loggers


class Run:
    def __init__(self):
        self.seen = []

    def log(self, values, step=None):
        self.seen.append((step, values))


def test_loggers(tmp_path):
    model, run, metrics = Model(), Run(), SimpleNamespace()
    seen = []
    metrics.log_metrics = lambda values, step: seen.append((step, values))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    board = pytest.importorskip("torch.utils.tensorboard", reason="tensorboard is not installed")
    given = [
        loggers.JsonLines(tmp_path / "a.jsonl"),
        loggers.Metrics(run),
        loggers.Metrics(metrics),
        loggers.TensorBoard(tmp_path / "board"),
        loggers.TensorBoard(own := board.SummaryWriter(str(tmp_path / "own"))),
    ]
    with Monitor(model, optimiser, every=2, loggers=given) as monitor:
        train(model, 3, optimiser)
    own.close()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert (
        [line["step"] for line in lines]
        == [s for s, _ in run.seen]
        == [s for s, _ in seen]
        == [0, 2]
    )
    expected = monitor.history[-1].scalars()
    for name in ("rnn.l0/gradient_first_step", "rnn.weight_hh_l0/log10_update"):
        assert lines[-1][name] == pytest.approx(expected[name])
        assert run.seen[-1][1][name] == seen[-1][1][name] == expected[name]
    assert list((tmp_path / "board").iterdir()) and list((tmp_path / "own").iterdir())


def test_json_lines_hold_null_for_what_is_not_finite(tmp_path):
    log = loggers.JsonLines(tmp_path / "a.jsonl")
    log.write(3, {"a": math.inf, "b": np.float64(1.5)})
    log.close()
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"step": 3, "a": None, "b": 1.5}


# frameworks


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from lightning.pytorch.loggers import CSVLogger

    from throughtime.gradients.adapters.lightning import GradientMonitor

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Model()

        def training_step(self, batch):
            return mse(self.model, batch)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    callback, logger = GradientMonitor(every=2), CSVLogger(tmp_path)
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=[callback], logger=logger, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        gradient_clip_val=1e-4, log_every_n_steps=1,
    )  # fmt: skip
    data = torch.utils.data.DataLoader([torch.randn(T, 3) for _ in range(10)], batch_size=2)
    data.collate_fn = lambda rows: torch.stack(rows, 1)
    trainer.fit(Module(), data)
    assert [s.step for s in callback.monitor.history] == [0, 2, 4]
    assert callback.monitor.history[0].clips["model.rnn.weight_hh_l0"] < 0.1
    assert "model.rnn.l0/gradient_first_step" in logger.experiment.metrics_keys


def test_skorch():
    skorch = pytest.importorskip("skorch", reason="skorch is not installed")
    from throughtime.gradients.adapters.skorch import GradientMonitor

    class BatchFirst(Model):
        def forward(self, x):
            return super().forward(x.transpose(0, 1))

    net = skorch.NeuralNetRegressor(
        BatchFirst, max_epochs=2, batch_size=4, callbacks=[GradientMonitor(every=2)], verbose=0,
        train_split=None,
    )  # fmt: skip
    net.fit(np.random.randn(12, T, 3).astype("float32"), np.random.randn(12, 1).astype("float32"))
    monitor = dict(net.callbacks_)["GradientMonitor"].monitor_
    assert [s.step for s in monitor.history] == [0, 2, 4]
    assert net.history[-1, "gradients/rnn.l0/gradient_first_step"] > 0


def test_hugging_face(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from throughtime.gradients.adapters.huggingface import GradientMonitor

    class WithLoss(Model):
        def forward(self, x, labels):
            logits = super().forward(x.transpose(0, 1)).squeeze(-1)
            return {"loss": (logits - labels).square().mean(), "logits": logits}

    callback = GradientMonitor(every=2)
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, num_train_epochs=1, max_grad_norm=1e-4,
        report_to=[], use_cpu=True, save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    data = [{"x": torch.randn(T, 3), "labels": torch.tensor(1.0)} for _ in range(10)]
    transformers.Trainer(WithLoss(), arguments, train_dataset=data, callbacks=[callback]).train()
    assert [s.step for s in callback.monitor.history] == [0, 2, 4]
    assert callback.monitor.history[0].clips["rnn.weight_hh_l0"] < 0.1


@pytest.mark.parametrize("name, package", [("lightning", "lightning.pytorch"),
                                           ("skorch", "skorch.callbacks"),
                                           ("huggingface", "transformers")])  # fmt: skip
def test_a_framework_that_is_not_installed(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"throughtime.gradients.adapters.{name}", raising=False)
    with pytest.raises(MissingExtraError, match="pip install"):
        __import__(f"throughtime.gradients.adapters.{name}")
