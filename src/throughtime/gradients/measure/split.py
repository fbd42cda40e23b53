"""2. Who changes the signal from step to step: the activation, the weights or the gates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients.measure.series import Array, by_time, log, numpy, ratio, squared_norms
from throughtime.gradients.record.record import Record


@dataclass(frozen=True)
class Split:
    """Gain of the gradient norm over one step back, pooled over sequences, in nats; (T,).

    Index t is the step from t to the one run before it; NaN at the first step run and where no
    gradient arrives.

    Attributes:
        total: ln of ‖what arrives one step earlier‖ / ‖what was there‖.
        slope: the part of φ' (and of the gates that multiply it): ln ‖δ‖/‖g‖.
        weights: the part of W_hh: ln ‖W_hhᵀ δ‖/‖δ‖. Elman without leak: total = slope + weights.
        paths: share of each path in what arrives, adding up to 1: ``carry`` (1 - leak, z or f) and
            the gates by name.
    """

    total: Array
    slope: Array
    weights: Array
    paths: dict[str, Array]


def split(record: Record) -> Split:
    """Split every step's gain between activation and weights, and between carry path and gates.

    Elman: ln q_t = ln(‖d_t ⊙ g_t‖/‖g_t‖) + ln(‖W_hhᵀ δ_t‖/‖δ_t‖). For the GRU what arrives at
    h_{t-1} is z ⊙ g_t plus one term a gate; for the LSTM the gain is taken along the cell:
    γ_{t-1} ← f_t ⊙ γ_t + o_{t-1} ψ'(c_{t-1}) ⊙ Σ_gates W_gateᵀ δ^gate_t. A path's share is its
    component along the sum, ⟨path, sum⟩/‖sum‖².

    Source:
        The directional gain of R. Pascanu, T. Mikolov, Y. Bengio (ICML 2013), factored at the
        pre-activation.
    """
    arriving, source, delta, parts = _parts(record)
    pool = _pooled(record)
    before, after = pool(squared_norms(source)), pool(squared_norms(arriving))
    middle = pool(squared_norms(delta))
    if "carry" in parts:
        rest, paths = pool(squared_norms(arriving - parts["carry"])), _shares(arriving, parts, pool)
    else:
        rest, paths = after, {name: ratio(after, after) for name in parts}
    return Split(
        total=0.5 * log(ratio(after, before)),
        slope=0.5 * log(ratio(middle, before)),
        weights=0.5 * log(ratio(rest, middle)),
        paths=paths,
    )


def _shares(
    arriving: Tensor, parts: dict[str, Tensor], pool: Callable[[Tensor], Array]
) -> dict[str, Array]:
    largest = arriving.abs().amax((1, 2), keepdim=True)
    whole = arriving / torch.where(largest > 0, largest, 1.0)  # squares of it must not vanish
    along = {name: pool(torch.linalg.vecdot(part, whole)) for name, part in parts.items()}
    total = pool(torch.linalg.vecdot(arriving, whole))
    return {name: ratio(share, total) for name, share in along.items()}


def _parts(record: Record) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """What arrives one step earlier, what was there, δ, and the paths; (T-1, B, ·) from step 1."""
    r, run = record.recurrence, record.run
    inside = run.orbit
    delta = run.pulled.hidden[1:]
    rows = delta.flatten(0, 1).chunk(len(r.gates), -1)
    blocks = zip(r.gates, rows, r.w_hh.chunk(len(r.gates)), strict=True)
    parts = {gate: (d @ w).unflatten(0, delta.shape[:2]) for gate, d, w in blocks}
    if r.kind != "lstm":
        source = run.pulled.total[1:]
        if inside.carry is None:
            (only,) = parts.values()
            return only, source, delta, parts
        carry = inside.carry[1:] * source
    else:
        assert run.pulled.cell is not None and inside.to_cell is not None
        assert inside.carry is not None
        source, to_cell = run.pulled.cell[1:], inside.to_cell[:-1]
        carry = inside.carry[1:] * source
        parts = {
            gate: to_cell * (part if r.w_hr is None else part @ r.w_hr)
            for gate, part in parts.items()
        }
    parts = {"carry": carry, **parts}
    return functools.reduce(torch.add, parts.values()), source, delta, parts


def _pooled(record: Record) -> Callable[[Tensor], Array]:
    """Sums over sequences by time, from (T-1, B) values that start at the second step run."""
    in_order = record.full and not record.reverse

    def pool(values: Tensor) -> Array:
        sums = numpy(values.sum(1, dtype=torch.float64))
        if in_order and not np.isnan(sums).any():
            return np.concatenate([[np.nan], sums])
        first = values.new_full((1, values.shape[1]), torch.nan)
        timed = by_time(record, torch.cat([first, values]))
        empty = np.isnan(timed).all(-1)
        return np.where(empty, np.nan, np.nansum(timed, axis=-1))

    return pool
