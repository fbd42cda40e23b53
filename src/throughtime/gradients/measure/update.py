"""12. The health of the update: its size, its noise, clipping, underflow, truncation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import (
    Array,
    by_lag,
    by_time,
    mean,
    valid_steps,
)
from throughtime.gradients.record.record import Record


def update_ratio(before: Tensor, after: Tensor) -> float:
    """log10 of rms(update) / rms(weight): about -3 in a healthy run, -inf for no update.

    Source:
        A. Karpathy, makemore part 3.
    """
    old, new = (passes.steps(weight.double()).reshape(1, -1) for weight in (before, after))
    ((size,), (moved,)) = passes.apart(old, new).tolist()
    if not size > 0:
        return math.nan
    return math.log10(moved / size) if moved > 0 else moved - math.inf


def signal_to_noise(record: Record) -> Array:
    """‖mean_n g_t‖² / mean_n ‖g_t - mean‖² by time, (T,); NaN for fewer than two sequences.

    How far the sequences of a batch agree about the gradient of each step.

    Source:
        The gradient signal-to-noise ratio of J. Liu et al. (ICLR 2020), a step at a time.
    """
    return passes.agreement(passes.steps(record.total), valid_steps(record))


@dataclass(frozen=True)
class Underflow:
    """Shares of the entries of δ over valid steps and units.

    Attributes:
        zero: exactly 0.
        subnormal: not 0 and below the smallest normal number of the precision.
        by_time: ``zero`` and ``subnormal`` together by time, (T,).
    """

    zero: float
    subnormal: float
    by_time: Array


def underflow(record: Record, dtype: torch.dtype | None = None) -> Underflow:
    """How much of δ is lost to the precision.

    Args:
        record: one layer and direction.
        dtype: whose smallest normal number counts; by default the record's own.

    Source:
        P. Micikevicius et al., Mixed precision training (ICLR 2018).
    """
    delta = record.run.delta
    tiny = torch.finfo(dtype or delta.dtype).tiny
    counts = passes.lost(passes.rows(delta), tiny).reshape(2, *delta.shape[:2]) / delta.shape[-1]
    timed = [by_time(record, one) for one in counts]
    zero, below = map(float, mean(np.stack(timed).reshape(2, -1)))
    return Underflow(zero=zero, subnormal=below - zero, by_time=mean(timed[1]))


def truncation(record: Record, window: int) -> float:
    """Share of the signal that truncated back-propagation of ``window`` steps would cut off.

    Σ_{k ≥ window} rms ‖∂ℓ/∂h_{T-k}‖ / Σ_k, k counted back from the last step of each sequence.

    Source:
        R. Williams and J. Peng (1990) for truncation; C. Tallec and Y. Ollivier (2017) for its
        bias.
    """
    squares = by_lag(record, record.run.total_size**2)
    sizes = np.nan_to_num(np.sqrt(mean(squares)))
    return float(sizes[window:].sum() / sizes.sum()) if sizes.sum() else float("nan")


@dataclass(frozen=True)
class Clipping:
    """What clipping did over the steps looked at.

    Attributes:
        share: share of steps at which the gradient was made smaller.
        factor: median factor of those steps; 1 where there is none.
        steps: steps looked at.
    """

    share: float
    factor: float
    steps: int


def clipping(factors: Iterable[float]) -> Clipping:
    """Share of clipped steps and their median factor, from ‖gradient used‖ / ‖gradient found‖.

    Source:
        R. Pascanu, T. Mikolov, Y. Bengio (ICML 2013).
    """
    given = np.array([f for f in factors if np.isfinite(f)])
    clipped = given[given < 1 - 1e-4]
    factor = float(np.median(clipped)) if len(clipped) else 1.0
    return Clipping(len(clipped) / max(len(given), 1), factor, len(given))
