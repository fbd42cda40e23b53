"""Which kernels run on which device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from throughtime.kernels.cpu import run as cpu


@dataclass(frozen=True)
class Engine:
    """The kernels of one kind of device.

    Attributes:
        name: as :class:`.dispatch.Backend` names it.
        formats: in which it computes.
        compiled, forward, backward: as in :mod:`throughtime.kernels.cpu.run`.
    """

    name: str
    formats: tuple[torch.dtype, ...]
    compiled: Callable[..., None]
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def _of_gpu(function: str) -> Callable[..., Any]:
    """Triton is imported when the first tensor of a GPU comes."""

    def call(*arguments: Any, **options: Any) -> Any:
        from throughtime.kernels.cuda import run

        return getattr(run, function)(*arguments, **options)

    return call


CPU = Engine("cpu", tuple(cpu.NAMES), cpu.compiled, cpu.forward, cpu.backward)
CUDA = Engine(
    "cuda",
    (torch.float32, torch.float64, torch.bfloat16, torch.float16),
    *map(_of_gpu, ("compiled", "forward", "backward")),
)
_HAS_TRITON = find_spec("triton") is not None


def engine(x: Tensor) -> Engine | None:
    """The kernels that run on the device of ``x``, if any."""
    if x.is_cpu:
        return CPU
    return CUDA if x.is_cuda and _HAS_TRITON else None
