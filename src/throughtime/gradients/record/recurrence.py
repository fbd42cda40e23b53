"""One layer in one direction: what it computes, and its derivative as a linear map, step by step.

Everything here is in *run order*: index 0 is the step the recurrence runs first, so a layer that
reads backwards needs no formula of its own (:func:`run_order` turns time into run order and back).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from throughtime.gradients.record import curve
from throughtime.gradients.record.pointwise import Pointwise

Kind = Literal["elman", "gru", "lstm"]

GATES: dict[Kind, tuple[str, ...]] = {
    "elman": ("h",),
    "gru": ("r", "z", "n"),
    "lstm": ("i", "f", "g", "o"),
}


@dataclass(frozen=True)
class Recurrence:
    """Weights and activations of one layer in one direction, as ``throughtime.cells`` reads them.

    Attributes:
        kind: ``"elman"``, ``"gru"`` or ``"lstm"``.
        w_ih: (G·H, I).
        w_hh: (G·H, H), or (G·H, P) where there is a projection.
        b_ih: (G·H,) or None.
        b_hh: (G·H,) or None.
        phi: activation of the state (Elman) or the candidate (n, g).
        phi_gate: activation of the gates; None for Elman.
        phi_output: activation of the cell state on its way out; LSTM only.
        w_hr: projection (P, H) or None.
        leak: step size of a leaky Elman layer.
    """

    kind: Kind
    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    phi: Pointwise
    phi_gate: Pointwise | None = None
    phi_output: Pointwise | None = None
    w_hr: Tensor | None = None
    leak: float = 1.0

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the blocks of a pre-activation, in the order of the weights."""
        return GATES[self.kind]

    @property
    def main_place(self) -> str:
        """The block of the state's activation (Elman) or the candidate's: h, n or g."""
        return {"elman": "h", "gru": "n", "lstm": "g"}[self.kind]

    @property
    def hidden_size(self) -> int:
        """H, the number of units."""
        return self.w_ih.shape[0] // len(self.gates)

    @property
    def output_size(self) -> int:
        """The size of h: P with a projection, else H."""
        return self.w_hh.shape[1]

    @property
    def state_size(self) -> int:
        """The size of the whole state: of (h, c) for the LSTM, of h otherwise."""
        return self.output_size + (self.hidden_size if self.kind == "lstm" else 0)

    @cached_property
    def kernel(self) -> Any:
        """The same for our kernels: :class:`throughtime.kernels.adjoint.Recurrence`."""
        from throughtime.kernels.adjoint import Recurrence as Kernel

        given = (self.phi, self.phi_gate, self.phi_output)
        places = [curve.written(phi.value) for phi in given if phi is not None]
        weights = (self.w_ih, self.w_hh, self.b_ih, self.b_hh)
        return Kernel(self.kind, places, weights, self.leak, self.w_hr)

    def activation_of(self, place: str) -> Pointwise:
        """The activation of one gate, or of ``c`` on its way out."""
        phi = {"h": self.phi, "n": self.phi, "g": self.phi, "c": self.phi_output}
        found = phi.get(place, self.phi_gate)
        assert found is not None
        return found

    def with_activation(self, phi: Pointwise) -> Recurrence:
        """The same weights with another φ in the state or candidate, and on c if it was there."""
        same = self.phi_output is not None and self.phi_output.name == self.phi.name
        output = phi if same else self.phi_output
        return replace(self, phi=phi, phi_output=output)

    def to(self, dtype: torch.dtype) -> Recurrence:
        """The same recurrence with weights of another precision."""
        names = ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
        cast = {n: getattr(self, n).to(dtype) for n in names if getattr(self, n) is not None}
        return replace(self, **cast)


@dataclass(frozen=True)
class Orbit:
    """What a recurrence went through, in run order; (T, B, ·).

    What follows from these is worked out one place at a time, when it is asked for: a place is a
    gate, or ``c``, the LSTM's activation on the way out.

    Attributes:
        recurrence: the layer.
        blocks: the sums of which a_t is made, as the kernels keep them, (T, B, ·, H): r, z,
            W_in x + b_in and W_hn h + b_hn in the GRU; i, f, g, o and c_t in the LSTM.
        states: h_t.
        before: h_0 (B, H), or h_{t-1} of every step where they do not follow from ``states``.
        cell_before: the same of the cell state; None but for the LSTM.
        narrow: whether h_t was kept in fewer bits than it has now.
    """

    recurrence: Recurrence
    blocks: Tensor
    states: Tensor
    before: Tensor
    cell_before: Tensor | None = None
    narrow: bool = False
    _known: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def argument(self, place: str) -> Tensor:
        """a_t of a gate, or c_t; (T, B, H)."""
        if place == "n" and self.recurrence.phi_gate is not None:
            return self._once("argument", place, self._candidate)
        block = self.blocks[:, :, (*self.recurrence.gates, "c").index(place)]
        return self._once("argument", place, block.contiguous)

    def _candidate(self) -> Tensor:
        return torch.addcmul(self.blocks[:, :, 2], self.value("r"), self.blocks[:, :, 3])

    def value(self, place: str) -> Tensor:
        """φ(a_t) of one place, (T, B, H)."""
        if self._is_state(place):
            return self.states
        phi = self.recurrence.activation_of(place)
        return self._once("value", place, lambda: curve.value(phi, self.argument(place)))

    def slope_of(self, place: str) -> Tensor:
        """φ'(a_t) of one place, (T, B, H)."""
        phi = self.recurrence.activation_of(place)
        of_value = phi.slope_of
        if of_value is not None and self._is_state(place):
            return self._once("slope", place, lambda: of_value(self.states))
        return self._once("slope", place, lambda: curve.slope(phi, self.argument(place)))

    def _is_state(self, place: str) -> bool:
        """Whether φ(a_t) of a place is h_t."""
        return place == "h" and self.recurrence.leak == 1 and not self.narrow

    def _once(self, what: str, place: str, make: Callable[[], Tensor]) -> Tensor:
        if (what, place) not in self._known:
            self._known[what, place] = make()
        return self._known[what, place]

    @property
    def preactivation(self) -> Tensor:
        """a_t, all gates side by side, (T, B, G·H)."""
        return _side_by_side(self.argument, self.recurrence.gates)

    @property
    def slope(self) -> Tensor:
        """φ'(a_t), all gates side by side."""
        return _side_by_side(self.slope_of, self.recurrence.gates)

    @property
    def gates(self) -> dict[str, Tensor]:
        """The value of every gate, (T, B, H) each; empty for Elman."""
        r = self.recurrence
        return {} if r.kind == "elman" else {gate: self.value(gate) for gate in r.gates}

    @property
    def cell(self) -> Tensor | None:
        """c_t; None but for the LSTM."""
        return self.argument("c") if self.recurrence.kind == "lstm" else None

    @cached_property
    def previous(self) -> Tensor:
        """h_{t-1}."""
        return _previous(self.before, self.states)

    @cached_property
    def previous_cell(self) -> Tensor | None:
        """c_{t-1}; None but for the LSTM."""
        c = self.cell_before
        return None if c is None else _previous(c, self.blocks[:, :, 4])

    @cached_property
    def carry(self) -> Tensor | None:
        """What goes from step to step outside the gates: 1 - leak, z or f."""
        kind, leak = self.recurrence.kind, self.recurrence.leak
        if kind == "elman":
            return None if leak == 1 else self.blocks.new_full((len(self.blocks), 1, 1), 1 - leak)
        return self.value("z" if kind == "gru" else "f")

    @cached_property
    def to_cell(self) -> Tensor | None:
        """∂h_t/∂c_t = o ψ'(c); None but for the LSTM."""
        return self.value("o") * self.slope_of("c") if self.recurrence.kind == "lstm" else None

    def as_told(self, delta: Tensor, total: Tensor, carried: Tensor | None) -> Pulled:
        """The rest where a kernel tells δ_t, g_t and what comes back to c_t from later steps."""
        hidden = at_state_side(delta, self.value("r") if self.recurrence.kind == "gru" else None)
        if carried is None or self.to_cell is None:
            return Pulled(total, delta, hidden, None)
        return Pulled(total, delta, hidden, torch.addcmul(carried, total, self.to_cell))

    def at(self, t: int, sequences: slice | list[int]) -> Orbit:
        """One step of some sequences alone, T = 1."""
        step, c = (slice(t, t + 1), sequences), self.cell_before
        return replace(
            self,
            blocks=self.blocks[step],
            states=self.states[step],
            before=_before(t, self.before, self.states)[sequences],
            cell_before=None if c is None else _before(t, c, self.blocks[:, :, -1])[sequences],
        )

    def linearise(self) -> Linearisation:
        """The derivative of every step, ready to push gradients back or tangents forward."""
        return _LINEARISE[self.recurrence.kind](self)


@dataclass(frozen=True)
class Linearisation:
    """The derivative of every step of an orbit; see ``_linearise_*`` for the coefficients.

    ``injected`` cotangents go back through :meth:`pull`, tangents go forward through :meth:`push`;
    both are the chain rule written down, exact to rounding, one product with W_hh a step.

    Attributes:
        recurrence: the layer.
        to_preactivation: ∂L/∂a_t = to_preactivation ⊙ (g_t or γ_t), (T, B, G·H).
        carry: what goes from step to step outside the gates: 1 - leak, z or f.
        to_cell: o ψ'(c); None but for the LSTM.
        reset: r, by which the GRU multiplies the state side of its candidate.
    """

    recurrence: Recurrence
    to_preactivation: Tensor
    carry: Tensor | None = None
    to_cell: Tensor | None = None
    reset: Tensor | None = None

    @cached_property
    def to_hidden(self) -> Tensor:
        """``to_preactivation`` as W_hh h_{t-1} + b_hh sees it: with the GRU's reset gate in it."""
        return at_state_side(self.to_preactivation, self.reset)

    def pull(
        self,
        injected: Tensor,
        injected_cell: Tensor | None = None,
        links: Sequence[bool] | None = None,
    ) -> Pulled:
        """Carry cotangents of the states back through all steps.

        Args:
            injected: what reaches each h_t from outside the recurrence, (..., T, B, H).
            injected_cell: the same for c_t, LSTM only.
            links: whether each step got its state straight from the one before; all by default.
        """
        T = injected.shape[-3]
        total = torch.empty_like(injected)
        hidden = injected.new_empty(*injected.shape[:-1], self.recurrence.w_hh.shape[0])
        lstm = self.recurrence.kind == "lstm"
        cells = (
            injected.new_empty(*injected.shape[:-1], self.recurrence.hidden_size) if lstm else None
        )
        g = torch.zeros_like(injected[..., 0, :, :])
        gamma = None if cells is None else torch.zeros_like(cells[..., 0, :, :])
        for t in reversed(range(T)):
            g = injected[..., t, :, :] + g
            total[..., t, :, :] = g
            if gamma is not None and injected_cell is not None:
                gamma = gamma + injected_cell[..., t, :, :]
            at_cell = self.at_cell(t, g, gamma)
            if cells is not None and at_cell is not None:
                cells[..., t, :, :] = at_cell
            hidden[..., t, :, :], g, gamma = self.back(t, g, at_cell)
            if links is not None and not links[t]:
                g, gamma = torch.zeros_like(g), None if gamma is None else torch.zeros_like(gamma)
        if self.reset is None:
            return Pulled(total, hidden, hidden, cells)
        return Pulled(total, _repeated(total, 3) * self.to_preactivation, hidden, cells)

    def at_cell(self, t: int, g: Tensor, gamma: Tensor | None) -> Tensor | None:
        """γ_t from what came back to c_t and what reaches h_t; None but for the LSTM."""
        if self.to_cell is None or gamma is None:
            return None
        w_hr = self.recurrence.w_hr
        return torch.addcmul(gamma, g if w_hr is None else g @ w_hr, self.to_cell[t])

    def back(
        self, t: int, g: Tensor, gamma: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """From g_t (and γ_t) to the gradients of W_hh h_{t-1} + b_hh, h_{t-1} and c_{t-1}."""
        r = self.recurrence
        if gamma is None:
            eta = _repeated(g, len(r.gates)) * self.to_hidden[t]
            moved = eta @ r.w_hh
            return (
                eta,
                moved if self.carry is None else torch.addcmul(moved, self.carry[t], g),
                None,
            )
        assert self.carry is not None
        at_output = g if r.w_hr is None else g @ r.w_hr
        eta = torch.cat([gamma, gamma, gamma, at_output], -1) * self.to_hidden[t]
        return eta, eta @ r.w_hh, gamma * self.carry[t]

    def from_delta(self, delta: Tensor, injected: Tensor, injected_cell: Tensor | None) -> Pulled:
        """g_t and γ_t where δ_t is known already: one product for all steps, no loop over W_hh."""
        hidden = at_state_side(delta, self.reset)
        back = torch.cat([hidden[1:] @ self.recurrence.w_hh, torch.zeros_like(injected[:1])])
        total = injected + back
        T = len(total)
        if self.recurrence.kind != "lstm":
            if self.carry is not None:
                for t in reversed(range(T - 1)):
                    total[t] += self.carry[t + 1] * total[t + 1]
            return Pulled(total, delta, hidden, None)
        assert self.carry is not None and self.to_cell is not None
        w_hr = self.recurrence.w_hr
        cells = (total if w_hr is None else total @ w_hr) * self.to_cell
        cells = cells if injected_cell is None else cells + injected_cell
        for t in reversed(range(T - 1)):
            cells[t] += self.carry[t + 1] * cells[t + 1]
        return Pulled(total, delta, hidden, cells)

    def without_output(self, cell: Tensor, total: Tensor) -> Tensor:
        """What reaches c_t but for the path through h_t, from all that does."""
        assert self.to_cell is not None
        w_hr = self.recurrence.w_hr
        return cell - self.to_cell * (total if w_hr is None else total @ w_hr)

    def from_total(
        self, total: Tensor, cell: Tensor | None, links: Sequence[bool]
    ) -> tuple[Pulled, Tensor, Tensor | None]:
        """All from what reaches each h_t (and c_t from later steps): what was injected is the rest.

        Returns:
            What was pulled, and what must have been injected at h_t and c_t, to rounding.
        """
        injected, hidden = total.clone(), []
        in_cell = None if cell is None else cell.clone()
        cells = None if cell is None else torch.empty_like(cell)
        for t in reversed(range(len(total))):
            gamma = self.at_cell(t, total[t], None if cell is None else cell[t])
            eta, g, before = self.back(t, total[t], gamma)
            hidden.append(eta)
            if cells is not None and gamma is not None:
                cells[t] = gamma
            if t and links[t]:
                injected[t - 1] -= g
                if in_cell is not None and before is not None:
                    in_cell[t - 1] -= before
        state_side = torch.stack(hidden[::-1])
        delta = state_side if self.reset is None else _repeated(total, 3) * self.to_preactivation
        return Pulled(total, delta, state_side, cells), injected, in_cell

    def to(self, dtype: torch.dtype) -> Linearisation:
        """The same derivative in another precision."""
        names = ("to_preactivation", "carry", "to_cell", "reset")
        cast = {n: getattr(self, n).to(dtype) for n in names if getattr(self, n) is not None}
        return replace(self, recurrence=self.recurrence.to(dtype), **cast)

    def push(self, t: int, tangent: Tensor) -> Tensor:
        """J_t applied to tangents of the whole state, (..., B, S): h, or h and c side by side."""
        return _PUSH[self.recurrence.kind](self, t, tangent)

    def jacobian(self, t: int) -> Tensor:
        """J_t = ∂state_t / ∂state_{t-1}, (B, S, S); the whole state (h, c) for the LSTM."""
        r, carry = self.recurrence, self.carry
        rows = self.to_hidden[t].unsqueeze(-1) * r.w_hh
        gates = rows.unflatten(1, (len(r.gates), r.hidden_size))
        if self.to_cell is None or carry is None:
            moved = gates.sum(1) if len(r.gates) > 1 else rows
            if carry is not None:
                moved.diagonal(dim1=1, dim2=2).add_(carry[t])
            return moved
        cell = torch.cat([gates[:, :3].sum(1), torch.diag_embed(carry[t])], -1)
        hidden = self.to_cell[t].unsqueeze(-1) * cell
        hidden[..., : r.output_size] += gates[:, 3]
        return torch.cat([hidden if r.w_hr is None else r.w_hr @ hidden, cell], 1)


@dataclass(frozen=True)
class Pulled:
    """What :meth:`Linearisation.pull` returns, in run order.

    Attributes:
        total: g_t = dL/dh_t, (..., T, B, H).
        delta: δ_t = dL/da_t, (..., T, B, G·H).
        hidden: dL/d(W_hh h_{t-1} + b_hh), which is δ_t but for the GRU's candidate, r ⊙ δ^n.
        cell: γ_t = dL/dc_t, LSTM only.
    """

    total: Tensor
    delta: Tensor
    hidden: Tensor
    cell: Tensor | None


def at_state_side(delta: Tensor, reset: Tensor | None) -> Tensor:
    """The gradient of W_hh h_{t-1} + b_hh from that of a_t; ``reset`` is the GRU's r."""
    if reset is None:
        return delta
    r, z, n = delta.chunk(3, -1)
    return torch.cat([r, z, reset * n], -1)


def _side_by_side(of: Callable[[str], Tensor], gates: Sequence[str]) -> Tensor:
    """What a function tells of each gate, (T, B, G·H); that of a single one as it is."""
    return of(gates[0]) if len(gates) == 1 else torch.cat([of(gate) for gate in gates], -1)


def _repeated(g: Tensor, times: int) -> Tensor:
    return g if times == 1 else torch.cat([g] * times, -1)


def run_order(sequence: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """``sequence`` (T, B, ·) with each sequence's valid steps turned round if ``reverse``.

    It is its own inverse: time order to run order and back.
    """
    if not reverse:
        return sequence
    if lengths is None:
        return sequence.flip(0)
    t = torch.arange(sequence.shape[0], device=sequence.device).unsqueeze(-1)
    source = torch.where(t < lengths, lengths - 1 - t, t)
    return sequence.gather(0, source.unsqueeze(-1).expand_as(sequence))


def valid(T: int, lengths: Tensor) -> Tensor:
    """(T, B) bool: which steps lie within each sequence; the same in time and in run order."""
    return torch.arange(T, device=lengths.device).unsqueeze(-1) < lengths


def sums(r: Recurrence, x: Tensor, previous: Tensor) -> Tensor:
    """What the units see of inputs and states, for all steps at once: ``Orbit.blocks``.

    Args:
        r: the layer.
        x: its input in run order, (T, B, I).
        previous: h_{t-1} in run order, (T, B, H).

    Returns:
        (T, B, ·, H): a block a gate; the GRU's candidate has W_in x + b_in and W_hn h + b_hn apart.
    """
    H = r.hidden_size
    u, v = linear(x, r.w_ih, r.b_ih), linear(previous, r.w_hh, r.b_hh)
    if r.kind == "gru":
        gates, m = u[..., : 2 * H] + v[..., : 2 * H], v[..., 2 * H :]
        return torch.cat([gates, u[..., 2 * H :], m], -1).unflatten(-1, (4, H))
    return (u + v).unflatten(-1, (len(r.gates), H))


def orbit(
    r: Recurrence,
    blocks: Tensor,
    states: Tensor,
    before: Tensor,
    cell: Tensor | None = None,
    narrow: bool = False,
) -> Orbit:
    """Everything inside a recurrence whose states are known.

    Args:
        r: the layer.
        blocks: of :func:`sums`; behind them c_t may stand, LSTM only.
        states: h_t in run order, (T, B, H).
        before: h_0 (B, H), or h_{t-1} of every step (T, B, H).
        cell: the same of c, LSTM only.
        narrow: see :class:`Orbit`.
    """
    if cell is not None and blocks.shape[2] == 4:
        i, f, g = (r.activation_of(p).value(blocks[:, :, k]) for k, p in enumerate("ifg"))
        written = i * g
        earlier = cell if cell.dim() == 3 else _cells_before(cell, written, f)
        c = torch.addcmul(written, f, earlier)
        blocks = torch.cat([blocks, c.unsqueeze(2)], 2)
    return Orbit(r, blocks, states, before, cell, narrow)


def _previous(before: Tensor, states: Tensor) -> Tensor:
    return before if before.dim() == 3 else torch.cat([before.unsqueeze(0), states[:-1]])


def _before(t: int, before: Tensor, states: Tensor) -> Tensor:
    """What :func:`_previous` holds at one step, (B, ·)."""
    if before.dim() == 3:
        return before[t]
    return states[t - 1] if t else before


def _cells_before(c0: Tensor, written: Tensor, keep: Tensor) -> Tensor:
    cells = torch.empty_like(written)
    for t in range(written.shape[0]):
        cells[t] = c0 if t == 0 else torch.addcmul(written[t - 1], keep[t - 1], cells[t - 1])
    return cells


def _linearise_elman(o: Orbit) -> Linearisation:
    leak, slope = o.recurrence.leak, o.slope_of("h")
    return Linearisation(o.recurrence, slope if leak == 1 else leak * slope, o.carry)


def _linearise_gru(o: Orbit) -> Linearisation:
    r, z, n = (o.value(gate) for gate in "rzn")
    to_n = (1 - z) * o.slope_of("n")
    to_r, to_z = to_n * o.blocks[:, :, 3] * o.slope_of("r"), (o.previous - n) * o.slope_of("z")
    return Linearisation(o.recurrence, torch.cat([to_r, to_z, to_n], -1), o.carry, reset=r)


def _linearise_lstm(o: Orbit) -> Linearisation:
    assert o.previous_cell is not None
    by = {"i": o.value("g"), "f": o.previous_cell, "g": o.value("i"), "o": o.value("c")}
    to_a = torch.cat([by[gate] * o.slope_of(gate) for gate in by], -1)
    return Linearisation(o.recurrence, to_a, o.carry, o.to_cell)


def _push_gated(lin: Linearisation, t: int, tangent: Tensor) -> Tensor:
    r = lin.recurrence
    through = linear(tangent, r.w_hh) * lin.to_hidden[t]
    moved = through if r.kind == "elman" else torch.stack(through.chunk(3, -1)).sum(0)
    return moved if lin.carry is None else moved + lin.carry[t] * tangent


def _push_lstm(lin: Linearisation, t: int, tangent: Tensor) -> Tensor:
    r = lin.recurrence
    assert lin.carry is not None and lin.to_cell is not None
    dh, dc = tangent.split([r.output_size, r.hidden_size], -1)
    i, f, g, o = (linear(dh, r.w_hh) * lin.to_preactivation[t]).chunk(4, -1)
    dc = lin.carry[t] * dc + i + f + g
    dh = o + lin.to_cell[t] * dc
    return torch.cat([dh if r.w_hr is None else linear(dh, r.w_hr), dc], -1)


_LINEARISE: dict[Kind, Callable[[Orbit], Linearisation]] = {
    "elman": _linearise_elman,
    "gru": _linearise_gru,
    "lstm": _linearise_lstm,
}
_PUSH: dict[Kind, Callable[[Linearisation, int, Tensor], Tensor]] = {
    "elman": _push_gated,
    "gru": _push_gated,
    "lstm": _push_lstm,
}
