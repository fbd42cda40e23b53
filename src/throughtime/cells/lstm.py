"""Long short-term memory of Hochreiter and Schmidhuber (1997), with forget gate and projection."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear

from throughtime.cells.clock import Pointwise, advance, emit, stacked, steps, without_padding


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
    """One layer in one direction.

    With σ = ``phi_gate``, φ = ``phi``, ψ = ``phi_output`` and gates in the order i, f, g, o:
    [i f o] = σ(W_i[ifo] x + b_i[ifo] + W_h[ifo] h + b_h[ifo]),
    g = φ(W_ig x + b_ig + W_hg h + b_hg),
    c = f c + i g, h = o ψ(c), and h = W_hr h where there is a projection.

    Use it to read or check what a layer computes; ``throughtime.nn.LSTM`` is the layer to build
    models from. It differentiates twice and works under ``torch.func``.

    Args:
        x: input, (T, B, I).
        h0: initial output state, (B, P), where P is H without a projection.
        c0: initial cell state, (B, H).
        w_ih: input weights, (4H, I).
        w_hh: recurrent weights, (4H, P).
        b_ih: bias beside the input, (4H,), or None.
        b_hh: bias beside the state, (4H,), or None.
        phi: activation of the candidate g, a callable on tensors.
        phi_gate: activation of the three gates.
        phi_output: activation of the cell state on its way out.
        w_hr: projection, (P, H), or None.
        lengths: valid steps of each sequence, (B,) int64; None means T for all.
        reverse: run each sequence from its own last valid step to step 0.

    Returns:
        y, (T, B, P), in the order of time and zero beyond a sequence's length; the last output
        state, (B, P); and the last cell state, (B, H). They are ``h0`` and ``c0`` for a sequence of
        length 0.

    Source:
        S. Hochreiter and J. Schmidhuber, Neural Computation 9 (1997); F. Gers et al., Neural
        Computation 12 (2000); the projection: H. Sak et al., arXiv:1402.1128.

    Example:
        >>> import torch
        >>> x, h0, c0 = torch.randn(5, 3, 2), torch.zeros(3, 4), torch.zeros(3, 4)
        >>> w_ih, w_hh = torch.randn(16, 2), torch.randn(16, 4)
        >>> phi, gate = torch.tanh, torch.sigmoid
        >>> y, h_n, c_n = lstm(x, h0, c0, w_ih, w_hh, None, None, phi, gate, phi)
        >>> y.shape, h_n.shape, c_n.shape
        (torch.Size([5, 3, 4]), torch.Size([3, 4]), torch.Size([3, 4]))
    """
    u = linear(without_padding(x, lengths), w_ih, b_ih).unbind()
    h, c, ys = h0, c0, []
    for t, alive in steps(x.shape[0], lengths, reverse):
        i, f, g, o = (u[t] + linear(h, w_hh, b_hh)).chunk(4, -1)
        c_new = phi_gate(f) * c + phi_gate(i) * phi(g)
        h_new = phi_gate(o) * phi_output(c_new)
        h_new = h_new if w_hr is None else linear(h_new, w_hr)
        h, c = advance(alive, h_new, h), advance(alive, c_new, c)
        ys.append(emit(alive, h))
    return stacked(ys, reverse, like=h0), h, c
