"""Memory that a call takes at most, counted allocation by allocation."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak(step: Callable[[], object], device: str = "cpu") -> int:
    """Bytes allocated at most at any time of a call, over what was there before.

    Args:
        step: the call, which leaves nothing behind; made once before to warm up.
        device: where its tensors live.

    Example:
        >>> peak(lambda: torch.zeros(1000))
        4000
    """
    step()
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it tells on stderr when it starts
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    now = most = 0
    recorded = profiler.profiler
    assert recorded is not None and recorded.kineto_results is not None
    events: list[Any] = recorded.kineto_results.events()
    for event in events:
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most
