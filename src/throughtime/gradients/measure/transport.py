"""5. Transport: how far back the network could learn, whatever the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, by_lag, log, mean, spread
from throughtime.gradients.record.fused import sent_back
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval over sequences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Transport:
    """ρ(k) = ‖∂h_t/∂h_{t-k}‖_F / √H, t the last step of each sequence.

    Attributes:
        rho: root mean square over sequences, (T+1,); index is the lag k, and k = length of a
            sequence is its initial state.
        log_mean: exp of the mean of ln ρ over the sequences where it is not 0.
        zero: share of sequences where ρ(k) is exactly 0.
        rho_cell: the same from c_{t-k} to h_t, LSTM only.
        decay_time: -1 / slope of ln ρ, steps per factor e; infinite where ρ does not fall.
        half_life: decay_time · ln 2.
        horizon: the largest k with ρ(k) ≥ epsilon.
        epsilon: what counts as arriving.
        per_sequence: ρ(k) of each sequence, (T+1, B), NaN beyond its initial state.
        censored: the horizon is the length of the longest sequence: it may lie beyond.
    """

    rho: Array
    log_mean: Array
    zero: Array
    rho_cell: Array | None
    decay_time: Estimate
    half_life: Estimate
    horizon: Estimate
    epsilon: float
    per_sequence: Array
    censored: bool


def transport(
    record: Record,
    *,
    probes: int | None = 1,
    epsilon: float = 1e-3,
    resamples: int = 200,
    seed: int = 0,
    cells: bool = True,
) -> Transport:
    """How much of a perturbation of h_{t-k} is left in h_t, from random cotangents sent back.

    E_v ‖(∂h_t/∂h_{t-k})ᵀ v‖² = ‖∂h_t/∂h_{t-k}‖_F² for v ~ N(0, I), so a few v are enough: one a
    sequence, whose scatter is in the interval over sequences. A mean square is ruled by the
    sequences that let most through and a mean logarithm hides those that let nothing through:
    both and the share of zeros are given.

    Args:
        record: one layer and direction.
        probes: how many v; None takes the whole basis, exact and H times as dear.
        epsilon: threshold of the horizon.
        resamples: bootstrap resamples of the sequences.
        seed: of the probes and the bootstrap; the global generators are left alone.
        cells: give ``rho_cell`` too, where there are cell states.

    Source:
        S. Hochreiter (1991) and Y. Bengio et al. (1994) for the product of Jacobians; the random
        estimate is Hutchinson's (1990).
    """
    state, cell = _arrived(record, probes, seed, cells)
    rho, _, _, zero, _ = spread(state)
    slope, horizon = passes.resampled(state, _times(state.shape[1], resamples, seed), epsilon)
    decay = _estimate(np.where(slope < 0, -1 / np.where(slope < 0, slope, -1.0), np.inf))
    half = math.log(2)
    return Transport(
        rho=rho,
        log_mean=np.exp(mean(log(np.where(state > 0, state, np.nan)))),
        zero=zero,
        rho_cell=None if cell is None else spread(cell)[0],
        decay_time=decay,
        half_life=Estimate(decay.value * half, decay.low * half, decay.high * half),
        horizon=_estimate(horizon),
        epsilon=epsilon,
        per_sequence=state,
        censored=bool(horizon[0] >= record.longest),
    )


def reach(record: Record, *, epsilon: float = 1e-3, seed: int = 0) -> tuple[Array, float]:
    """``rho`` and the value of ``horizon`` of :func:`transport`, without the rest."""
    state, _ = _arrived(record, 1, seed, cells=False)
    rho = spread(state)[0]
    there = np.flatnonzero(rho >= epsilon)
    return rho, float(there[-1]) if len(there) else 0.0


@torch.no_grad()
def _arrived(
    record: Record, probes: int | None, seed: int, cells: bool
) -> tuple[Array, Array | None]:
    """Rms over probes of what arrives at h_t and c_t, over √H, (T+1, B) by lag.

    NaN where it came through a state that overflowed: a slope means nothing there.
    """
    state, cell = _sent_back(record, probes, seed, cells)
    if not math.isfinite(record.run.state_size.sum()):
        over = ~np.isfinite(record.run.state_size)
        through = np.maximum.accumulate(over[::-1])[::-1]
        for found in (state,) if cell is None else (state, cell):
            found[:-1][through] = np.nan
    return by_lag(record, state), None if cell is None else by_lag(record, cell)


def _sent_back(
    record: Record, probes: int | None, seed: int, cells: bool
) -> tuple[Array, Array | None]:
    B, P, like = len(record.lengths), record.recurrence.output_size, record.run.states
    if probes is None:
        v = torch.eye(P, dtype=like.dtype, device=like.device).unsqueeze(1).expand(P, B, P)
    else:
        v = _drawn(probes, B, P, seed).to(like)
    scale = math.sqrt(P if probes is None else P * probes)
    run, lstm = record.run, record.recurrence.kind == "lstm"
    told = sent_back(run, last=v, tap=("total", "carried") if cells else ("total",))
    if told is None or "total" not in told:
        return _step_by_step(record, v, scale)

    def size(start: Tensor, rest: Tensor) -> Array:
        found = np.concatenate([passes.sizes(start)[None], passes.sizes(rest)])
        if len(v) > 1:
            by_probe = np.ascontiguousarray(found.reshape(-1, len(v), B).swapaxes(1, 2))
            found = passes.norms(by_probe.reshape(-1, len(v))).reshape(-1, B)
        return found / scale

    at_state = size(told["dh0"], told["total"])
    if not (lstm and cells):
        return at_state, None
    to_cell = run.orbit.to_cell
    assert to_cell is not None
    total = told["total"].unflatten(1, (-1, B))
    at_cell = total.mul_(to_cell.unsqueeze(1)).flatten(1, 2).add_(told["carried"])
    return at_state, size(told["dc0"], at_cell)


@lru_cache(8)
def _drawn(probes: int, B: int, P: int, seed: int) -> Tensor:
    """Random cotangents v ~ N(0, I), (probes, B, P)."""
    return torch.randn(probes, B, P, generator=torch.Generator().manual_seed(seed))


def _step_by_step(record: Record, v: Tensor, scale: float) -> tuple[Array, Array | None]:
    """The same where no kernel can run."""
    linear, (T, B), like = record.run.linear, record.alive.shape, record.run.states
    lstm, H = record.recurrence.kind == "lstm", record.recurrence.hidden_size

    def size(g: Tensor) -> Array:
        return passes.sizes(g.transpose(0, 1).flatten(1)) / scale

    g, gamma = torch.zeros_like(v), like.new_zeros(len(v), B, H) if lstm else None
    at_state = np.zeros((T + 1, B))
    at_cell = np.zeros((T + 1, B)) if lstm else None
    last = record.lengths - 1
    for t in reversed(range(T)):
        g = g + v * (last == t).unsqueeze(-1)
        at_state[t + 1] = size(g)
        before = linear.at_cell(t, g, gamma)
        if at_cell is not None and before is not None:
            at_cell[t + 1] = size(before)
        _, g, gamma = linear.back(t, g, before)
    at_state[0] = size(g)
    if at_cell is not None and gamma is not None:
        at_cell[0] = size(gamma)
    return at_state, at_cell


@lru_cache(8)
def _times(B: int, resamples: int, seed: int) -> Array:
    """How often each sequence is in each bootstrap resample of them, the first all of them once.

    Returns:
        (B, 1 + resamples).
    """
    draws = np.random.default_rng(seed).integers(0, B, (resamples, B))
    flat = (draws + B * np.arange(resamples)[:, None]).ravel()
    drawn = np.bincount(flat, minlength=resamples * B).reshape(resamples, B)
    return np.vstack([np.ones(B), drawn]).T.copy()


def _estimate(draws: Array) -> Estimate:
    first, rest = draws[0], draws[1:]
    if not len(rest):
        return Estimate(float(first), float("nan"), float("nan"))
    low, high = np.sort(rest)[[max(0, math.ceil(q * len(rest)) - 1) for q in (0.025, 0.975)]]
    return Estimate(float(first), float(low), float(high))
