"""4. The lag map: how much of each step's loss arrives at each earlier step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.errors import TraceError
from throughtime.gradients.measure.series import Array, by_time, mean, squared_norms
from throughtime.gradients.record.record import Record
from throughtime.gradients.record.recurrence import run_order


@dataclass(frozen=True)
class LagMap:
    """‖∂ℓ_t'/∂h_t‖ for chosen t'.

    Attributes:
        steps: the chosen t', (K,).
        norm: rms over sequences of the gradient at h_t of what is injected at t', (K, T).
        profile: mean over t' of ``norm`` by lag |t' - t|, (T,).
    """

    steps: tuple[int, ...]
    norm: Array
    profile: Array


def lag_map(record: Record, steps: Sequence[int] | None = None, count: int = 8) -> LagMap:
    """Itemise the gradient by the step that injected it.

    B(t', t) = ‖∂⟨e_t', h_t'⟩/∂h_t‖, e_t' held fixed: what step t' sends back. The vectors add up to
    g_t over all t'. In a layer below others e_t' holds what the upper layers bring from later
    steps too.

    Args:
        record: one layer and direction.
        steps: the t' to look at; by default ``count`` of those where something is injected,
            evenly spread.
        count: see ``steps``.

    Source:
        A. Madsen, Visualizing memorization in RNNs, Distill (2019), there for inputs.
    """
    T = len(record.alive)
    if steps is None:
        steps = _spread(record, count)
    elif bad := [t for t in steps if not 0 <= t < T]:
        raise TraceError("gradients.no_such_step", step=bad[0], steps=T)
    rows = [_from_step(record, t) for t in steps]
    norm = np.stack(rows) if rows else np.zeros((0, T))
    return LagMap(tuple(steps), norm, _profile(steps, norm))


def _spread(record: Record, count: int) -> list[int]:
    with_cell = record.run.injected_cell
    size = squared_norms(record.run.injected)
    size = size if with_cell is None else size + squared_norms(with_cell)
    found = np.flatnonzero(np.nansum(by_time(record, size), axis=-1) > 0)
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return found[chosen].tolist()


def _from_step(record: Record, step: int) -> Array:
    only = torch.zeros_like(record.alive, dtype=record.run.injected.dtype).unsqueeze(-1)
    only[step] = 1
    only = run_order(only, record.lengths, record.reverse)

    def kept(injected: Tensor | None) -> Tensor | None:
        return None if injected is None else injected * only

    run = record.run
    total = run.linear.pull(run.injected * only, kept(run.injected_cell)).total
    return np.sqrt(mean(by_time(record, squared_norms(total))))


def _profile(steps: Sequence[int], norm: Array) -> Array:
    sums, counts = np.zeros(norm.shape[1]), np.zeros(norm.shape[1])
    for step, row in zip(steps, norm, strict=True):
        for t in np.flatnonzero(row > 0):
            sums[abs(step - t)] += row[t]
            counts[abs(step - t)] += 1
    return np.where(counts, sums / np.maximum(counts, 1), np.nan)
