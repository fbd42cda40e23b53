"""The kernels as operators of PyTorch: for graphs that are compiled, exported or only measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from throughtime.kernels import engine as engines
from throughtime.kernels.cpu import run
from throughtime.kernels.registry import cell_of

_LIBRARY = torch.library.Library("throughtime", "DEF")
_LIBRARY.define(
    "recurrence(Tensor x, Tensor h0, Tensor? c0, Tensor w_ih, Tensor w_hh, Tensor? b_ih,"
    " Tensor? b_hh, Tensor? theta, Tensor? lengths, str cell, bool reverse, bool save)"
    " -> (Tensor y, Tensor h_n, Tensor c_n, Tensor saved)"
)
_LIBRARY.define(
    "recurrence_backward(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor x, Tensor h0, Tensor? c0,"
    " Tensor w_ih, Tensor w_hh, Tensor? theta, Tensor y, Tensor saved, Tensor? lengths, str cell,"
    " bool reverse, bool[] wanted)"
    " -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor dw_ih, Tensor dw_hh, Tensor db, Tensor dtheta)"
)
GRADIENTS = ("dx", "dh0", "dc0", "dw_ih", "dw_hh", "db", "dtheta")


def _forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, lengths, cell, reverse, save):
    states, weights = (x, h0, c0), (w_ih, w_hh, b_ih, b_hh)
    here: Any = engines.engine(x)
    return here.forward(cell_of(cell), *states, *weights, theta, lengths, reverse, save)


def _forward_shapes(x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, lengths, cell, reverse, save):
    T, B, _ = x.shape
    H = w_hh.shape[1]
    shape = cell_of(cell).shape
    kept = (T, B, shape.saved, H) if save else 0
    c_n = x.new_empty((B, H) if shape.has_cell else 0)
    return x.new_empty(T, B, H), x.new_empty(B, H), c_n, x.new_empty(kept)


def _backward(
    dy, dh_n, dc_n, x, h0, c0, w_ih, w_hh, theta, y, saved, lengths, cell, reverse, wanted
):
    here: Any = engines.engine(x)
    found = here.backward(
        cell_of(cell), dy, dh_n, dc_n, x, h0, c0, w_ih, w_hh, theta, y, saved, lengths, reverse,
        run.Wanted(*wanted),
    )  # fmt: skip
    return tuple(found[name] if name in found else x.new_empty(0) for name in GRADIENTS)


def _backward_shapes(
    dy, dh_n, dc_n, x, h0, c0, w_ih, w_hh, theta, y, saved, lengths, cell, reverse, wanted
):
    H, here = w_hh.shape[1], cell_of(cell)
    wants = run.Wanted(*wanted)
    shapes = {
        "dx": x.shape if wants.x else 0,
        "dh0": h0.shape,
        "dc0": h0.shape if here.shape.has_cell else 0,
        "dw_ih": w_ih.shape if wants.w_ih else 0,
        "dw_hh": w_hh.shape if wants.w_hh else 0,
        "db": (here.shape.sums, H) if wants.bias else 0,
        "dtheta": (here.rows, H) if any(here.learnt) else 0,
    }
    return tuple(x.new_empty(shapes[name]) for name in GRADIENTS)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("recurrence", _forward, _device)
    _LIBRARY.impl("recurrence_backward", _backward, _device)
torch.library.register_fake("throughtime::recurrence", _forward_shapes, lib=_LIBRARY)
torch.library.register_fake("throughtime::recurrence_backward", _backward_shapes, lib=_LIBRARY)


def forward(key: str, *arguments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:attr:`.engine.Engine.forward` as an operator."""
    *tensors, reverse, save = arguments
    return torch.ops.throughtime.recurrence(*tensors, key, reverse, save)


def backward(key: str, *arguments) -> dict[str, Tensor]:
    """:attr:`.engine.Engine.backward` as an operator."""
    *tensors, reverse, wanted = arguments
    flags = [wanted.x, wanted.w_ih, wanted.w_hh, wanted.bias]
    found = torch.ops.throughtime.recurrence_backward(*tensors, key, reverse, flags)
    return dict(zip(GRADIENTS, found, strict=True))
