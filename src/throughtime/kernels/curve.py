"""An activation at many points by the kernels' machine code, in one pass over them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from throughtime.activations.emit.lanes import REALS
from throughtime.activations.emit.program import NotEmittable
from throughtime.kernels import registry
from throughtime.kernels.cpu.machine import host, program
from throughtime.kernels.cpu.plan import NAMES
from throughtime.kernels.cpu.pointwise import Cell, write_curve
from throughtime.kernels.cpu.run import parameters
from throughtime.kernels.registry import Pointwise


def value(phi: Pointwise, a: Tensor) -> Tensor | None:
    """φ(a), without a graph.

    Returns:
        None where no kernel has this activation, or a parameter of it is a tensor.
    """
    return _at("value", phi, a)


def slope(phi: Pointwise, a: Tensor) -> Tensor | None:
    """φ'(a), without a graph; None as for :func:`value`."""
    return _at("slope", phi, a)


def _at(name: str, phi: Pointwise, a: Tensor) -> Tensor | None:
    found = registry.activations_of([phi])
    if found is None or any(found[1]) or not a.is_cpu or a.dtype not in NAMES:
        return None
    cell = registry.cell("elman", *found, 1.0)
    try:
        run = _compiled(cell, a.dtype, name)
    except NotEmittable:
        return None
    width = host().width(REALS[NAMES[a.dtype]])
    theta, points = parameters(cell, None, a, width), a.contiguous()
    out = torch.empty_like(points)
    vectors, rest = divmod(points.numel(), width)
    run(points.data_ptr(), out.data_ptr(), vectors, theta.data_ptr())
    if rest:
        last = pad(points.view(-1)[-rest:], (0, width - rest))
        run(last.data_ptr(), last.data_ptr(), 1, theta.data_ptr())
        out.view(-1)[-rest:] = last[:rest]
    return out


@cache
def _compiled(cell: Cell, dtype: torch.dtype, name: str) -> Callable[..., None]:
    real = NAMES[dtype]
    write = lambda assembly: write_curve(assembly, cell)  # noqa: E731
    return program(f"curve of {cell.text}", real, write).function(name, 4)
