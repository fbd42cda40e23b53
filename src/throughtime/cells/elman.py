"""Elman's simple recurrent network (1990), leaky if wanted."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear

from throughtime.cells.clock import Pointwise, advance, emit, stacked, steps, without_padding


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
    """One layer in one direction.

    h_t = (1 - leak) h_{t-1} + leak φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Use it to read or check what a layer computes; ``throughtime.nn.RNN`` is the layer to build
    models from. It differentiates twice and works under ``torch.func``.

    Args:
        x: input, (T, B, I).
        h0: initial state, (B, H).
        w_ih: input weights, (H, I).
        w_hh: recurrent weights, (H, H).
        b_ih: bias beside the input, (H,), or None.
        b_hh: bias beside the state, (H,), or None.
        phi: the activation, a callable on tensors.
        leak: step size in (0, 1]; 1 is Elman's network, less is one Euler step of a
            network in continuous time.
        lengths: valid steps of each sequence, (B,) int64; None means T for all.
        reverse: run each sequence from its own last valid step to step 0.

    Returns:
        y, (T, B, H), in the order of time and zero beyond a sequence's length; and the last state,
        (B, H), which is ``h0`` for a sequence of length 0.

    Source:
        J. L. Elman, Finding structure in time, Cognitive Science 14 (1990); the leak as in
        H. Jaeger et al., Neural Networks 20 (2007).

    Example:
        >>> import torch
        >>> x, h0 = torch.randn(5, 3, 2), torch.zeros(3, 4)
        >>> y, h_n = elman(x, h0, torch.randn(4, 2), torch.randn(4, 4), None, None, torch.tanh)
        >>> y.shape, h_n.shape
        (torch.Size([5, 3, 4]), torch.Size([3, 4]))
    """
    u = linear(without_padding(x, lengths), w_ih, b_ih).unbind()
    h, ys = h0, []
    for t, alive in steps(x.shape[0], lengths, reverse):
        n = phi(u[t] + linear(h, w_hh, b_hh))
        n = n if leak == 1 else (1 - leak) * h + leak * n
        h = advance(alive, n, h)
        ys.append(emit(alive, h))
    return stacked(ys, reverse, like=h0), h
