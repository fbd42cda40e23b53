"""A watched pass of which only the first sequences are recorded."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime.nn as ours
from throughtime.gradients.record.capture import Capture, data_of
from throughtime.gradients.record.layers import recurrent_modules
from throughtime.gradients.tracing import records_of

T, B, I, H = 6, 4, 3, 5  # noqa: E741
LENGTHS = torch.tensor([4, 6, 1, 3])


def watched(module, x, sequences, **options):
    """Records of a pass forward and two back, and the gradients of the weights."""
    module.zero_grad()
    with Capture(recurrent_modules(module), sequences=sequences) as capture:
        y, last = module(x, **options)
    last = last if isinstance(last, tuple) else (last,)
    data_of(y).sin().sum().backward(retain_graph=True)
    sum(s.cos().sum() for s in last).backward()
    (call,) = capture.calls
    return call, records_of(capture), [p.grad for p in module.parameters()]


def given(form):
    x = torch.randn(T, B, I, dtype=torch.float64)
    if form == "packed":
        return pack_padded_sequence(x, LENGTHS, enforce_sorted=False), {}
    if form == "unbatched":
        return x[:, 0], {}
    if form == "batch_first":
        return x.transpose(0, 1), {}
    return x, {"lengths": LENGTHS} if form == "lengths" else {}


FORMS = ["plain", "batch_first", "packed", "unbatched"]
CASES = {f"torch {form}": (nn, form) for form in FORMS}
CASES |= {f"our {form}": (ours, form) for form in (*FORMS, "lengths")}


@pytest.mark.parametrize("sequences", [1, 3, B, B + 2])
@pytest.mark.parametrize(("library", "form"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_the_first_sequences(name, library, form, sequences):
    """They are those of the whole batch, also where several passes back add up."""
    module = getattr(library, name)(
        I, H, 2, bidirectional=True, batch_first=form == "batch_first", dtype=torch.float64
    )
    x, options = given(form)
    _, whole, wanted = watched(module, x, None, **options)
    call, some, found = watched(module, x, sequences, **options)
    assert all(map(torch.equal, found, wanted))
    assert list(some) == list(whole)
    for key, record in some.items():
        other = whole[key]
        assert torch.equal(record.lengths, other.lengths[:sequences])
        for part in ("injected", "total", "delta", "state", "preactivation", "slope", "cell_total"):
            mine, theirs = getattr(record, part), getattr(other, part)
            if theirs is not None:
                torch.testing.assert_close(mine, theirs[:, :sequences], rtol=1e-12, atol=1e-12)
    assert len(call.tapped) == (4 if library is ours else 0)


def test_only_what_is_recorded_is_kept():
    call, _, _ = watched(ours.GRU(I, H, batch_first=True), torch.randn(B, T, I), 2)
    assert call.cotangents.found["y"].shape == (2, T, H)
    assert call.cotangents.found["h"].shape == (1, 2, H)
    assert call.tapped[0]["delta"].shape == (T, 2, 3 * H)
