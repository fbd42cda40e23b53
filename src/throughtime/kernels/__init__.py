"""The recurrences at speed, with the signatures of :mod:`throughtime.cells`.

On a CPU in float32 and float64 a kernel compiled for the processor at hand runs them forward and
back, whatever the activations; what it cannot do goes to ``cells``, and :func:`backend` says why.
"""

from __future__ import annotations

from torch import Tensor

from throughtime import cells
from throughtime.kernels.dispatch import Backend, backend, recur
from throughtime.kernels.registry import Pointwise

__all__ = ["Backend", "backend", "elman", "gru", "lstm"]


def elman(
    x: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    phi: Pointwise,
    *,
    leak: float = 1.0,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`throughtime.cells.elman`, at speed."""
    tensors = (x, h0, None, w_ih, w_hh, b_ih, b_hh)
    y, h_n = recur(
        "elman", (phi,), tensors, leak, None, lengths, reverse,
        lambda: cells.elman(
            x, h0, w_ih, w_hh, b_ih, b_hh, phi, leak=leak, lengths=lengths, reverse=reverse
        ),
    )  # fmt: skip
    return y, h_n


def gru(
    x: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    phi: Pointwise,
    phi_gate: Pointwise,
    *,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`throughtime.cells.gru`, at speed."""
    tensors = (x, h0, None, w_ih, w_hh, b_ih, b_hh)
    y, h_n = recur(
        "gru", (phi, phi_gate), tensors, 1.0, None, lengths, reverse,
        lambda: cells.gru(
            x, h0, w_ih, w_hh, b_ih, b_hh, phi, phi_gate, lengths=lengths, reverse=reverse
        ),
    )  # fmt: skip
    return y, h_n


def lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    phi: Pointwise,
    phi_gate: Pointwise,
    phi_output: Pointwise,
    *,
    w_hr: Tensor | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`throughtime.cells.lstm`, at speed; with a projection ``w_hr`` by the reference."""
    tensors = (x, h0, c0, w_ih, w_hh, b_ih, b_hh)
    y, h_n, c_n = recur(
        "lstm", (phi, phi_gate, phi_output), tensors, 1.0, w_hr, lengths, reverse,
        lambda: cells.lstm(
            x, h0, c0, w_ih, w_hh, b_ih, b_hh, phi, phi_gate, phi_output,
            w_hr=w_hr, lengths=lengths, reverse=reverse,
        ),
    )  # fmt: skip
    return y, h_n, c_n
