"""The order of time steps and who takes part in them, shared by the three recurrences."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Pointwise = Callable[[Tensor], Tensor]


def steps(T: int, lengths: Tensor | None, reverse: bool) -> Iterator[tuple[int, Tensor | None]]:
    """Time steps in the order they are run, each with the sequences that are alive, (B, 1) bool.

    Backwards, a sequence of length n sleeps in its initial state until step n-1: so each sequence
    runs from its own last step to step 0.
    """
    for t in reversed(range(T)) if reverse else range(T):
        yield t, None if lengths is None else (t < lengths).unsqueeze(-1)


def without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """``x`` (T, B, I) with zeros beyond each length, so that no NaN there reaches a gradient."""
    if lengths is None:
        return x
    t = torch.arange(x.shape[0], device=x.device).unsqueeze(-1)
    return torch.where((t < lengths).unsqueeze(-1), x, 0.0)


def advance(alive: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    """The new state where a sequence is alive, the old one where it is over."""
    return new if alive is None else torch.where(alive, new, old)


def emit(alive: Tensor | None, h: Tensor) -> Tensor:
    """The output of one step: the state where a sequence is alive, zero on padding."""
    return h if alive is None else torch.where(alive, h, 0.0)


def stacked(ys: list[Tensor], reverse: bool, like: Tensor) -> Tensor:
    """Outputs (T, B, H) in the order of time; ``like`` (B, H) gives the shape when T is 0."""
    if not ys:
        return like.new_zeros((0, *like.shape))
    return torch.stack(ys[::-1] if reverse else ys)
