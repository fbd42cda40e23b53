"""One time step after its product, in one kernel each way: what the stepwise plan launches.

A program has a tile of rows and units. ``i`` counts steps within a piece of the sequence that
begins at the step in ``t0``.
"""

# pyright: reportArgumentType=false
# (numbers become constants of the code)
from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from throughtime.kernels.cuda import units
from throughtime.kernels.cuda.units import place


@triton.jit
def _tile(t0, i, lengths, B, H, ROWS: tl.constexpr, UNITS: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    length = tl.load(lengths + rows, mask=rows < B, other=0)
    tile = (rows < B)[:, None] & (columns < H)[None, :]
    return rows, columns, tile, tile & (tl.load(t0) + i < length)[:, None]


@triton.jit(do_not_specialize=["i"])
def elman_forward(
    sums, v, bias, h, h_narrow, c, y, theta, lengths, t0, i, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Elman going forward."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_0 = place(i, rows, columns, B, H, BLOCKS, 0)
    a = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
    a += tl.load(v + here, mask=live, other=0.0).to(ACC)
    tl.store(sums + at_0, a, mask=live)
    old = tl.load(h + here, mask=tile, other=0.0)
    new = units.elman(a, old, theta, H, columns, columns < H, LEAK, PHI)
    tl.store(h + here, new, mask=live)
    tl.store(h_narrow + here, new, mask=live)
    out = tl.where(live, new, 0.0)
    tl.store(y + place(i, rows, columns, B, H, 1, 0), out, mask=tile)


@triton.jit(do_not_specialize=["i"])
def gru_forward(
    sums, v, bias, h, h_narrow, c, y, theta, lengths, t0, i, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """GRU going forward."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_0 = place(i, rows, columns, B, H, BLOCKS, 0)
    at_1 = place(i, rows, columns, B, H, BLOCKS, 1)
    r = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
    z = tl.load(sums + at_1, mask=live, other=0.0).to(ACC)
    n = tl.load(sums + place(i, rows, columns, B, H, BLOCKS, 2), mask=live, other=0.0).to(ACC)
    q = tl.load(bias + columns, mask=columns < H, other=0.0).to(ACC)[None, :]
    r += tl.load(v + place(0, rows, columns, B, H, 3, 0), mask=live, other=0.0).to(ACC)
    z += tl.load(v + place(0, rows, columns, B, H, 3, 1), mask=live, other=0.0).to(ACC)
    q += tl.load(v + place(0, rows, columns, B, H, 3, 2), mask=live, other=0.0).to(ACC)
    tl.store(sums + at_0, r, mask=live)
    tl.store(sums + at_1, z, mask=live)
    if BLOCKS > 3:
        tl.store(sums + place(i, rows, columns, B, H, BLOCKS, 3), q, mask=live)
    old = tl.load(h + here, mask=tile, other=0.0)
    new = units.gru(r, z, n, q, old, theta, H, columns, columns < H, PHI, GATE)
    tl.store(h + here, new, mask=live)
    tl.store(h_narrow + here, new, mask=live)
    out = tl.where(live, new, 0.0)
    tl.store(y + place(i, rows, columns, B, H, 1, 0), out, mask=tile)


@triton.jit(do_not_specialize=["i"])
def lstm_forward(
    sums, v, bias, h, h_narrow, c, y, theta, lengths, t0, i, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """LSTM going forward."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_0 = place(i, rows, columns, B, H, BLOCKS, 0)
    at_1 = place(i, rows, columns, B, H, BLOCKS, 1)
    at_2 = place(i, rows, columns, B, H, BLOCKS, 2)
    at_3 = place(i, rows, columns, B, H, BLOCKS, 3)
    a_i = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
    a_f = tl.load(sums + at_1, mask=live, other=0.0).to(ACC)
    a_g = tl.load(sums + at_2, mask=live, other=0.0).to(ACC)
    a_o = tl.load(sums + at_3, mask=live, other=0.0).to(ACC)
    a_i += tl.load(v + place(0, rows, columns, B, H, 4, 0), mask=live, other=0.0).to(ACC)
    a_f += tl.load(v + place(0, rows, columns, B, H, 4, 1), mask=live, other=0.0).to(ACC)
    a_g += tl.load(v + place(0, rows, columns, B, H, 4, 2), mask=live, other=0.0).to(ACC)
    a_o += tl.load(v + place(0, rows, columns, B, H, 4, 3), mask=live, other=0.0).to(ACC)
    old = tl.load(c + here, mask=tile, other=0.0)
    new, c_new = units.lstm(a_i, a_f, a_g, a_o, old, theta, H, columns, columns < H, PHI, GATE, OUT)
    tl.store(sums + at_0, a_i, mask=live)
    tl.store(sums + at_1, a_f, mask=live)
    tl.store(sums + at_2, a_g, mask=live)
    tl.store(sums + at_3, a_o, mask=live)
    if BLOCKS > 4:
        tl.store(sums + place(i, rows, columns, B, H, BLOCKS, 4), c_new, mask=live)
    tl.store(c + here, c_new, mask=live)
    tl.store(h + here, new, mask=live)
    tl.store(h_narrow + here, new, mask=live)
    out = tl.where(live, new, 0.0)
    tl.store(y + place(i, rows, columns, B, H, 1, 0), out, mask=tile)


@triton.jit(do_not_specialize=["i"])
def elman_backward(
    saved, before, dy, v, past, g_c, delta, theta, dtheta, lengths, t0, i, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Elman going back."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_y = place(i, rows, columns, B, H, 1, 0)
    mine = dtheta + tl.program_id(0) * P * H
    g = tl.load(past + here, mask=tile, other=0.0)
    g += tl.load(v + here, mask=tile, other=0.0).to(ACC)
    arriving = g + tl.load(dy + at_y, mask=live, other=0.0).to(ACC)
    arriving = tl.where(live, arriving, 0.0)
    a = tl.load(saved + at_y, mask=live, other=0.0).to(ACC)
    d, left = units.elman_back(
        a, arriving, live, theta, mine, H, columns, columns < H, LEAK, PHI, PHI_LEARN
    )
    tl.store(delta + at_y, tl.where(live, d, 0.0), mask=tile)
    tl.store(past + here, tl.where(live, left, g), mask=tile)


@triton.jit(do_not_specialize=["i"])
def gru_backward(
    saved, before, dy, v, past, g_c, delta, theta, dtheta, lengths, t0, i, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """GRU going back."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_y = place(i, rows, columns, B, H, 1, 0)
    at_0, at_1 = place(i, rows, columns, B, H, 4, 0), place(i, rows, columns, B, H, 4, 1)
    at_2, at_3 = place(i, rows, columns, B, H, 4, 2), place(i, rows, columns, B, H, 4, 3)
    mine = dtheta + tl.program_id(0) * P * H
    g = tl.load(past + here, mask=tile, other=0.0)
    g += tl.load(v + here, mask=tile, other=0.0).to(ACC)
    arriving = g + tl.load(dy + at_y, mask=live, other=0.0).to(ACC)
    arriving = tl.where(live, arriving, 0.0)
    h_before = tl.load(before + at_y, mask=live, other=0.0).to(ACC)
    a_r = tl.load(saved + at_0, mask=live, other=0.0).to(ACC)
    a_z = tl.load(saved + at_1, mask=live, other=0.0).to(ACC)
    a_n = tl.load(saved + at_2, mask=live, other=0.0).to(ACC)
    q = tl.load(saved + at_3, mask=live, other=0.0).to(ACC)
    d_r, d_z, d_n, d_q, left = units.gru_back(
        a_r, a_z, a_n, q, h_before, arriving, live, theta, mine, H, columns, columns < H,
        PHI, PHI_LEARN, GATE, GATE_LEARN,
    )  # fmt: skip
    tl.store(delta + at_0, tl.where(live, d_r, 0.0), mask=tile)
    tl.store(delta + at_1, tl.where(live, d_z, 0.0), mask=tile)
    tl.store(delta + at_2, tl.where(live, d_n, 0.0), mask=tile)
    tl.store(delta + at_3, tl.where(live, d_q, 0.0), mask=tile)
    tl.store(past + here, tl.where(live, left, g), mask=tile)


@triton.jit(do_not_specialize=["i"])
def lstm_backward(
    saved, before, dy, v, past, g_c, delta, theta, dtheta, lengths, t0, i, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """LSTM going back."""
    rows, columns, tile, live = _tile(t0, i, lengths, B, H, ROWS, UNITS)
    here = place(0, rows, columns, B, H, 1, 0)
    at_y = place(i, rows, columns, B, H, 1, 0)
    mine = dtheta + tl.program_id(0) * P * H
    g = tl.load(past + here, mask=tile, other=0.0)
    g += tl.load(v + here, mask=tile, other=0.0).to(ACC)
    at_h = g + tl.load(dy + at_y, mask=live, other=0.0).to(ACC)
    at_h = tl.where(live, at_h, 0.0)
    at_c = tl.load(g_c + here, mask=live, other=0.0)
    c_before = tl.load(before + at_y, mask=live, other=0.0).to(ACC)
    a_i = tl.load(saved + place(i, rows, columns, B, H, 5, 0), mask=live, other=0.0).to(ACC)
    a_f = tl.load(saved + place(i, rows, columns, B, H, 5, 1), mask=live, other=0.0).to(ACC)
    a_g = tl.load(saved + place(i, rows, columns, B, H, 5, 2), mask=live, other=0.0).to(ACC)
    a_o = tl.load(saved + place(i, rows, columns, B, H, 5, 3), mask=live, other=0.0).to(ACC)
    c = tl.load(saved + place(i, rows, columns, B, H, 5, 4), mask=live, other=0.0).to(ACC)
    d_i, d_f, d_g, d_o, left = units.lstm_back(
        a_i, a_f, a_g, a_o, c, c_before, at_h, at_c, live, theta, mine, H, columns, columns < H,
        PHI, PHI_LEARN, GATE, GATE_LEARN, OUT, OUT_LEARN,
    )  # fmt: skip
    tl.store(delta + place(i, rows, columns, B, H, 4, 0), tl.where(live, d_i, 0.0), mask=tile)
    tl.store(delta + place(i, rows, columns, B, H, 4, 1), tl.where(live, d_f, 0.0), mask=tile)
    tl.store(delta + place(i, rows, columns, B, H, 4, 2), tl.where(live, d_g, 0.0), mask=tile)
    tl.store(delta + place(i, rows, columns, B, H, 4, 3), tl.where(live, d_o, 0.0), mask=tile)
    tl.store(past + here, tl.where(live, 0.0, g), mask=tile)
    tl.store(g_c + here, left, mask=live)


FORWARD: dict[str, Any] = {"elman": elman_forward, "gru": gru_forward, "lstm": lstm_forward}
BACKWARD: dict[str, Any] = {"elman": elman_backward, "gru": gru_backward, "lstm": lstm_backward}
