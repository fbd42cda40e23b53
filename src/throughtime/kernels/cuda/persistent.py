"""All of the time loop in one kernel, with the weights on the chip from the first step to the last.

A program owns a tile of batch rows and all their units, so it needs no other program at any step.
Sums, (T, B, blocks, H), hold the projected input; going forward each becomes the preactivation
and stays for the way back. Sequences that are over keep their state and are not written to.
Forward kernels take the weights turned, (G, from, to), backward kernels as they are.
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
def _product(a, w, total, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    """The total and a w; WIDEN where Triton's interpreter cannot multiply bfloat16."""
    a = a.to(w.dtype)
    if WIDEN:
        a, w = a.to(tl.float32), w.to(tl.float32)
    return tl.dot(a, w, total, input_precision=PRECISION, out_dtype=total.dtype)


@triton.jit
def _weights(w, gate: tl.constexpr, H, UNITS: tl.constexpr):
    """The matrix of a gate of (G, H, H)."""
    i, j = tl.arange(0, UNITS)[:, None], tl.arange(0, UNITS)[None, :]
    inside = (i < H) & (j < H)
    return tl.load(w + gate * H * H + i * H + j, mask=inside, other=0.0)


@triton.jit
def _length(lengths, rows, real, T, RAGGED: tl.constexpr):
    if RAGGED:
        return tl.load(lengths + rows, mask=real, other=0).to(tl.int32)
    else:
        return tl.where(real, T, 0)


@triton.jit
def elman_forward(
    sums, w, bias, h0, c0, y, h_n, c_n, theta, lengths, T, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, SAVE: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Elman going forward."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    here = place(0, rows, columns, B, H, 1, 0)
    w_0 = _weights(w, 0, H, UNITS)
    h = tl.load(h0 + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        live = tile & (t < length)[:, None]
        at_0 = place(t, rows, columns, B, H, BLOCKS, 0)
        a = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
        a = _product(h, w_0, a, PRECISION, WIDEN)
        if SAVE:
            tl.store(sums + at_0, a, mask=live)
        new = units.elman(a, h, theta, H, columns, inside, LEAK, PHI)
        h = tl.where(live, new, h)
        out = tl.where(live, h, 0.0)
        tl.store(y + place(t, rows, columns, B, H, 1, 0), out, mask=tile)
    tl.store(h_n + here, h, mask=tile)


@triton.jit
def gru_forward(
    sums, w, bias, h0, c0, y, h_n, c_n, theta, lengths, T, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, SAVE: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """GRU going forward."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    here = place(0, rows, columns, B, H, 1, 0)
    w_0, w_1 = _weights(w, 0, H, UNITS), _weights(w, 1, H, UNITS)
    w_2 = _weights(w, 2, H, UNITS)
    b = tl.load(bias + columns, mask=inside, other=0.0).to(ACC)[None, :]
    h = tl.load(h0 + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        live = tile & (t < length)[:, None]
        at_0 = place(t, rows, columns, B, H, BLOCKS, 0)
        at_1 = place(t, rows, columns, B, H, BLOCKS, 1)
        r = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
        z = tl.load(sums + at_1, mask=live, other=0.0).to(ACC)
        n = tl.load(sums + place(t, rows, columns, B, H, BLOCKS, 2), mask=live, other=0.0).to(ACC)
        r = _product(h, w_0, r, PRECISION, WIDEN)
        z = _product(h, w_1, z, PRECISION, WIDEN)
        q = _product(h, w_2, b + tl.zeros((ROWS, UNITS), ACC), PRECISION, WIDEN)
        if SAVE:
            tl.store(sums + at_0, r, mask=live)
            tl.store(sums + at_1, z, mask=live)
            tl.store(sums + place(t, rows, columns, B, H, BLOCKS, 3), q, mask=live)
        new = units.gru(r, z, n, q, h, theta, H, columns, inside, PHI, GATE)
        h = tl.where(live, new, h)
        out = tl.where(live, h, 0.0)
        tl.store(y + place(t, rows, columns, B, H, 1, 0), out, mask=tile)
    tl.store(h_n + here, h, mask=tile)


@triton.jit
def lstm_forward(
    sums, w, bias, h0, c0, y, h_n, c_n, theta, lengths, T, B, H,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, BLOCKS: tl.constexpr, SAVE: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """LSTM going forward."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    here = place(0, rows, columns, B, H, 1, 0)
    w_0, w_1 = _weights(w, 0, H, UNITS), _weights(w, 1, H, UNITS)
    w_2, w_3 = _weights(w, 2, H, UNITS), _weights(w, 3, H, UNITS)
    h = tl.load(h0 + here, mask=tile, other=0.0).to(ACC)
    c = tl.load(c0 + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        live = tile & (t < length)[:, None]
        at_0 = place(t, rows, columns, B, H, BLOCKS, 0)
        at_1 = place(t, rows, columns, B, H, BLOCKS, 1)
        at_2 = place(t, rows, columns, B, H, BLOCKS, 2)
        at_3 = place(t, rows, columns, B, H, BLOCKS, 3)
        i = tl.load(sums + at_0, mask=live, other=0.0).to(ACC)
        f = tl.load(sums + at_1, mask=live, other=0.0).to(ACC)
        g = tl.load(sums + at_2, mask=live, other=0.0).to(ACC)
        o = tl.load(sums + at_3, mask=live, other=0.0).to(ACC)
        i = _product(h, w_0, i, PRECISION, WIDEN)
        f = _product(h, w_1, f, PRECISION, WIDEN)
        g = _product(h, w_2, g, PRECISION, WIDEN)
        o = _product(h, w_3, o, PRECISION, WIDEN)
        new, c_new = units.lstm(i, f, g, o, c, theta, H, columns, inside, PHI, GATE, OUT)
        if SAVE:
            tl.store(sums + at_0, i, mask=live)
            tl.store(sums + at_1, f, mask=live)
            tl.store(sums + at_2, g, mask=live)
            tl.store(sums + at_3, o, mask=live)
            tl.store(sums + place(t, rows, columns, B, H, BLOCKS, 4), c_new, mask=live)
        h, c = tl.where(live, new, h), tl.where(live, c_new, c)
        out = tl.where(live, h, 0.0)
        tl.store(y + place(t, rows, columns, B, H, 1, 0), out, mask=tile)
    tl.store(h_n + here, h, mask=tile)
    tl.store(c_n + here, c, mask=tile)


@triton.jit
def _before(seq, initial, t, start, rows, columns, live, B, H, BLOCKS: tl.constexpr,
            block: tl.constexpr, REVERSE: tl.constexpr):  # fmt: skip
    """The state before step ``t``: the initial one at the first step that a sequence runs."""
    earlier = t + 1 if REVERSE else t - 1
    first = live & (t == start)[:, None]
    seq = seq + place(earlier, rows, columns, B, H, BLOCKS, block)
    here = place(0, rows, columns, B, H, 1, 0)
    kept = tl.load(seq, mask=live & (t != start)[:, None], other=0.0)
    return tl.where(first, tl.load(initial + here, mask=first, other=0.0), kept)


@triton.jit
def elman_backward(
    saved, w, y, h0, c0, dy, dh_n, dc_n, delta, dh0, dc0, theta, dtheta, lengths, T, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Elman going back."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    here = place(0, rows, columns, B, H, 1, 0)
    mine = dtheta + tl.program_id(0) * P * H
    w_0 = _weights(w, 0, H, UNITS)
    g = tl.load(dh_n + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        live = tile & (t < length)[:, None]
        at_y = place(t, rows, columns, B, H, 1, 0)
        arriving = g + tl.load(dy + at_y, mask=live, other=0.0).to(ACC)
        arriving = tl.where(live, arriving, 0.0)
        a = tl.load(saved + at_y, mask=live, other=0.0).to(ACC)
        d, past = units.elman_back(
            a, arriving, live, theta, mine, H, columns, inside, LEAK, PHI, PHI_LEARN
        )
        d = tl.where(live, d, 0.0)
        tl.store(delta + at_y, d, mask=tile)
        g = tl.where(live, _product(d, w_0, past, PRECISION, WIDEN), g)
    tl.store(dh0 + here, g, mask=tile)


@triton.jit
def gru_backward(
    saved, w, y, h0, c0, dy, dh_n, dc_n, delta, dh0, dc0, theta, dtheta, lengths, T, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """GRU going back."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    start = length - 1 if REVERSE else tl.zeros_like(length)
    here = place(0, rows, columns, B, H, 1, 0)
    mine = dtheta + tl.program_id(0) * P * H
    w_0, w_1 = _weights(w, 0, H, UNITS), _weights(w, 1, H, UNITS)
    w_2 = _weights(w, 2, H, UNITS)
    g = tl.load(dh_n + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        live = tile & (t < length)[:, None]
        arriving = tl.load(dy + place(t, rows, columns, B, H, 1, 0), mask=live, other=0.0).to(ACC)
        arriving = tl.where(live, g + arriving, 0.0)
        h_before = _before(y, h0, t, start, rows, columns, live, B, H, 1, 0, REVERSE).to(ACC)
        at_0 = place(t, rows, columns, B, H, 4, 0)
        at_1 = place(t, rows, columns, B, H, 4, 1)
        at_2 = place(t, rows, columns, B, H, 4, 2)
        at_3 = place(t, rows, columns, B, H, 4, 3)
        a_r = tl.load(saved + at_0, mask=live, other=0.0).to(ACC)
        a_z = tl.load(saved + at_1, mask=live, other=0.0).to(ACC)
        a_n = tl.load(saved + at_2, mask=live, other=0.0).to(ACC)
        q = tl.load(saved + at_3, mask=live, other=0.0).to(ACC)
        d_r, d_z, d_n, d_q, past = units.gru_back(
            a_r, a_z, a_n, q, h_before, arriving, live, theta, mine, H, columns, inside,
            PHI, PHI_LEARN, GATE, GATE_LEARN,
        )  # fmt: skip
        d_r, d_z = tl.where(live, d_r, 0.0), tl.where(live, d_z, 0.0)
        d_n, d_q = tl.where(live, d_n, 0.0), tl.where(live, d_q, 0.0)
        tl.store(delta + at_0, d_r, mask=tile)
        tl.store(delta + at_1, d_z, mask=tile)
        tl.store(delta + at_2, d_n, mask=tile)
        tl.store(delta + at_3, d_q, mask=tile)
        past = _product(d_r, w_0, past, PRECISION, WIDEN)
        past = _product(d_z, w_1, past, PRECISION, WIDEN)
        past = _product(d_q, w_2, past, PRECISION, WIDEN)
        g = tl.where(live, past, g)
    tl.store(dh0 + here, g, mask=tile)


@triton.jit
def lstm_backward(
    saved, w, y, h0, c0, dy, dh_n, dc_n, delta, dh0, dc0, theta, dtheta, lengths, T, B, H, P,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr, LEAK: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """LSTM going back."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)
    real, inside = rows < B, columns < H
    tile = real[:, None] & inside[None, :]
    length = _length(lengths, rows, real, T, RAGGED)
    start = length - 1 if REVERSE else tl.zeros_like(length)
    here = place(0, rows, columns, B, H, 1, 0)
    mine = dtheta + tl.program_id(0) * P * H
    w_0, w_1 = _weights(w, 0, H, UNITS), _weights(w, 1, H, UNITS)
    w_2, w_3 = _weights(w, 2, H, UNITS), _weights(w, 3, H, UNITS)
    g_h = tl.load(dh_n + here, mask=tile, other=0.0).to(ACC)
    g_c = tl.load(dc_n + here, mask=tile, other=0.0).to(ACC)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        live = tile & (t < length)[:, None]
        at_h = tl.load(dy + place(t, rows, columns, B, H, 1, 0), mask=live, other=0.0).to(ACC)
        at_h = tl.where(live, g_h + at_h, 0.0)
        at_c = tl.where(live, g_c, 0.0)
        c_before = _before(saved, c0, t, start, rows, columns, live, B, H, 5, 4, REVERSE).to(ACC)
        a_i = tl.load(saved + place(t, rows, columns, B, H, 5, 0), mask=live, other=0.0).to(ACC)
        a_f = tl.load(saved + place(t, rows, columns, B, H, 5, 1), mask=live, other=0.0).to(ACC)
        a_g = tl.load(saved + place(t, rows, columns, B, H, 5, 2), mask=live, other=0.0).to(ACC)
        a_o = tl.load(saved + place(t, rows, columns, B, H, 5, 3), mask=live, other=0.0).to(ACC)
        c = tl.load(saved + place(t, rows, columns, B, H, 5, 4), mask=live, other=0.0).to(ACC)
        d_i, d_f, d_g, d_o, past = units.lstm_back(
            a_i, a_f, a_g, a_o, c, c_before, at_h, at_c, live, theta, mine, H, columns, inside,
            PHI, PHI_LEARN, GATE, GATE_LEARN, OUT, OUT_LEARN,
        )  # fmt: skip
        d_i, d_f = tl.where(live, d_i, 0.0), tl.where(live, d_f, 0.0)
        d_g, d_o = tl.where(live, d_g, 0.0), tl.where(live, d_o, 0.0)
        tl.store(delta + place(t, rows, columns, B, H, 4, 0), d_i, mask=tile)
        tl.store(delta + place(t, rows, columns, B, H, 4, 1), d_f, mask=tile)
        tl.store(delta + place(t, rows, columns, B, H, 4, 2), d_g, mask=tile)
        tl.store(delta + place(t, rows, columns, B, H, 4, 3), d_o, mask=tile)
        at_h = _product(d_i, w_0, tl.zeros((ROWS, UNITS), ACC), PRECISION, WIDEN)
        at_h = _product(d_f, w_1, at_h, PRECISION, WIDEN)
        at_h = _product(d_g, w_2, at_h, PRECISION, WIDEN)
        at_h = _product(d_o, w_3, at_h, PRECISION, WIDEN)
        g_h, g_c = tl.where(live, at_h, g_h), tl.where(live, past, g_c)
    tl.store(dh0 + here, g_h, mask=tile)
    tl.store(dc0 + here, g_c, mask=tile)


FORWARD: dict[str, Any] = {"elman": elman_forward, "gru": gru_forward, "lstm": lstm_forward}
BACKWARD: dict[str, Any] = {"elman": elman_backward, "gru": gru_backward, "lstm": lstm_backward}
