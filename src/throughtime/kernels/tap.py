"""What passes through the kernels on the way back, for those who want to look."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

Callback = Callable[[int, dict[str, Tensor]], None]

_listening: ContextVar[tuple[Callback, Iterator[int]] | None] = ContextVar(
    "throughtime_tap", default=None
)


@contextmanager
def recording(callback: Callback) -> Iterator[None]:
    """Have each kernel call that runs forward in this context report when it is run back.

    Calls are numbered in the order in which they run forward. In its backward pass a call reports
    ``callback(number, found)`` with ``found`` holding

    - ``preactivation``, (T, B, G·H): the argument of every activation, gates as in ``torch.nn``;
    - ``delta``, (T, B, G·H): the gradient of the loss with respect to it, what arrives through
      time included;
    - ``state``, (T, B, H): the outputs; and for the LSTM ``cell``, (T, B, H).

    All in the order of time, zero on padding. Calls that go to the reference do not report:
    :func:`throughtime.kernels.backend` tells which. Costs nothing while nobody listens, and about
    a fifth more time and two more buffers of the size of ``preactivation`` otherwise.

    Example:
        >>> import torch, throughtime as tt
        >>> layer, found = tt.nn.RNN(2, 3), {}
        >>> with recording(found.__setitem__):
        ...     y, _ = layer(torch.randn(5, 4, 2))
        >>> y.sum().backward()
        >>> found[0]["delta"].shape
        torch.Size([5, 4, 3])
    """
    token = _listening.set((callback, itertools.count()))
    try:
        yield
    finally:
        _listening.reset(token)


def listener() -> Callable[[dict[str, Tensor]], None] | None:
    """Who listens to the call being made, if anyone."""
    now = _listening.get()
    if now is None:
        return None
    callback, numbers = now
    number = next(numbers)
    return lambda found: callback(number, found)
