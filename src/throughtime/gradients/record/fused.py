"""One layer in one direction run at speed, in run order, and its zero probe."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import _VF, Tensor
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from throughtime.gradients.record.recurrence import Recurrence
from throughtime.kernels.tap import TOLD

if TYPE_CHECKING:
    from throughtime.gradients.record.record import Run


def run(
    r: Recurrence, x: Tensor, h0: Tensor, c0: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """States (T, B, H), zero on padding, and the last c (B, H) of the LSTM.

    PyTorch's own fused kernel where it knows the activations, ``throughtime.kernels`` elsewhere.
    """
    if _torch_knows(r) and x.shape[0]:
        return _run_torch(r, x, h0, c0, lengths)
    from throughtime import kernels

    weights = (r.w_ih, r.w_hh, r.b_ih, r.b_hh)
    if r.kind == "elman":
        return kernels.elman(x, h0, *weights, r.phi.value, leak=r.leak, lengths=lengths)[0], None
    places = _places(r)
    if r.kind == "gru":
        return kernels.gru(x, h0, *weights, *places, lengths=lengths)[0], None
    assert c0 is not None
    y, _, c = kernels.lstm(x, h0, c0, *weights, *places, w_hr=r.w_hr, lengths=lengths)
    return y, c


def forward(
    r: Recurrence, x: Tensor, h0: Tensor, c0: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """States (T, B, H), zero on padding, and the ``blocks`` of an orbit where a kernel ran."""
    if not x.shape[0] or not r.kernel.runs(x, h0, c0):
        return run(r, x, h0, c0, lengths)[0], None
    return r.kernel.forward(x, h0, c0, lengths)


def sent_back(
    run: Run,
    injected: Tensor | None = None,
    last: Tensor | None = None,
    tap: Collection[str] = TOLD,
) -> dict[str, Tensor] | None:
    """What a kernel tells of its way back, as ``Run.told``, and ``dh0`` and ``dc0``.

    Args:
        run: which went forward already.
        injected: what reaches each h_t, (T, B, H), or None.
        last: what reaches the last state of each sequence, (B, H), or None. Given (N, B, H) the
            rows of all N go back side by side in one pass, and all that is told is (T, N·B, ·).
        tap: what to tell of delta, total and carried; all by default.

    Returns:
        None where no kernel can run it.
    """
    kernel = run.recurrence.kernel
    known = "blocks" in run.told  # by a kernel
    if not run.x.shape[0] or not (known or kernel.runs(run.x, run.h0, run.c0)):
        return None
    lengths = None if run.full else run.lengths
    went = [run.h0, run.c0, run.states, run.blocks, lengths]
    if last is not None and last.dim() == 3:
        if len(last) > 1:
            batch = [0, 0, 1, 1, 0]
            went = [
                None if t is None else torch.cat([t] * len(last), axis)
                for t, axis in zip(went, batch, strict=True)
            ]
        last = last.flatten(0, 1)
    found = kernel.back(*went, injected, last, tap)
    return found | ({"delta": found["delta"].flatten(2)} if "delta" in found else {})


def _places(r: Recurrence) -> tuple[Any, ...]:
    given = (r.phi, r.phi_gate, r.phi_output)
    return tuple(phi.value for phi in given if phi is not None)


def probe(
    r: Recurrence,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    lengths: Tensor | None,
    injected: Tensor,
    injected_last_cell: Tensor | None,
) -> Tensor:
    """δ_t of every gate out of a fused kernel by autograd: the zero probe.

    The input projection W_ih x + b_ih + ε is done outside and fed in as input through identity
    weights; the gradient of ε is δ_t, whatever the kernel does inside. Slower than
    :meth:`Linearisation.pull` and independent of it: the two check each other.

    Returns:
        δ, (T, B, G·H), in run order.
    """
    with torch.enable_grad():
        u = linear(x, r.w_ih, r.b_ih).detach().requires_grad_()
        identity = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        bias = None if r.b_ih is None else torch.zeros_like(r.b_ih)
        y, c = run(replace(r, w_ih=identity, b_ih=bias), u, h0, c0, lengths)
        outputs, cotangents = [y], [injected]
        if c is not None and injected_last_cell is not None:
            outputs.append(c)
            cotangents.append(injected_last_cell)
        return torch.autograd.grad(outputs, u, cotangents)[0]


def _torch_knows(r: Recurrence) -> bool:
    if r.kind == "elman":
        return r.leak == 1 and r.phi.value in (torch.tanh, torch.relu)
    assert r.phi_gate is not None
    outputs = r.phi_output is None or r.phi_output.value is torch.tanh
    return r.phi.value is torch.tanh and r.phi_gate.value is torch.sigmoid and outputs


def _run_torch(
    r: Recurrence, x: Tensor, h0: Tensor, c0: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    biases = r.b_ih is not None
    weights = [w for w in (r.w_ih, r.w_hh, r.b_ih, r.b_hh, r.w_hr) if w is not None]
    names = {"gru": "gru", "lstm": "lstm"}
    kernel = getattr(_VF, names.get(r.kind) or f"rnn_{r.phi.name}")
    state = (h0[None], c0[None]) if c0 is not None else h0[None]
    options = (biases, 1, 0.0, False, False)
    with torch.backends.cudnn.flags(enabled=not torch.is_grad_enabled()):
        if lengths is None or bool((lengths == x.shape[0]).all()):
            y, *last = kernel(x, state, weights, *options, False)
            return y, last[1][0] if c0 is not None else None
        return _run_packed(kernel, x, state, weights, options, lengths)


def _run_packed(kernel, x, state, weights, options, lengths) -> tuple[Tensor, Tensor | None]:
    alive = lengths > 0
    kept = alive.nonzero().squeeze(-1)
    packed = pack_padded_sequence(x[:, kept], lengths[kept].cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None and back is not None
    states = state if isinstance(state, tuple) else (state,)
    chosen = tuple(s[:, kept][:, order] for s in states)
    start = chosen if isinstance(state, tuple) else chosen[0]
    data, *last = kernel(packed.data, packed.batch_sizes, start, weights, *options)
    y = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])[0]
    full = x.new_zeros(x.shape[0], x.shape[1], y.shape[-1]).index_copy(1, kept, y)
    if len(states) == 1:
        return full, None
    return full, states[1][0].index_copy(0, kept, last[1][0][back])
