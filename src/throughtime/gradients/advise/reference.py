"""What a network of the same shape looks like at a sound start, to judge findings against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from throughtime.gradients.record.fused import forward
from throughtime.gradients.record.record import Record, Run
from throughtime.gradients.record.recurrence import Recurrence

# sequences of a batch, from the first, over which what is dear is measured
SAMPLE = 8


@torch.no_grad()
def ensemble(record: Record, seeds: int = 8, sequences: int = SAMPLE) -> Iterator[Record]:
    """Records of networks of the same shape and activation, freshly started, on the same inputs.

    Elman starts orthogonal, the LSTM with a forget bias of 1, all else as ``torch.nn`` draws it;
    biases are 0 otherwise. The inputs are those the layer really got.

    Args:
        record: the network to compare with.
        seeds: how many networks; the global generators are left alone.
        sequences: how many of the sequences to run.
    """
    was, kept = record.run, slice(sequences)
    x, lengths = was.x[:, kept], record.lengths[kept]
    for seed in range(seeds):
        r = _started(record.recurrence, torch.Generator().manual_seed(seed))
        h0 = torch.zeros_like(was.h0[kept])
        c0 = None if was.c0 is None else torch.zeros_like(was.c0[kept])
        states, blocks = forward(r, x, h0, c0, None if record.full else lengths)
        told = {} if blocks is None else {"blocks": blocks}
        nothing = torch.zeros_like(states)
        new = Run(r, lengths, x, h0, c0, states, nothing, None, told)
        yield replace(record, recurrence=r, lengths=lengths, run=new)


def _started(r: Recurrence, generator: torch.Generator) -> Recurrence:
    bound = 1 / math.sqrt(r.hidden_size)

    def uniform(like: Tensor | None) -> Tensor | None:
        if like is None:
            return None
        return nn.init.uniform_(torch.empty(like.shape), -bound, bound, generator).to(like)

    w_ih, w_hh, w_hr = uniform(r.w_ih), uniform(r.w_hh), uniform(r.w_hr)
    b_ih = None if r.b_ih is None else torch.zeros_like(r.b_ih)
    b_hh = None if r.b_hh is None else torch.zeros_like(r.b_hh)
    assert w_ih is not None and w_hh is not None
    if r.kind == "elman":
        w_hh = nn.init.orthogonal_(torch.empty(w_hh.shape), generator=generator).to(w_hh)
    if r.kind == "lstm" and b_ih is not None:
        b_ih[r.hidden_size : 2 * r.hidden_size] = 1
    return replace(r, w_ih=w_ih, w_hh=w_hh, w_hr=w_hr, b_ih=b_ih, b_hh=b_hh)
