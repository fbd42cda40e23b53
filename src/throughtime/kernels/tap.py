"""What passes through the kernels on the way back, for those who want to look."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from throughtime.cells.clock import without_padding
from throughtime.kernels.cpu.pointwise import Cell

# what of a report is a gradient
TOLD = frozenset({"delta", "total", "carried"})

Callback = Callable[[int, dict[str, Tensor]], None]

_listening: ContextVar[tuple[Callback, int | None, Iterator[int]] | None] = ContextVar(
    "throughtime_tap", default=None
)


class Listener(NamedTuple):
    """Who listens to one call, and to how many sequences of it."""

    tell: Callable[[dict[str, Tensor]], None]
    rows: int | None


@contextmanager
def recording(callback: Callback, rows: int | None = None) -> Iterator[None]:
    """Have each kernel call that runs forward in this context report when it is run back.

    Calls are numbered in the order in which they run forward. In its backward pass a call reports
    ``callback(number, found)`` with ``found`` holding

    - ``preactivation``, (T, B, G·H): the argument of every activation, gates as in ``torch.nn``;
    - ``delta``, (T, B, G·H): the gradient of the loss with respect to it, what arrives through
      time included;
    - ``state``, (T, B, H): the outputs; and for the LSTM ``cell``, (T, B, H);
    - ``blocks``, (T, B, ·, H): what the forward pass kept, of which the above is made, see
      :mod:`.cpu.pointwise`; without meaning on padding;
    - on a CPU ``total``, (T, B, H): the gradient at each output, what comes back through time
      included; and for the LSTM ``carried``, (T, B, H): what comes back to each cell state but
      for the way through the output of its own step.

    All in the order of time, and but for ``blocks`` zero on padding. Calls that go to the
    reference do not report: :func:`throughtime.kernels.backend` tells which. Costs nothing while
    nobody listens, and about a tenth more time and the buffers named otherwise;
    ``preactivation`` and ``cell`` are put together when they are asked for.

    Args:
        callback: who is told.
        rows: of how many sequences, B above, from the first; all by default. On a CPU others are
            not written, but where ``lengths`` are given: then all are, and these are cut out.

    Example:
        >>> import torch, throughtime as tt
        >>> layer, found = tt.nn.RNN(2, 3), {}
        >>> with recording(found.__setitem__):
        ...     y, _ = layer(torch.randn(5, 4, 2))
        >>> y.sum().backward()
        >>> found[0]["delta"].shape
        torch.Size([5, 4, 3])
    """
    token = _listening.set((callback, rows, itertools.count()))
    try:
        yield
    finally:
        _listening.reset(token)


def listener() -> Listener | None:
    """Who listens to the call being made, if anyone."""
    now = _listening.get()
    if now is None:
        return None
    callback, rows, numbers = now
    number = next(numbers)
    return Listener(lambda found: callback(number, found), rows)


class Heard(dict[str, Tensor]):
    """What a call reports, see :func:`recording`."""

    def __init__(
        self,
        cell: Cell,
        theta: Tensor | None,
        back: dict[str, Tensor],
        blocks: Tensor,
        state: Tensor,
        lengths: Tensor | None,
        rows: int | None = None,
    ):
        found = {name: back[name] for name in ("total", "carried") if name in back}
        found |= {"delta": back["delta"].flatten(2), "state": state, "blocks": blocks}
        super().__init__({name: tensor[:, :rows] for name, tensor in found.items()})
        self._cell, self._theta = cell, theta
        self._lengths = None if lengths is None else lengths[:rows]

    def __missing__(self, name: str) -> Tensor:
        if name not in ("preactivation", "cell"):
            raise KeyError(name)
        kept = self["blocks"]
        kept = without_padding(kept.flatten(2), self._lengths).view_as(kept)
        if self._cell.name == "lstm":
            self["cell"] = kept[:, :, 4]
            kept = kept[:, :, :4]
        elif self._cell.name == "gru":
            gate, first = self._cell.activations[1], self._cell.first_row(1)
            rows = () if self._theta is None else self._theta[first:]
            values = dict(zip(gate.parameters, rows, strict=False))
            r, z, n, q = kept.unbind(2)
            kept = torch.stack([r, z, n + gate(r, **values) * q], 2)
        self["preactivation"] = kept.flatten(2)
        return super().__getitem__(name)
