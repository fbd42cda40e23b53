"""Peak memory of a training step, counted allocation by allocation."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import throughtime as tt


def peak(step) -> int:
    """Bytes allocated at most at any time, over what was there before."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    now = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    assert most > 0
    return most


def training_step(module, T: int, B: int):
    x = torch.randn(T, B, 16)

    def step():
        for p in module.parameters():
            p.grad = None
        module(x)[0].square().mean().backward()

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
