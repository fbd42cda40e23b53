"""What flowed through one layer in one direction during one backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from throughtime.gradients.record.recurrence import (
    Linearisation,
    Orbit,
    Pulled,
    Recurrence,
    orbit,
    run_order,
    valid,
)


@dataclass(frozen=True)
class Run:
    """The raw material of a record, in run order: index 0 is the step the layer ran first.

    Beyond a sequence's length ``x``, ``states`` and cotangents are zero; what ``orbit`` and
    ``linear`` hold there has no meaning.

    Attributes:
        x: input, (T, B, I).
        h0: initial state, (B, H).
        c0: initial cell state, LSTM only.
        states: h_t, (T, B, H).
        orbit: what went on inside.
        linear: the derivative of every step.
        injected: e_t, (T, B, H).
        injected_cell: what reaches c_t from outside, LSTM only.
        pulled: g_t, δ_t and γ_t.
    """

    x: Tensor
    h0: Tensor
    c0: Tensor | None
    states: Tensor
    orbit: Orbit
    linear: Linearisation
    injected: Tensor
    injected_cell: Tensor | None
    pulled: Pulled


@dataclass(frozen=True)
class Record:
    """One layer in one direction: states, slopes and gradients of every time step.

    All tensors are (T, B, ·) in the order of time and zero on padding. e_t is the gradient that
    reaches h_t from outside the recurrence (a hook on the layer's output sees only this); g_t is
    the total dL/dh_t; δ_t is dL/da_t.

    Attributes:
        key: ``rnn.l0``, ``rnn.l0_reverse``; ``#2`` and so on for later calls of the same layer.
        layer: index within its module.
        reverse: whether the layer reads from the last step to the first.
        recurrence: its weights and activations at the time.
        lengths: valid steps of each sequence, (B,).
        run: the same material in run order, from which measures are computed.
        linked: False where the caller changed the state between the steps of a cell, so that part
            of what came through time counts as injected.
    """

    key: str
    layer: int
    reverse: bool
    recurrence: Recurrence
    lengths: Tensor
    run: Run
    linked: bool = True

    @property
    def injected(self) -> Tensor:
        """e_t, (T, B, H)."""
        return self.in_time(self.run.injected)

    @property
    def total(self) -> Tensor:
        """g_t = dL/dh_t, (T, B, H)."""
        return self.in_time(self.run.pulled.total)

    @property
    def delta(self) -> Tensor:
        """δ_t = dL/da_t, (T, B, G·H), gates side by side in the order of the weights."""
        return self.in_time(self.run.pulled.delta)

    @property
    def preactivation(self) -> Tensor:
        """a_t, (T, B, G·H)."""
        return self.in_time(self.run.orbit.preactivation)

    @property
    def slope(self) -> Tensor:
        """φ'(a_t), (T, B, G·H)."""
        return self.in_time(self.run.orbit.slope)

    @property
    def state(self) -> Tensor:
        """h_t, (T, B, H)."""
        return self.in_time(self.run.states)

    @property
    def gates(self) -> Mapping[str, Tensor]:
        """The value of every gate, (T, B, H) each: r, z, n or i, f, g, o; empty for Elman."""
        return {name: self.in_time(value) for name, value in self.run.orbit.gates.items()}

    @property
    def cell(self) -> Tensor | None:
        """c_t, (T, B, H), LSTM only."""
        return None if self.run.orbit.cell is None else self.in_time(self.run.orbit.cell)

    @property
    def cell_total(self) -> Tensor | None:
        """γ_t = dL/dc_t, (T, B, H), LSTM only."""
        return None if self.run.pulled.cell is None else self.in_time(self.run.pulled.cell)

    @cached_property
    def alive(self) -> Tensor:
        """(T, B) bool: which steps are no padding; the same in time and in run order."""
        return valid(self.run.states.shape[0], self.lengths)

    @property
    def weight_gradient(self) -> Tensor:
        """∇W_hh = Σ_t δ_t h_{t-1}ᵀ, (G·H, H), from the record alone."""
        delta, previous = self.run.pulled.hidden, self.run.orbit.previous
        return delta.flatten(0, 1).T @ previous.flatten(0, 1)

    def gate_block(self, tensor: Tensor, gate: str) -> Tensor:
        """The columns of one gate, (T, B, H), out of (T, B, G·H)."""
        return tensor.chunk(len(self.recurrence.gates), -1)[self.recurrence.gates.index(gate)]

    def in_time(self, sequence: Tensor) -> Tensor:
        """A (T, B, ·) tensor of ``run`` in the order of time, zero on padding."""
        kept = torch.where(self.alive.unsqueeze(-1), sequence, 0.0)
        return run_order(kept, self.lengths, self.reverse)


def make_run(
    r: Recurrence,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    states: Tensor,
    injected: Tensor,
    injected_cell: Tensor | None,
    delta: Tensor | None = None,
    preactivation: Tensor | None = None,
) -> Run:
    """A run from what is known in run order: inputs, states and what the loss injects.

    With ``delta`` at hand nothing is carried back through the steps again.
    """
    inside = orbit(r, x, torch.cat([h0.unsqueeze(0), states[:-1]]), c0, preactivation)
    linear = inside.linearise()
    if delta is None:
        pulled = linear.pull(injected, injected_cell)
    else:
        pulled = linear.from_delta(delta, injected, injected_cell)
    return Run(x, h0, c0, states, inside, linear, injected, injected_cell, pulled)


def at_last_step(sequence: Tensor, lengths: Tensor, value: Tensor) -> Tensor:
    """``sequence`` (T, B, ·) in run order with ``value`` (B, ·) added at each last valid step."""
    alive = (lengths > 0).nonzero().squeeze(-1)
    sequence = sequence.clone()
    sequence[lengths[alive] - 1, alive] += value[alive]
    return sequence
