"""3. The gradient budget: which time steps make the update of the recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, by_lag, by_time, sums
from throughtime.gradients.record.record import Record

# sequences up to which products of single pairs of them cost less than a call for all
_FEW = 16


@dataclass(frozen=True)
class Budget:
    """Shares of ∇W_hh by time step; they add up to 1.

    Attributes:
        share: s_t by time, (T,); negative where a step works against the sum.
        by_lag: the same shares by distance from the end of each sequence.
        cancellation: ‖Σ_t C_t‖ / Σ_t ‖C_t‖: 1 if all steps agree, near 0 if they cancel.
        last_steps: the fewest last steps whose shares, and those of any more, add up to 0.9 to 1.1.
    """

    share: Array
    by_lag: Array
    cancellation: float
    last_steps: int


def budget(record: Record) -> Budget:
    """Share of every time step in the gradient of the recurrent weights.

    C_t = Σ_n δ_t h_{t-1}ᵀ and ∇W_hh = Σ_t C_t, so s_t = ⟨C_t, ∇W_hh⟩ / ‖∇W_hh‖² adds up to 1. (In
    the GRU the state side of the candidate, r ⊙ δ^n, takes the place of δ^n.) All shares are NaN
    where the gradient is 0.

    Source:
        The per-step contributions asked for in pytorch issue 1407, written as projections so that
        they add up.
    """
    delta, previous = _scaled(record.run.pulled.hidden), _scaled(record.run.orbit.previous)
    rows, states = delta.flatten(0, 1), previous.flatten(0, 1)
    found = passes.dots(passes.steps(rows @ (rows.T @ states)), passes.steps(states))
    norm = found.sum()
    shares = (found / (norm if norm > 0 else np.nan)).reshape(delta.shape[:2])
    size = _sizes(delta, previous).sum()
    timed, lagged = (sums(order(record, shares))[0] for order in (by_time, by_lag))
    if not norm > 0:
        timed[:] = lagged[:] = np.nan
    return Budget(
        share=timed,
        by_lag=lagged,
        cancellation=float(np.sqrt(norm) / size) if size > 0 else float("nan"),
        last_steps=_last_steps(lagged),
    )


def _scaled(tensor: Tensor) -> Tensor:
    """With a largest row near 1: products of tiny gradients must not vanish."""
    largest = float(passes.sizes(tensor).max())
    return tensor / largest if largest > 0 and not 1e-6 < largest < 1e6 else tensor


def _sizes(delta: Tensor, previous: Tensor) -> Array:
    """‖C_t‖_F, (T,)."""
    if delta.shape[1] <= _FEW:
        return passes.overlaps(passes.steps(delta), passes.steps(previous))
    products = [passes.flat(x @ x.mT) for x in (delta, previous)]
    return np.sqrt(np.maximum(passes.dots(*products), 0))


def _last_steps(lagged: Array) -> int:
    off = np.abs(np.cumsum(lagged) - 1) > 0.1
    return int(np.flatnonzero(off)[-1]) + 2 if off.any() else 1
