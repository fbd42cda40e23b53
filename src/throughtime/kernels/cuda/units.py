"""What each cell does to a tile of rows and units between two products, forwards and back.

``theta``, ``pitch``, ``columns`` and ``inside`` are those of
:class:`throughtime.activations.emit.triton.Functions`; PHI, GATE and OUT are its functions.
"""

# pyright: reportArgumentType=false
# (numbers become constants of the code)
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place(t, rows, columns, B, H, BLOCKS: tl.constexpr, block: tl.constexpr):
    """Where the tile lies in block ``block`` of step ``t`` of a (T, B, BLOCKS, H) buffer."""
    row = (tl.cast(t, tl.int64) * B + rows) * BLOCKS + block
    return row[:, None] * H + columns[None, :]


@triton.jit
def elman(a, h, theta, pitch, columns, inside, LEAK: tl.constexpr, PHI: tl.constexpr):
    """H = (1 - leak) h + leak φ(a)."""
    new = PHI(a, theta, pitch, columns, inside)
    if LEAK != 1.0:
        new = h + LEAK * (new - h)
    return new


@triton.jit
def elman_back(
    a, g, live, theta, dtheta, pitch, columns, inside,
    LEAK: tl.constexpr, PHI: tl.constexpr, LEARN: tl.constexpr,
):  # fmt: skip
    """δ, and what of the gradient at h passes by the activation."""
    _, slope = PHI(a, theta, pitch, columns, inside)
    arriving = g * LEAK
    LEARN(a, arriving, live, theta, dtheta, pitch, columns, inside)
    return arriving * slope, g - arriving


@triton.jit
def gru(
    r, z, n, q, h, theta, pitch, columns, inside, PHI: tl.constexpr, GATE: tl.constexpr
):  # fmt: skip
    """H = (1 - z) n + z h with n = φ(a_n + r q)."""
    r = GATE(r, theta, pitch, columns, inside)
    z = GATE(z, theta, pitch, columns, inside)
    n = PHI(n + r * q, theta, pitch, columns, inside)
    return n + z * (h - n)


@triton.jit
def gru_back(
    a_r, a_z, a_n, q, h_before, g, live, theta, dtheta, pitch, columns, inside,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
):  # fmt: skip
    """δ of r, z, n and of q, the part of n's sum that r gates; what passes by."""
    r, r_slope = GATE(a_r, theta, pitch, columns, inside)
    z, z_slope = GATE(a_z, theta, pitch, columns, inside)
    a = a_n + r * q
    n, n_slope = PHI(a, theta, pitch, columns, inside)
    at_n, at_z = g - g * z, g * (h_before - n)
    delta = at_n * n_slope
    at_r = delta * q
    PHI_LEARN(a, at_n, live, theta, dtheta, pitch, columns, inside)
    GATE_LEARN(a_r, at_r, live, theta, dtheta, pitch, columns, inside)
    GATE_LEARN(a_z, at_z, live, theta, dtheta, pitch, columns, inside)
    return at_r * r_slope, at_z * z_slope, delta, delta * r, g * z


@triton.jit
def lstm(
    i, f, g, o, c, theta, pitch, columns, inside,
    PHI: tl.constexpr, GATE: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    """C = f c + i g and h = o ψ(c)."""
    i = GATE(i, theta, pitch, columns, inside)
    f = GATE(f, theta, pitch, columns, inside)
    g = PHI(g, theta, pitch, columns, inside)
    o = GATE(o, theta, pitch, columns, inside)
    c = f * c + i * g
    return o * OUT(c, theta, pitch, columns, inside), c


@triton.jit
def lstm_back(
    a_i, a_f, a_g, a_o, c, c_before, at_h, at_c, live, theta, dtheta, pitch, columns, inside,
    PHI: tl.constexpr, PHI_LEARN: tl.constexpr, GATE: tl.constexpr, GATE_LEARN: tl.constexpr,
    OUT: tl.constexpr, OUT_LEARN: tl.constexpr,
):  # fmt: skip
    """δ of i, f, g, o; the gradient at the cell state before."""
    i, i_slope = GATE(a_i, theta, pitch, columns, inside)
    f, f_slope = GATE(a_f, theta, pitch, columns, inside)
    g, g_slope = PHI(a_g, theta, pitch, columns, inside)
    o, o_slope = GATE(a_o, theta, pitch, columns, inside)
    out, out_slope = OUT(c, theta, pitch, columns, inside)
    at_o, at_out = at_h * out, at_h * o
    at_c = at_c + at_out * out_slope
    at_i, at_f, at_g = at_c * g, at_c * c_before, at_c * i
    OUT_LEARN(c, at_out, live, theta, dtheta, pitch, columns, inside)
    GATE_LEARN(a_i, at_i, live, theta, dtheta, pitch, columns, inside)
    GATE_LEARN(a_f, at_f, live, theta, dtheta, pitch, columns, inside)
    GATE_LEARN(a_o, at_o, live, theta, dtheta, pitch, columns, inside)
    PHI_LEARN(a_g, at_g, live, theta, dtheta, pitch, columns, inside)
    return at_i * i_slope, at_f * f_slope, at_g * g_slope, at_o * o_slope, at_c * f
