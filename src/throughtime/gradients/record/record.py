"""What flowed through one layer in one direction during one backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from throughtime.gradients.passes import Array, sizes
from throughtime.gradients.record.fused import sent_back
from throughtime.gradients.record.recurrence import (
    Linearisation,
    Orbit,
    Pulled,
    Recurrence,
    orbit,
    run_order,
    sums,
    valid,
)


@dataclass(frozen=True)
class Run:
    """The raw material of a record, in run order: index 0 is the step the layer ran first.

    Beyond a sequence's length ``x``, ``states`` and cotangents are zero; what ``orbit`` and
    ``linear`` hold there has no meaning. What can be worked out is worked out when asked for.

    Attributes:
        recurrence: the layer.
        lengths: valid steps of each sequence, (B,).
        x: input, (T, B, I).
        h0: initial state, (B, H).
        c0: initial cell state, LSTM only.
        states: h_t, (T, B, H).
        injected: e_t, (T, B, H).
        injected_cell: what reaches c_t from outside, LSTM only; None for nothing.
        told: what a kernel told of its own pass back, see
            :func:`throughtime.kernels.tap.recording`, in run order.
        narrow: whether h_t was kept in fewer bits than it has now, as under autocast on a GPU.
        inside, back: ``orbit`` and ``pulled`` where they are known already.
    """

    recurrence: Recurrence
    lengths: Tensor
    x: Tensor
    h0: Tensor
    c0: Tensor | None
    states: Tensor
    injected: Tensor
    injected_cell: Tensor | None = None
    told: Mapping[str, Tensor] = field(default_factory=dict)
    narrow: bool = False
    inside: Orbit | None = None
    back: Pulled | None = None

    @cached_property
    def full(self) -> bool:
        """Whether there is no padding."""
        return not len(self.lengths) or int(self.lengths.min()) == self.states.shape[0]

    @cached_property
    def orbit(self) -> Orbit:
        """What went on inside."""
        if self.inside is not None:
            return self.inside
        blocks = self.told.get("blocks")
        if blocks is None:
            blocks = sums(self.recurrence, self.x, self.previous)
        return orbit(self.recurrence, blocks, self.states, self.h0, self.c0, self.narrow)

    @property
    def blocks(self) -> Tensor:
        """``orbit.blocks``, as far as they are told without the rest."""
        told = self.told.get("blocks")
        return self.orbit.blocks if told is None else told

    @cached_property
    def linear(self) -> Linearisation:
        """The derivative of every step."""
        return self.orbit.linearise()

    @cached_property
    def pulled(self) -> Pulled:
        """g_t, δ_t and γ_t: as told, by a kernel, or step by step."""
        if self.back is not None:
            return self.back
        told = self._heard
        if "delta" not in told:
            return self.linear.pull(self.injected, self.injected_cell)
        if "total" not in told:
            return self.linear.from_delta(told["delta"], self.injected, self.injected_cell)
        return self.orbit.as_told(told["delta"], told["total"], told.get("carried"))

    @cached_property
    def _heard(self) -> Mapping[str, Tensor]:
        """``told``, of a pass back made now if need be."""
        if "delta" in self.told or self.back is not None or self.injected_cell is not None:
            return self.told
        return sent_back(self, self.injected) or {}

    @property
    def previous(self) -> Tensor:
        """h_{t-1}, (T, B, H)."""
        if self.inside is not None:
            return self.inside.previous
        return torch.cat([self.h0.unsqueeze(0), self.states[:-1]])

    @property
    def total(self) -> Tensor:
        """g_t, (T, B, H)."""
        told = self._heard.get("total")
        return self.pulled.total if told is None else told

    @cached_property
    def total_size(self) -> Array:
        """‖g_t‖, (T, B)."""
        return sizes(self.total)

    @cached_property
    def injected_size(self) -> Array:
        """‖e_t‖, (T, B)."""
        return sizes(self.injected)

    @cached_property
    def state_size(self) -> Array:
        """‖h_t‖, (T, B)."""
        return sizes(self.states)

    @property
    def delta(self) -> Tensor:
        """δ_t, (T, B, G·H)."""
        told = self._heard.get("delta")
        return self.pulled.delta if told is None else told

    @property
    def hidden(self) -> tuple[Tensor, ...]:
        """The gradient of W_hh h_{t-1} + b_hh, (T, B, G·H), in blocks side by side."""
        delta = None if "pulled" in self.__dict__ else self._heard.get("delta")
        if delta is None:
            return (self.pulled.hidden,)
        if self.recurrence.kind != "gru":
            return (delta,)
        gates, candidate = delta.tensor_split([-self.recurrence.hidden_size], -1)
        return gates, self.orbit.value("r") * candidate

    def previous_along(self, direction: Tensor) -> Tensor:
        """h_{t-1} times a vector (H,), (T, B)."""
        if self.inside is not None:
            return self.inside.previous @ direction
        along = torch.linalg.vecdot(self.states, direction)
        return torch.cat([(self.h0 @ direction).unsqueeze(0), along[:-1]])

    def first(self, sequences: int) -> Run:
        """The run of the first sequences alone; in one piece what is read more than once.

        Sizes that are known go along.
        """
        kept, c0, in_cell = slice(sequences), self.c0, self.injected_cell
        found = replace(
            self,
            lengths=self.lengths[kept],
            x=self.x[:, kept],
            h0=self.h0[kept],
            c0=None if c0 is None else c0[kept],
            states=self.states[:, kept].contiguous(),
            injected=self.injected[:, kept],
            injected_cell=None if in_cell is None else in_cell[:, kept],
            told={name: told[:, kept].contiguous() for name, told in self.told.items()},
            inside=None if self.inside is None else _first(self.inside, kept),
            back=None if self.back is None else _first(self.back, kept),
        )
        known = {"total_size", "injected_size", "state_size"} & self.__dict__.keys()
        found.__dict__.update((name, self.__dict__[name][:, kept]) for name in known)
        return found


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

    def __repr__(self) -> str:
        r, shape = self.recurrence, (*self.alive.shape, self.recurrence.hidden_size)
        return f"Record({self.key!r}, {r.kind}, {r.phi.name}, (T, B, H) = {shape})"

    @property
    def injected(self) -> Tensor:
        """e_t, (T, B, H)."""
        return self.in_time(self.run.injected)

    @property
    def total(self) -> Tensor:
        """g_t = dL/dh_t, (T, B, H)."""
        return self.in_time(self.run.total)

    @property
    def delta(self) -> Tensor:
        """δ_t = dL/da_t, (T, B, G·H), gates side by side in the order of the weights."""
        return self.in_time(self.run.delta)

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
    def full(self) -> bool:
        """Whether there is no padding."""
        return self.run.full

    @cached_property
    def longest(self) -> int:
        """Valid steps of the longest sequence."""
        return int(self.lengths.max())

    @property
    def weight_gradient(self) -> Tensor:
        """∇W_hh = Σ_t δ_t h_{t-1}ᵀ, (G·H, H), from the record alone."""
        previous = self.run.previous.flatten(0, 1)
        return torch.cat([block.flatten(0, 1).T @ previous for block in self.run.hidden])

    def weight_gradient_along(self, direction: Tensor) -> Tensor:
        """∇W_hh times a vector (H,), without ∇W_hh itself: a small part of its cost; (G·H,)."""
        along = self.run.previous_along(direction).unsqueeze(1)
        return torch.cat([(along @ block).sum((0, 1)) for block in self.run.hidden])

    def gate_block(self, tensor: Tensor, gate: str) -> Tensor:
        """The columns of one gate, (T, B, H), out of (T, B, G·H)."""
        return tensor.chunk(len(self.recurrence.gates), -1)[self.recurrence.gates.index(gate)]

    def first(self, sequences: int | None) -> Record:
        """The record of the first sequences alone; of all for None."""
        if sequences is None or sequences >= len(self.lengths):
            return self
        return replace(self, lengths=self.lengths[:sequences], run=self.run.first(sequences))

    def in_time(self, sequence: Tensor) -> Tensor:
        """A (T, B, ·) tensor of ``run`` in the order of time, zero on padding."""
        if self.full:
            return sequence.flip(0) if self.reverse else sequence
        kept = torch.where(self.alive.unsqueeze(-1), sequence, 0.0)
        return run_order(kept, self.lengths, self.reverse)


def _first(whole: Any, kept: slice) -> Any:
    """The same with every tensor cut down to some sequences: (T, B, ·) or (B, ·), all in order."""
    cut = {}
    for name in (f.name for f in fields(whole)):
        value = getattr(whole, name)
        if isinstance(value, Tensor):
            by_row = value.dim() < 3
            cut[name] = value[kept] if by_row else value[:, kept].contiguous()
    return replace(whole, **cut)


def at_last_step(sequence: Tensor, lengths: Tensor, value: Tensor) -> Tensor:
    """``sequence`` (T, B, ·) in run order with ``value`` (B, ·) added at each last valid step."""
    alive = (lengths > 0).nonzero().squeeze(-1)
    sequence = sequence.clone()
    sequence[lengths[alive] - 1, alive] += value[alive]
    return sequence
