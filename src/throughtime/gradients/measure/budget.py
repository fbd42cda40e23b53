"""3. The gradient budget: which time steps make the update of the recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients.measure.series import Array, by_lag, by_time
from throughtime.gradients.record.record import Record


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
    whole = delta.flatten(0, 1).T @ previous.flatten(0, 1)
    shares = torch.linalg.vecdot(delta @ whole, previous).double()
    norm = shares.sum()
    shares = shares / norm
    overlap = (delta @ delta.mT).double() * (previous @ previous.mT)
    size = overlap.sum((1, 2)).clamp_min(0).sqrt().sum()
    lagged = np.nansum(by_lag(record, shares), axis=-1)
    if not norm > 0:
        lagged = np.full_like(lagged, np.nan)
    return Budget(
        share=np.nansum(by_time(record, shares), axis=-1) if norm > 0 else lagged,
        by_lag=lagged,
        cancellation=float(torch.sqrt(norm) / size) if size > 0 else float("nan"),
        last_steps=_last_steps(lagged),
    )


def _scaled(tensor: Tensor) -> Tensor:
    """With a largest entry near 1: products of tiny gradients must not vanish."""
    largest = float(tensor.abs().max())
    return tensor / largest if largest > 0 and not 1e-6 < largest < 1e6 else tensor


def _last_steps(lagged: Array) -> int:
    off = np.abs(np.cumsum(lagged) - 1) > 0.1
    return int(np.flatnonzero(off)[-1]) + 2 if off.any() else 1
