"""13. Another activation in the same network: a forecast, not evidence of accuracy."""

from __future__ import annotations

from dataclasses import replace

import torch

from throughtime.gradients.record.fused import forward
from throughtime.gradients.record.pointwise import pointwise
from throughtime.gradients.record.record import Record


@torch.no_grad()
def counterfactual(record: Record, phi: object) -> Record:
    """The record as it would be with another φ, weights, inputs and injected gradients kept.

    φ is swapped in the state (Elman) or the candidate (GRU, LSTM, and on c where it was the same);
    the gates keep theirs. Training would have led to other weights and the loss would inject
    another gradient, so this forecasts the flow at these weights and says nothing of accuracy.
    Every measure takes the record it returns.

    Args:
        record: what was recorded.
        phi: a name of the catalogue, an ``Activation`` or a function of a tensor.

    Source:
        This project's; the forward pass and the adjoint of the same equations with φ replaced.

    Example:
        >>> signal(counterfactual(found.records["l0"], "elu")).total.shape
        (20,)
    """
    other = pointwise(phi)
    r = record.recurrence.with_activation(other)
    was = record.run
    states, blocks = forward(r, was.x, was.h0, was.c0, None if record.full else record.lengths)
    told = {} if blocks is None else {"blocks": blocks}
    new = replace(was, recurrence=r, states=states, told=told, inside=None, back=None)
    return replace(record, key=f"{record.key} ({other.name})", recurrence=r, run=new)
