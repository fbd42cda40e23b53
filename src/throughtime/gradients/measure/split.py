"""2. Who changes the signal from step to step: the activation, the weights or the gates."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients.measure.series import Array, by_time, log, ratio, squared_norms
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
    sizes = [squared_norms(tensor) for tensor in (source, arriving, delta)]
    if "carry" in parts:
        sizes.append(squared_norms(arriving - parts["carry"]))
        largest = arriving.abs().amax((1, 2), keepdim=True)
        whole = arriving / torch.where(largest > 0, largest, 1.0)  # squares of it must not vanish
        along = [torch.linalg.vecdot(part, whole) for part in (arriving, *parts.values())]
        total, *shares = _pooled(record, along)
        paths = {name: ratio(share, total) for name, share in zip(parts, shares, strict=True)}
        before, after, middle, rest = _pooled(record, sizes)
    else:
        before, after, middle = _pooled(record, sizes)
        rest, paths = after, {name: ratio(after, after) for name in parts}
    return Split(
        total=0.5 * log(ratio(after, before)),
        slope=0.5 * log(ratio(middle, before)),
        weights=0.5 * log(ratio(rest, middle)),
        paths=paths,
    )


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


def _pooled(record: Record, values: Sequence[Tensor]) -> Array:
    """Sums over sequences by time, (N, T), of N (T-1, B) tensors from the second step run on."""
    T, B = record.alive.shape
    whole = torch.full((len(values), T, B), torch.nan, dtype=torch.float64, device=values[0].device)
    torch.stack([v.double() for v in values], out=whole[:, 1:])
    timed = np.stack([by_time(record, one) for one in whole])
    return np.where(np.isnan(timed).all(-1), np.nan, np.nansum(timed, axis=-1))
