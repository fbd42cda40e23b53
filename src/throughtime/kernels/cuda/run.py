"""Calls of the GPU kernels on tensors, with the signatures of :mod:`throughtime.kernels.cpu.run`.

The input projection is one product before the time loop, the gradients of the weights and of the
input are one deep product each after it; only what depends on the step before is in the loop.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import triton
from torch import Tensor

from throughtime.cells.clock import without_padding
from throughtime.kernels.cpu.pointwise import Cell
from throughtime.kernels.cpu.run import Wanted
from throughtime.kernels.cuda import persistent, plan, stepwise

FORMATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def compiled(cell: Cell, dtype: torch.dtype) -> None:
    """Write what a cell needs; Triton compiles it when it first runs.

    Raises:
        NotEmittable: a formula uses a function that Triton has not.
    """
    plan.functions(cell)


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
    with torch.autocast(x.device.type, enabled=False), _on(x):
        (T, B, _), H, shape = x.shape, w_hh.shape[1], cell.shape
        h0, w_hh = h0.contiguous(), w_hh.contiguous()
        c0 = None if c0 is None else c0.contiguous()
        theta = None if theta is None else theta.contiguous()
        lengths = _lengths(lengths, x)
        sums = x.new_empty(T, B, shape.saved if save else shape.gates, H)
        bias, bias_h = _biases(cell, x, b_ih, b_hh, H)
        into = _rows(sums)[:, : shape.gates * H]
        torch.addmm(bias, x.flatten(0, 1), w_ih.t(), out=into)
        y = x.new_empty(T, B, H)
        chosen = plan.plan(cell.name, B, H, x.dtype)
        if chosen.persistent:
            h_n, c_n = x.new_empty(B, H), x.new_empty((B, H) if shape.has_cell else 0)
            turned = w_hh.view(-1, H, H).transpose(1, 2).contiguous()
            if B:
                persistent.FORWARD[cell.name][(triton.cdiv(B, chosen.rows),)](
                    sums, turned, bias_h, h0, h0 if c0 is None else c0, y, h_n, c_n,
                    sums if theta is None else theta, h0 if lengths is None else lengths, T, B, H,
                    **plan.values(cell), **_options(chosen, x, lengths, reverse),
                    BLOCKS=sums.shape[2], SAVE=save,
                )  # fmt: skip
        else:
            h_n, c_n = stepwise.forward(
                cell, sums, w_hh, bias_h, h0, c0, y, theta, lengths, reverse, save
            )
            c_n = c_n if shape.has_cell else x.new_empty(0)
        return y, h_n, c_n, sums if save else x.new_empty(0)


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

    And if ``tap`` names it delta, (T, B, G, H), the gradient at each preactivation, of the first
    ``rows`` sequences alone if that is given.
    """
    with torch.autocast(x.device.type, enabled=False), _on(x):
        (T, B, _), H, shape = x.shape, w_hh.shape[1], cell.shape
        dy = x.new_zeros(T, B, H) if dy is None else dy.contiguous()
        dh_n = x.new_zeros(B, H) if dh_n is None else dh_n.contiguous()
        dc_n = x.new_zeros(B, H) if dc_n is None else dc_n.contiguous()
        h0, w_hh = h0.contiguous(), w_hh.contiguous()
        c0 = None if c0 is None else c0.contiguous()
        theta = None if theta is None else theta.contiguous()
        lengths = _lengths(lengths, x)
        delta = x.new_empty(T, B, shape.sums, H)
        chosen = plan.plan(cell.name, B, H, x.dtype)
        if chosen.persistent:
            programs, P = triton.cdiv(B, chosen.rows), max(1, cell.rows)
            dh0, dc0 = x.new_empty(B, H), x.new_empty((B, H) if shape.has_cell else 0)
            wide = torch.float64 if x.dtype == torch.float64 else torch.float32
            dtheta = x.new_zeros(programs, P, H, dtype=wide)
            if B:
                persistent.BACKWARD[cell.name][(programs,)](
                    saved, w_hh, y, h0, h0 if c0 is None else c0, dy, dh_n, dc_n, delta, dh0, dc0,
                    saved if theta is None else theta, dtheta,
                    h0 if lengths is None else lengths, T, B, H, P,
                    **plan.slopes(cell), **_options(chosen, x, lengths, reverse),
                )  # fmt: skip
            dtheta = dtheta.sum(0)
        else:
            seq, initial = {
                "elman": (None, None),
                "gru": (y, h0),
                "lstm": (saved[:, :, -1], c0),
            }[cell.name]
            dh0, dc0, dtheta = stepwise.backward(
                cell, saved, w_hh, seq, initial, dy, dh_n, dc_n, delta, theta, lengths, reverse
            )
        found = {"dh0": dh0}
        if shape.has_cell:
            found["dc0"] = dc0
        if any(cell.learnt):
            found["dtheta"] = dtheta.to(x.dtype)
        if "delta" in tap:
            found["delta"] = delta[:, :rows, : shape.gates]
        return found | _of_weights(cell, delta, x, h0, w_ih, w_hh, y, lengths, reverse, wanted)


def _of_weights(
    cell: Cell, delta: Tensor, x: Tensor, h0: Tensor, w_ih: Tensor, w_hh: Tensor, y: Tensor,
    lengths: Tensor | None, reverse: bool, wanted: Wanted,
) -> dict[str, Tensor]:  # fmt: skip
    """Gradients of what all steps share, and of the input, each from one deep product."""
    T, _, _, H = delta.shape
    found = {}
    from_x = _rows(delta)[:, : cell.shape.gates * H]
    if wanted.x:
        found["dx"] = (from_x @ w_ih).view(x.shape)
    if wanted.w_ih:
        found["dw_ih"] = from_x.t() @ without_padding(x, lengths).flatten(0, 1)
    if wanted.bias:
        found["db"] = delta.sum((0, 1))
    if wanted.w_hh:
        dw = w_hh.new_zeros(w_hh.shape[0] // H, H, H)
        if T:
            later, before = (delta[:-1], y[1:]) if reverse else (delta[1:], y[:-1])
            first = _first(delta, lengths, reverse).flatten(1)
            later, before = _rows(later), before.flatten(0, 1)
            for blocks, gates in stepwise.gate_runs(cell.shape):
                columns = slice(blocks.start * H, blocks.stop * H)
                total = torch.addmm(later[:, columns].t() @ before, first[:, columns].t(), h0)
                dw[gates] = total.view(-1, H, H)
        found["dw_hh"] = dw.view(w_hh.shape)
    return found


def _rows(blocks: Tensor) -> Tensor:
    """(T, B, blocks, H) as a matrix of T B rows."""
    return blocks.flatten(0, 1).flatten(1)


def _first(delta: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """δ of the step that each sequence runs first, (B, blocks, H); 0 where it runs none."""
    if not reverse:
        return delta[0]
    if lengths is None:
        return delta[-1]
    return delta[(lengths.long() - 1).clamp(min=0), torch.arange(len(lengths), device=delta.device)]


def _options(chosen: plan.Plan, x: Tensor, lengths: Tensor | None, reverse: bool) -> dict[str, Any]:
    return {
        **plan.arithmetic(x.dtype),
        **plan.products(x.dtype),
        "ROWS": chosen.rows,
        "UNITS": chosen.units,
        "REVERSE": reverse,
        "RAGGED": lengths is not None,
        "num_warps": chosen.warps,
        "enable_fp_fusion": True,
    }


def _on(x: Tensor):
    """Triton launches on the current device."""
    return torch.cuda.device(x.device if x.is_cuda else -1)


def _lengths(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    if lengths is None:
        return None
    return lengths.clamp(0, x.shape[0]).to(x.device, torch.int32)


def _biases(
    cell: Cell, x: Tensor, b_ih: Tensor | None, b_hh: Tensor | None, H: int
) -> tuple[Tensor, Tensor]:
    """What is added to the projected input, and to the part of GRU's sum that r gates."""
    zero = x.new_zeros(cell.shape.gates * H)
    b_ih, b_hh = zero if b_ih is None else b_ih, zero if b_hh is None else b_hh
    if cell.name != "gru":
        return b_ih + b_hh, zero[:H]
    gated = b_hh[2 * H :].contiguous()
    return b_ih + torch.cat([b_hh[: 2 * H], torch.zeros_like(gated)]), gated
