"""Peak memory of a training step, counted allocation by allocation."""

from __future__ import annotations

import pytest
import torch

import throughtime as tt
from throughtime.bench.memory import peak


def training_step(module, T: int, B: int):
    x = torch.randn(T, B, 16)

    def step():
        module(x)[0].square().mean().backward()
        module.zero_grad()

    return step


@pytest.mark.parametrize("H", [32, 64, 100])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_training_step_takes_no_more_than_pytorch_s(kind, H):
    ours, theirs = (
        peak(training_step(getattr(room, kind)(16, H), 100, 32)) for room in (tt.nn, torch.nn)
    )
    assert ours <= theirs


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_inference_takes_its_outputs_and_little_else(kind):
    module, x = getattr(tt.nn, kind)(16, 64), torch.randn(400, 32, 16)

    def step():
        with torch.no_grad():
            module(x)

    assert peak(step) <= 1.2 * x.shape[0] * 32 * 64 * 4
