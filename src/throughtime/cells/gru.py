"""The gated recurrent unit of Cho et al. (2014), in the reset-after form of cuDNN and PyTorch."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear

from throughtime.cells.clock import Pointwise, advance, emit, stacked, steps, without_padding


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
    """One layer in one direction.

    With σ = ``phi_gate``, φ = ``phi`` and gates in the order r, z, n:
    r = σ(W_ir x + b_ir + W_hr h + b_hr), z = σ(W_iz x + b_iz + W_hz h + b_hz),
    n = φ(W_in x + b_in + r (W_hn h + b_hn)), h = (1 - z) n + z h.

    Use it to read or check what a layer computes; ``throughtime.nn.GRU`` is the layer to build
    models from. It differentiates twice and works under ``torch.func``.

    Args:
        x: input, (T, B, I).
        h0: initial state, (B, H).
        w_ih: input weights, (3H, I).
        w_hh: recurrent weights, (3H, H).
        b_ih: bias beside the input, (3H,), or None.
        b_hh: bias beside the state, (3H,), or None.
        phi: activation of the candidate, a callable on tensors.
        phi_gate: activation of both gates.
        lengths: valid steps of each sequence, (B,) int64; None means T for all.
        reverse: run each sequence from its own last valid step to step 0.

    Returns:
        y, (T, B, H), in the order of time and zero beyond a sequence's length; and the last state,
        (B, H), which is ``h0`` for a sequence of length 0.

    Source:
        K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.

    Example:
        >>> import torch
        >>> x, h0 = torch.randn(5, 3, 2), torch.zeros(3, 4)
        >>> w_ih, w_hh = torch.randn(12, 2), torch.randn(12, 4)
        >>> y, h_n = gru(x, h0, w_ih, w_hh, None, None, torch.tanh, torch.sigmoid)
        >>> y.shape, h_n.shape
        (torch.Size([5, 3, 4]), torch.Size([3, 4]))
    """
    u = linear(without_padding(x, lengths), w_ih, b_ih).unbind()
    h, ys = h0, []
    for t, alive in steps(x.shape[0], lengths, reverse):
        u_r, u_z, u_n = u[t].chunk(3, -1)
        v_r, v_z, v_n = linear(h, w_hh, b_hh).chunk(3, -1)
        r = phi_gate(u_r + v_r)
        z = phi_gate(u_z + v_z)
        n = phi(u_n + r * v_n)
        h = advance(alive, (1 - z) * n + z * h, h)
        ys.append(emit(alive, h))
    return stacked(ys, reverse, like=h0), h
