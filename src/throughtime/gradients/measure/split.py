"""2. Who changes the signal from step to step: the activation, the weights or the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.gradients import passes
from throughtime.gradients.measure.series import Array, by_time, squared_norms, sums
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
    r, run = record.recurrence, record.run
    hidden, carry = run.pulled.hidden[1:], run.orbit.carry
    middle = squared_norms(hidden)
    if carry is None:
        sizes = [run.total_size[1:] ** 2, middle, _come_back(record, hidden)]
        before, middle, after = _pooled(record, sizes)
        rest, paths = after, {r.gates[0]: passes.ratio(after, after)}
    else:
        source, parts = _paths(record, hidden)
        carried = passes.steps(carry[1:] * source)
        found = passes.along(passes.steps(parts), carried)
        sizes = [squared_norms(source), middle, *found]
        before, middle, after, rest, itself, *shares = _pooled(record, sizes)
        names = ("carry", *r.gates)
        paths = {
            name: passes.ratio(share, itself) for name, share in zip(names, shares, strict=True)
        }
    total, slope, weights = passes.gains(before, middle, after, rest)
    return Split(total, slope, weights, paths)


def _come_back(record: Record, delta: Tensor) -> Array:
    """‖W_hhᵀ δ_t‖² for t ≥ 1, (T-1, B): ‖g_{t-1}‖² where nothing is injected at t-1."""
    run, w_hh = record.run, record.recurrence.w_hh
    if not record.linked:
        return squared_norms(delta @ w_hh)
    found = run.total_size[:-1] ** 2
    injected = run.injected_size[:-1] != 0
    there = torch.from_numpy(injected).to(delta.device)
    found[injected] = squared_norms(delta[there] @ w_hh)
    return found


def _paths(record: Record, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What was there, (T-1, B, ·), and what of it comes through each gate, (N, T-1, B, ·)."""
    r, run = record.recurrence, record.run
    shape = len(r.gates), r.hidden_size
    by_gate = hidden.flatten(0, 1).unflatten(-1, shape).transpose(0, 1)
    parts = torch.bmm(by_gate, r.w_hh.unflatten(0, shape)).unflatten(1, hidden.shape[:2])
    if r.kind != "lstm":
        return run.pulled.total[1:], parts
    assert run.pulled.cell is not None and run.orbit.to_cell is not None
    through = (parts if r.w_hr is None else parts @ r.w_hr) * run.orbit.to_cell[:-1]
    return run.pulled.cell[1:], through


def _pooled(record: Record, values: Sequence[Array]) -> Array:
    """Sums over sequences by time, (N, T), of N (T-1, B) arrays from the second step run on."""
    T, B, _ = record.run.states.shape
    whole = np.full((len(values), T, B), np.nan)
    whole[:, 1:] = values
    if record.full:
        timed = whole[:, ::-1] if record.reverse else whole
    else:
        timed = np.stack([by_time(record, one) for one in whole])
    found, count = sums(timed)
    found[count == 0] = np.nan
    return found
