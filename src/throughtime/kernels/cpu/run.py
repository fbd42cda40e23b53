"""Calls of the time loops on tensors."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from throughtime.kernels.cpu.pages import empty
from throughtime.kernels.cpu.plan import NAMES, Kind, backward_plan, forward_plan, loops, pointwise
from throughtime.kernels.cpu.pointwise import Cell


def compiled(cell: Cell, dtype: torch.dtype) -> None:
    """Compile what a cell needs, or load it from disk.

    Raises:
        NotEmittable: a formula uses a function that is not written for vectors.
    """
    loops(NAMES[dtype])
    pointwise(cell, NAMES[dtype])


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return like.new_zeros(shape)


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _rows(x: Tensor) -> tuple[Tensor, int, int]:
    """The tensor (T, B, N) with each row in one piece, and its strides; copied only if it must be.

    What is the same along time or batch, as the gradient of a mean is, stays one step or row.
    """
    t_stride, b_stride, stride = x.stride()
    if stride != 1 and x.shape[-1] != 1:
        x = x[: 1 if t_stride == 0 else None, : 1 if b_stride == 0 else None].contiguous()
        t_stride, b_stride = t_stride and x.stride(0), b_stride and x.stride(1)
    return x, t_stride, b_stride


def _by_length(lengths: Tensor | None, T: int) -> tuple[Tensor | None, Tensor | None]:
    """(order, lengths in it): longest first."""
    if lengths is None:
        return None, None
    lengths, order = torch.sort(lengths.long().clamp(0, T), descending=True, stable=True)
    return order, lengths


@cache
def _defaults(cell: Cell, dtype: torch.dtype, pitch: int) -> Tensor:
    values = [p.default for phi in cell.activations for p in phi.parameters.values()]
    values += [cell.leak] if cell.leaky else []
    return torch.tensor(values or [0.0], dtype=dtype).unsqueeze(-1).repeat(1, pitch)


def parameters(cell: Cell, theta: Tensor | None, like: Tensor, pitch: int) -> Tensor:
    """All parameters, a row each, (rows, pitch)."""
    rows = _defaults(cell, like.dtype, pitch)
    if theta is None:
        return rows
    rows = rows.clone()
    rows[: theta.shape[0], : theta.shape[1]] = theta
    return rows


def forward(
    cell: Cell,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    theta: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Y (T, B, H), h_n (B, H), c_n (B, H) or empty, and what is kept for the way back or empty."""
    shape, H = cell.shape, w_hh.shape[1]
    h0, w_ih, w_hh = h0.contiguous(), w_ih.contiguous(), w_hh.contiguous()
    c0, b_ih, b_hh = _contiguous(c0), _contiguous(b_ih), _contiguous(b_hh)
    T, B, _ = x.shape
    plan = forward_plan(Kind.of(cell, x, H, reverse))
    x, x_t, x_b = _rows(x)
    y, h_n = empty(x, T, B, H), x.new_empty(B, H)
    c_n = x.new_empty((B, H) if shape.has_cell else 0)
    saved = empty(x, T, B, shape.saved, H) if save else x.new_empty(0)
    order, lengths = _by_length(lengths, T)
    theta = parameters(cell, theta, x, plan.pitch)
    plan.run(
        empty(x, plan.memory),
        order=_at(order), lengths=_at(lengths), x=x.data_ptr(), x_t=x_t, x_b=x_b,
        h0=h0.data_ptr(), c0=_at(c0), w_ih=w_ih.data_ptr(), w_hh=w_hh.data_ptr(),
        b_ih=_at(b_ih), b_hh=_at(b_hh), theta=theta.data_ptr(),
        y=y.data_ptr(), h_n=h_n.data_ptr(), c_n=c_n.data_ptr() if shape.has_cell else 0,
        saved=saved.data_ptr() if save else 0,
    )  # fmt: skip
    return y, h_n, c_n, saved


class Wanted(NamedTuple):
    """Which gradients of the way back are wanted; those of the states always are."""

    x: bool
    w_ih: bool
    w_hh: bool
    bias: bool


def backward(
    cell: Cell,
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    theta: Tensor | None,
    y: Tensor,
    saved: Tensor,
    lengths: Tensor | None,
    reverse: bool,
    wanted: Wanted,
    tap: Collection[str] = (),
    rows: int | None = None,
) -> dict[str, Tensor]:
    """Gradients by name: dx, dh0, dc0, dw_ih, dw_hh, db (a row a sum), dtheta (a row a parameter).

    And what ``tap`` names of: delta, (T, B, G, H), the gradient at each preactivation; total,
    (T, B, H), that at each output, what comes back through time included; and for a cell state
    carried, (T, B, H), what comes back to it but for the way through the output of its own step.
    Of the first ``rows`` sequences alone, if that is given and all have the same length.
    """
    shape = cell.shape
    H, G = w_hh.shape[1], shape.gates
    h0, w_ih, w_hh = h0.contiguous(), w_ih.contiguous(), w_hh.contiguous()
    c0, dh_n, dc_n = _contiguous(c0), _contiguous(dh_n), _contiguous(dc_n)
    T, B, I = x.shape
    plan = backward_plan(Kind.of(cell, x, H, reverse), wanted.x)
    x, x_t, x_b = _rows(x)
    dy, dy_t, dy_b = (None, 0, 0) if dy is None else _rows(dy)
    order, lengths = _by_length(lengths, T)
    pitch, x_pitch, workers = plan.pitch, plan.x_pitch, plan.workers
    out = {"dh0": x.new_empty(B, H)}
    if shape.has_cell:
        out["dc0"] = x.new_empty(B, H)
    if wanted.x:
        out["dx"] = empty(x, T, B, I)
    # those of given lengths run in another order: the first rows are not the first sequences
    told = B if rows is None or lengths is not None else min(rows, B)
    here = empty if lengths is None else _zeros
    if "delta" in tap:
        out["delta"] = here(x, T, told, G, H)
    for name in ("total", "carried") if shape.has_cell else ("total",):
        if name in tap:
            out[name] = here(x, T, told, H)
    sums = {}
    if wanted.w_ih:
        sums["dw_ih"] = empty(x, workers * G * H, x_pitch)
    if wanted.w_hh:
        sums["dw_hh"] = empty(x, workers * G * H, pitch)
    if wanted.bias:
        sums["db"] = x.new_empty(workers * shape.sums, pitch)
    if any(cell.learnt):
        sums["dtheta"] = x.new_empty(workers * cell.rows, pitch)
    theta = parameters(cell, theta, x, pitch)
    places = {name: tensor.data_ptr() for name, tensor in (out | sums).items()}
    plan.run(
        empty(x, plan.memory),
        order=_at(order), lengths=_at(lengths), x=x.data_ptr(), x_t=x_t, x_b=x_b,
        h0=h0.data_ptr(), c0=_at(c0), w_ih=w_ih.data_ptr(), w_hh=w_hh.data_ptr(),
        theta=theta.data_ptr(), saved=saved.data_ptr(), y=y.data_ptr(),
        dy=_at(dy), dy_t=dy_t, dy_b=dy_b, dh_n=_at(dh_n), dc_n=_at(dc_n),
        told=told, **places,
    )  # fmt: skip
    for name, parts in sums.items():
        out[name] = _total(parts, workers, I if name == "dw_ih" else H)
    return out


def _total(parts: Tensor, workers: int, width: int) -> Tensor:
    """The sum over the workers, without padding."""
    if workers > 1:
        parts, *others = parts.chunk(workers)
        for other in others:
            parts += other
    return parts if parts.shape[1] == width else parts[:, :width].contiguous()
