"""A pass through a model that leaves nothing behind, and work that no setting disturbs."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

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
    python, numpy, here = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        with ExitStack() as stack:
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
        torch.set_rng_state(here)
        torch.cuda.set_rng_state_all(cuda)


def full_precision(device: torch.device) -> AbstractContextManager:
    """Without autocast; to enter where it is off anyway would cost more than some measures do."""
    on = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if on else nullcontext()
