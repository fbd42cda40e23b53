"""One layer in one direction: what it computes, and its derivative as a linear map, step by step.

Everything here is in *run order*: index 0 is the step the recurrence runs first, so a layer that
reads backwards needs no formula of its own (:func:`run_order` turns time into run order and back).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

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

    def activation_of(self, gate: str) -> Pointwise:
        """The activation of one block of the pre-activation."""
        if gate in ("h", "n", "g"):
            return self.phi
        assert self.phi_gate is not None
        return self.phi_gate

    def with_activation(self, phi: Pointwise) -> Recurrence:
        """The same weights with another φ in the state or the candidate (and on c, if it was there)."""
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

    Attributes:
        recurrence: the layer.
        previous: h_{t-1}.
        preactivation: a_t, all gates side by side, (T, B, G·H).
        slope: φ'(a_t), all gates side by side.
        gates: the value of every gate, (T, B, H) each.
        candidate: the GRU's W_hn h + b_hn, which its reset gate multiplies; None otherwise.
        cell: c_t; None but for the LSTM.
        previous_cell: c_{t-1}.
        cell_slope: ψ'(c_t).
        cell_value: ψ(c_t).
    """

    recurrence: Recurrence
    previous: Tensor
    preactivation: Tensor
    slope: Tensor
    gates: dict[str, Tensor]
    candidate: Tensor | None = None
    cell: Tensor | None = None
    previous_cell: Tensor | None = None
    cell_slope: Tensor | None = None
    cell_value: Tensor | None = None

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
        to_hidden: the same for the pre-activation as the state side sees it; differs from
            ``to_preactivation`` in the GRU's candidate, by the reset gate.
        carry: what goes from step to step outside the gates: 1 - leak, z or f.
        to_cell: o ψ'(c); None but for the LSTM.
    """

    recurrence: Recurrence
    to_preactivation: Tensor
    to_hidden: Tensor
    carry: Tensor | None
    to_cell: Tensor | None = None

    def pull(self, injected: Tensor, injected_cell: Tensor | None = None) -> Pulled:
        """Carry cotangents of the states back through all steps.

        Args:
            injected: what reaches each h_t from outside the recurrence, (..., T, B, H).
            injected_cell: the same for c_t, LSTM only.
        """
        if self.recurrence.kind == "lstm":
            return self._pull_lstm(injected, injected_cell)
        w, T = self.recurrence.w_hh, injected.shape[-3]
        total = torch.empty_like(injected)
        hidden = injected.new_empty(*injected.shape[:-1], w.shape[0])
        repeats = (1,) * (injected.dim() - 2) + (len(self.recurrence.gates),)
        g = torch.zeros_like(injected[..., 0, :, :])
        for t in reversed(range(T)):
            g = injected[..., t, :, :] + g
            total[..., t, :, :] = g
            eta = g.repeat(repeats) * self.to_hidden[t]
            hidden[..., t, :, :] = eta
            g = eta @ w if self.carry is None else torch.addcmul(eta @ w, self.carry[t], g)
        if self.to_preactivation is self.to_hidden:
            return Pulled(total, hidden, hidden, None)
        delta = total.repeat((1,) * (total.dim() - 1) + (len(self.recurrence.gates),))
        return Pulled(total, delta * self.to_preactivation, hidden, None)

    def _pull_lstm(self, injected: Tensor, injected_cell: Tensor | None) -> Pulled:
        w, w_hr, T = self.recurrence.w_hh, self.recurrence.w_hr, injected.shape[-3]
        H = self.recurrence.hidden_size
        assert self.carry is not None and self.to_cell is not None
        total = torch.empty_like(injected)
        delta = injected.new_empty(*injected.shape[:-1], w.shape[0])
        cells = injected.new_empty(*injected.shape[:-1], H)
        g = torch.zeros_like(injected[..., 0, :, :])
        gamma = injected.new_zeros(*injected.shape[:-3], injected.shape[-2], H)
        for t in reversed(range(T)):
            g = injected[..., t, :, :] + g
            total[..., t, :, :] = g
            g = g if w_hr is None else g @ w_hr
            if injected_cell is not None:
                gamma = gamma + injected_cell[..., t, :, :]
            gamma = torch.addcmul(gamma, g, self.to_cell[t])
            cells[..., t, :, :] = gamma
            eta = torch.cat([gamma, gamma, gamma, g], -1) * self.to_preactivation[t]
            delta[..., t, :, :] = eta
            gamma = gamma * self.carry[t]
            g = eta @ w
        return Pulled(total, delta, delta, cells)

    def push(self, t: int, tangent: Tensor) -> Tensor:
        """J_t applied to tangents of the whole state, (..., B, S): h, or h and c side by side."""
        return _PUSH[self.recurrence.kind](self, t, tangent)

    def jacobian(self, t: int) -> Tensor:
        """J_t = ∂state_t / ∂state_{t-1}, (B, S, S); the whole state (h, c) for the LSTM."""
        S, B = self.recurrence.state_size, self.to_hidden.shape[1]
        basis = torch.eye(S, dtype=self.to_hidden.dtype, device=self.to_hidden.device)
        return self.push(t, basis.unsqueeze(1).expand(S, B, S)).permute(1, 2, 0)


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


def orbit(r: Recurrence, x: Tensor, h0: Tensor, states: Tensor, c0: Tensor | None = None) -> Orbit:
    """Everything inside a recurrence whose states are known: one product for all steps.

    Args:
        r: the layer.
        x: its input in run order, (T, B, I).
        h0: its initial state, (B, H).
        states: h_t in run order, (T, B, H).
        c0: its initial cell state, LSTM only.
    """
    previous = torch.cat([h0.unsqueeze(0), states])[:-1]
    u, v = linear(x, r.w_ih, r.b_ih), linear(previous, r.w_hh, r.b_hh)
    H = r.hidden_size
    if r.kind == "elman":
        a = u + v
        return Orbit(r, previous, a, r.phi.slope(a), {})
    assert r.phi_gate is not None
    if r.kind == "gru":
        gates = u[..., : 2 * H] + v[..., : 2 * H]
        reset, update = r.phi_gate.value(gates).chunk(2, -1)
        m = v[..., 2 * H :]
        a_n = u[..., 2 * H :] + reset * m
        slope = torch.cat([r.phi_gate.slope(gates), r.phi.slope(a_n)], -1)
        values = {"r": reset, "z": update, "n": r.phi.value(a_n)}
        return Orbit(r, previous, torch.cat([gates, a_n], -1), slope, values, candidate=m)
    assert c0 is not None and r.phi_output is not None
    a = u + v
    a_i, a_f, a_g, a_o = a.chunk(4, -1)
    values = {
        "i": r.phi_gate.value(a_i),
        "f": r.phi_gate.value(a_f),
        "g": r.phi.value(a_g),
        "o": r.phi_gate.value(a_o),
    }
    blocks = zip("ifgo", (a_i, a_f, a_g, a_o), strict=True)
    slope = torch.cat([r.activation_of(gate).slope(block) for gate, block in blocks], -1)
    cells, written = [c0], values["i"] * values["g"]
    for t in range(x.shape[0]):
        cells.append(torch.addcmul(written[t], values["f"][t], cells[-1]))
    c = torch.stack(cells)
    return Orbit(
        r,
        previous,
        a,
        slope,
        values,
        cell=c[1:],
        previous_cell=c[:-1],
        cell_slope=r.phi_output.slope(c[1:]),
        cell_value=r.phi_output.value(c[1:]),
    )


def _linearise_elman(o: Orbit) -> Linearisation:
    leak = o.recurrence.leak
    if leak == 1:
        return Linearisation(o.recurrence, o.slope, o.slope, None)
    carry = o.slope.new_full((o.slope.shape[0], 1, 1), 1 - leak)
    return Linearisation(o.recurrence, leak * o.slope, leak * o.slope, carry)


def _linearise_gru(o: Orbit) -> Linearisation:
    r, z, n = o.gates["r"], o.gates["z"], o.gates["n"]
    slope_r, slope_z, slope_n = o.slope.chunk(3, -1)
    to_n = (1 - z) * slope_n
    gates = torch.cat([to_n * o.candidate * slope_r, (o.previous - n) * slope_z], -1)
    return Linearisation(
        o.recurrence, torch.cat([gates, to_n], -1), torch.cat([gates, r * to_n], -1), z
    )


def _linearise_lstm(o: Orbit) -> Linearisation:
    slope_i, slope_f, slope_g, slope_o = o.slope.chunk(4, -1)
    assert o.cell_slope is not None and o.cell_value is not None
    to_a = torch.cat(
        [
            o.gates["g"] * slope_i,
            o.previous_cell * slope_f,
            o.gates["i"] * slope_g,
            o.cell_value * slope_o,
        ],
        -1,
    )
    return Linearisation(o.recurrence, to_a, to_a, o.gates["f"], o.gates["o"] * o.cell_slope)


def _push_gated(lin: Linearisation, t: int, tangent: Tensor) -> Tensor:
    r = lin.recurrence
    through = linear(tangent, r.w_hh) * lin.to_hidden[t]
    moved = through if r.kind == "elman" else sum(through.chunk(3, -1))
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
