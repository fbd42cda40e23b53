"""A pass through a model that leaves nothing behind."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Modes, buffers, ``.grad`` and all random generators are afterwards as they were before.

    Inside, gradients are on, ``torch.compile``d code runs eagerly, and ``.grad`` of every
    parameter is None.
    """
    modes = [(m, m.training) for m in model.modules()]
    buffers = [
        (m, name, b, b.clone()) for m, _ in modes for name, b in m._buffers.items() if b is not None
    ]
    gradients = [(p, p.grad) for p in model.parameters()]
    python, numpy = random.getstate(), np.random.get_state()
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(cuda))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for p, _ in gradients:
                p.grad = None
            yield
    finally:
        for p, gradient in gradients:
            p.grad = gradient
        with torch.no_grad():
            for m, name, buffer, value in buffers:
                m._buffers[name] = buffer
                if buffer._version or not torch.equal(buffer, value):
                    buffer.copy_(value)
        for m, training in modes:
            if m.training != training:
                m.training = training
        random.setstate(python)
        np.random.set_state(numpy)
