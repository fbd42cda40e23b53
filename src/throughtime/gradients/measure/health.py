"""10. State health: does the state grow along the sequence, and how many dimensions does it use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import (
    Array,
    by_lag,
    log,
    mean,
    numpy,
    slope_of,
    steps_of,
)
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Health:
    """Size and dimension of the state.

    Attributes:
        rms: rms of h over units and sequences by step of the run, (T,).
        growth: slope of ln rms over the second half of the run, per step; 0 is steady.
        participation: participation ratio (Σκ)²/Σκ² of the state's covariance, 1 to H.
        dimension: fewest principal directions that hold 99 % of the variance.
        units: H (P with a projection).
    """

    rms: Array
    growth: float
    participation: float
    dimension: int
    units: int


def health(record: Record, points: int | None = None) -> Health:
    """Growth of the state's norm and its participation ratio.

    Args:
        record: one layer and direction.
        points: of how many numbers the covariance is, about: all units at steps evenly spread; all
            steps by default.

    Source:
        D. Krueger and R. Memisevic (ICLR 2016) for norms that grow; the participation ratio as in
        P. Gao and S. Ganguli (2015).
    """
    states, longest = record.run.states, record.longest
    squares = record.run.state_size**2 / states.shape[-1]
    backward = np.sqrt(mean(by_lag(record, squares)))[:longest]
    rms = np.sqrt(mean(np.where(record.alive.numpy(force=True), squares, np.nan)))
    recent = log(backward[: max(2, longest // 2)])[::-1]
    variances = _variances(steps_of(record, states, points))
    return Health(
        rms=rms,
        growth=slope_of(recent),
        participation=float(variances.sum() ** 2 / max((variances**2).sum(), 1e-300)),
        dimension=int((np.cumsum(variances) < 0.99 * variances.sum()).sum()) + 1,
        units=states.shape[-1],
    )


def _variances(points: Tensor) -> Array:
    """Eigenvalues of the covariance, largest first."""
    centred = torch.from_numpy(passes.centred(passes.rows(points)))
    covariance = centred.T @ centred
    if not math.isfinite(covariance.trace()):
        return np.full(points.shape[-1], np.nan)
    return np.maximum(numpy(torch.linalg.eigvalsh(covariance)), 0)[::-1]
