"""6. Lyapunov exponents: the growth rates of small differences along the states that were run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.errors import TraceError
from throughtime.gradients.measure.series import Array, numpy
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents, largest first, in nats per step.

    Attributes:
        exponents: λ_i, (k,); -inf for directions that a step collapses to nothing.
        error: standard error of each, from the spread over blocks of time and sequences.
        steps: steps averaged over, after the transient.
        dimension: Kaplan and Yorke's dimension; NaN where fewer exponents were asked for than it
            takes.
    """

    exponents: Array
    error: Array
    steps: int
    dimension: float


def lyapunov(record: Record, k: int | None = None, transient: int | None = None) -> Spectrum:
    """The spectrum of a layer along its recorded states, by QR at every step.

    Q_t R_t = J_t Q_{t-1}, λ_i = mean_t ln R_t,ii. J_t is the whole one-step Jacobian: of (h, c) for
    the LSTM, with biases and reset gate for the GRU, leak and any activation for Elman. Costs
    k products with W_hh and a QR a step. λ near 0 keeps gradients; it is no proof of health.

    Args:
        record: one layer and direction.
        k: how many exponents; all by default.
        transient: steps left out at the start; a tenth of the run by default.

    Raises:
        TraceError: no step is left after the transient.

    Source:
        G. Benettin et al., Meccanica 15 (1980); for RNNs R. Engelken, F. Wolf, L. Abbott,
        arXiv:2006.02427, and R. Vogt et al. (2022).
    """
    T, B = record.alive.shape
    transient = T // 10 if transient is None else transient
    longest = record.longest
    if not 0 <= transient < longest:
        raise TraceError("gradients.transient", transient=transient, steps=longest)
    linear = record.run.linear.to(torch.float64)
    size = record.recurrence.state_size
    k = size if k is None else min(k, size)
    return lyapunov_of(
        lambda t, tangents: linear.push(t, tangents.permute(2, 0, 1)).permute(1, 2, 0),
        steps=T,
        size=size,
        k=k,
        batch=B,
        transient=transient,
        alive=record.alive,
        device=record.run.states.device,
    )


def lyapunov_of(
    push: Callable[[int, Tensor], Tensor],
    steps: int,
    size: int,
    k: int | None = None,
    batch: int = 1,
    transient: int = 0,
    alive: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Spectrum:
    """The spectrum of any map from its tangents: ``push(t, Q)`` is J_t Q, (B, S, k) to (B, S, k).

    Args:
        push: the Jacobian of step t applied to float64 columns.
        steps: T.
        size: S, the dimension of the state.
        k: how many exponents; all by default.
        batch: B trajectories side by side.
        transient: steps left out at the start.
        alive: (T, B) bool, which steps count; all by default.
        device: where to compute.
    """
    k = size if k is None else k
    start = torch.randn(size, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = torch.linalg.qr(start.to(device))[0].expand(batch, size, k)
    alive = torch.ones(steps, batch, dtype=torch.bool, device=device) if alive is None else alive
    growth = []
    for t in range(steps):
        new, r = torch.linalg.qr(push(t, q))
        growth.append(torch.where(alive[t, :, None], _log_growth(r), torch.nan))
        q = torch.where(alive[t, :, None, None], new, q)
    rates = numpy(torch.stack(growth))[transient:]
    exponents = _mean(rates.reshape(-1, k))
    order = np.argsort(-exponents, kind="stable")
    counted = int((~np.isnan(rates[..., 0])).any(-1).sum())
    error = _error(rates)
    return Spectrum(exponents[order], error[order], counted, kaplan_yorke(exponents[order]))


def kaplan_yorke(exponents: Array) -> float:
    """D = j + Σ_{i≤j} λ_i / |λ_{j+1}|, j the last index whose partial sum is not negative.

    Source:
        J. Kaplan and J. Yorke (1979).
    """
    sums = np.cumsum(exponents)
    if not len(sums) or sums[0] < 0:
        return 0.0
    j = int(np.flatnonzero(sums >= 0)[-1]) + 1
    if j == len(exponents):
        return float("nan")
    return float(j + sums[j - 1] / abs(exponents[j]))


def _log_growth(r: Tensor) -> Tensor:
    """Ln of R's diagonal; what is rounding noise beside the largest entry counts as 0."""
    size = r.diagonal(dim1=-2, dim2=-1).abs()
    noise = r.shape[-2] * torch.finfo(r.dtype).eps * size.amax(-1, keepdim=True)
    return torch.where(size > noise, size, 0.0).log()


def _mean(rates: Array) -> Array:
    counts = (~np.isnan(rates)).sum(0)
    return np.nansum(rates, axis=0) / np.maximum(counts, 1)


def _error(rates: Array, blocks: int = 10) -> Array:
    """Standard error from the means of blocks of time, every sequence on its own."""
    parts = [p for p in np.array_split(rates, min(blocks, len(rates))) if len(p)]
    means = []
    for part in parts:
        whole = ~np.isnan(part[..., 0]).any(0)
        means += list(part[:, whole].mean(0))
    if len(means) < 2:
        return np.full(rates.shape[-1], np.nan)
    with np.errstate(invalid="ignore"):
        return np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
