"""What each cell does to one unit between two products, forwards and back, on vectors.

``blocks`` are the sums a unit sees, one a gate (GRU: r, z, W_in x + b_in and W_hn h + b_hn), and
for LSTM also the new cell state: with the outputs, all that the way back needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import sympy

from throughtime.activations.emit.lanes import Address, Code, Int, Lanes
from throughtime.activations.emit.llvm import Emission
from throughtime.activations.formula import Activation
from throughtime.kernels.cpu.machine import Assembly


@dataclass(frozen=True)
class Shape:
    """How many blocks a cell has and which the two products fill.

    Attributes:
        gates: rows of the weights over H.
        saved: blocks kept for the way back.
        from_x, from_h: block of each gate of W_ih x and of W_hh h.
        places: activations of the cell.
    """

    gates: int
    saved: int
    from_x: tuple[int, ...]
    from_h: tuple[int, ...]
    places: int

    @cached_property
    def sums(self) -> int:
        """Blocks that products fill."""
        return max(self.from_x + self.from_h) + 1

    @cached_property
    def has_cell(self) -> bool:
        """Whether there is a cell state besides the output."""
        return self.saved > self.sums


SHAPES = {
    "elman": Shape(1, 1, (0,), (0,), 1),
    "gru": Shape(3, 4, (0, 1, 2), (0, 1, 3), 2),
    "lstm": Shape(4, 5, (0, 1, 2, 3), (0, 1, 2, 3), 3),
}


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell with its activations: everything its machine code depends on but the format.

    Compared by identity; :func:`throughtime.kernels.cells.cell` gives the same one for the same
    activations.

    Attributes:
        name: ``"elman"``, ``"gru"`` or ``"lstm"``.
        activations: as the cell's function takes them.
        learnt: names of the parameters whose gradient is wanted, for each activation.
        leak: step of the leaky recurrence (elman).
        key: the cell as text, from which another process makes the same one.
    """

    name: str
    activations: tuple[Activation, ...]
    learnt: tuple[tuple[str, ...], ...]
    leak: float = 1.0
    key: str = ""

    @property
    def leaky(self) -> bool:
        """Whether there is a leak."""
        return self.leak != 1

    @property
    def shape(self) -> Shape:
        """Its blocks."""
        return SHAPES[self.name]

    @cached_property
    def rows(self) -> int:
        """Rows of theta: the parameters of all activations one after another, then the leak."""
        return sum(len(phi.parameters) for phi in self.activations) + self.leaky

    def first_row(self, place: int) -> int:
        """The row of the first parameter of an activation."""
        return sum(len(phi.parameters) for phi in self.activations[:place])

    @cached_property
    def text(self) -> str:
        """What tells its machine code from another's."""
        formulas = [
            (sympy.srepr(phi.expression), tuple(phi.parameters)) for phi in self.activations
        ]
        return repr((self.name, formulas, self.learnt, self.leaky))


@dataclass(frozen=True)
class Unit:
    """One vector of units at one time step: access to its blocks, parameters and gradients."""

    cell: Cell
    theta: Callable[[int], Address]
    dtheta: Callable[[int], Address]

    def activation(self, place: int, a: Lanes) -> Applied:
        """φ of the place at ``a``."""
        phi, first = self.cell.activations[place], self.cell.first_row(place)
        theta = {
            sympy.Symbol(name, real=True): self.theta(row).lanes()
            for row, name in enumerate(phi.parameters, first)
        }
        return Applied(self, place, first, Emission(a, theta))

    def leak(self) -> Lanes:
        """The leak, where there is one."""
        return self.theta(self.cell.rows - 1).lanes()


@dataclass(frozen=True)
class Applied:
    """An activation at a point."""

    unit: Unit
    place: int
    first: int
    emission: Emission

    @property
    def _phi(self) -> Activation:
        return self.unit.cell.activations[self.place]

    @property
    def value(self) -> Lanes:
        """φ(a)."""
        return self.emission.value(self._phi.expression)

    def pull(self, g: Lanes) -> Lanes:
        """φ'(a) g, of the gradient g that arrives at φ(a); parameters take theirs on the way."""
        for row, name in enumerate(self._phi.parameters, self.first):
            if name in self.unit.cell.learnt[self.place]:
                by = sympy.diff(self._phi.expression, sympy.Symbol(name, real=True))
                into = self.unit.dtheta(row)
                into.put(into.lanes() + g * self.emission.value(by))
        return g * self.slope

    @property
    def slope(self) -> Lanes:
        """φ'(a)."""
        return self.emission.value(self._phi.derivative_expression)


def elman(unit: Unit, a: list[Address], h: Address, c: Address) -> None:
    """H = (1 - leak) h + leak φ(a)."""
    new = unit.activation(0, a[0].lanes()).value
    if unit.cell.leaky:
        old = h.lanes()
        new = (new - old).fma(unit.leak(), old)
    h.put(new)


def elman_back(unit, a, c_before, h_before, g, gc, delta) -> None:
    """The gradient at h becomes δ and what passes by the activation."""
    past = arriving = g.lanes()
    if unit.cell.leaky:
        arriving = past * unit.leak()
    delta[0].put(unit.activation(0, a[0].lanes()).pull(arriving))
    g.put(past - arriving)


def gru(unit: Unit, a: list[Address], h: Address, c: Address) -> None:
    """H = (1 - z) n + z h with n = φ(a_n + r q)."""
    r = unit.activation(1, a[0].lanes()).value
    z = unit.activation(1, a[1].lanes()).value
    n = unit.activation(0, r.fma(a[3].lanes(), a[2].lanes())).value
    h.put(z.fma(h.lanes() - n, n))


def gru_back(unit, a, c_before, h_before, g, gc, delta) -> None:
    """δ of r, z, n and of q, the part of n's sum that r gates."""
    r, z = unit.activation(1, a[0].lanes()), unit.activation(1, a[1].lanes())
    q, arriving = a[3].lanes(), g.lanes()
    r_value, z_value = r.value, z.value
    n = unit.activation(0, r_value.fma(q, a[2].lanes()))
    by_n = n.pull(arriving - arriving * z_value)
    delta[0].put(r.pull(by_n * q))
    delta[1].put(z.pull(arriving * (h_before.lanes() - n.value)))
    delta[2].put(by_n)
    delta[3].put(by_n * r_value)
    g.put(arriving * z_value)


def lstm(unit: Unit, a: list[Address], h: Address, c: Address) -> None:
    """C = f c + i g and h = o ψ(c)."""
    i = unit.activation(1, a[0].lanes()).value
    f = unit.activation(1, a[1].lanes()).value
    candidate = unit.activation(0, a[2].lanes()).value
    new = f.fma(c.lanes(), i * candidate)
    c.put(new)
    a[4].put(new)
    o = unit.activation(1, a[3].lanes()).value
    h.put(o * unit.activation(2, new).value)


def lstm_back(unit, a, c_before, h_before, g, gc, delta) -> None:
    """δ of i, f, g, o; the gradient at h ends here, that at c goes on."""
    i, f, o = (unit.activation(1, a[k].lanes()) for k in (0, 1, 3))
    candidate, out = unit.activation(0, a[2].lanes()), unit.activation(2, a[4].lanes())
    arriving = g.lanes()
    delta[3].put(o.pull(arriving * out.value))
    at_c = out.pull(arriving * o.value) + gc.lanes()
    delta[0].put(i.pull(at_c * candidate.value))
    delta[1].put(f.pull(at_c * c_before.lanes()))
    delta[2].put(candidate.pull(at_c * i.value))
    gc.put(at_c * f.value)
    g.put(arriving.like(0.0))


FORWARD = {"elman": elman, "gru": gru, "lstm": lstm}
BACKWARD = {"elman": elman_back, "gru": gru_back, "lstm": lstm_back}


def write_forward(assembly: Assembly, cell: Cell) -> None:
    """forward(a, stride of blocks, h, c, rows, vectors, pitch, theta)."""
    with assembly.function("forward", "aiaaiiia", public=True) as (code, *arguments):
        a, stride, h, c, rows, vectors, pitch, theta = arguments
        for column, at in _units(code, rows, vectors, pitch):
            unit = Unit(cell, _row_of(theta, pitch, column), _row_of(theta, pitch, column))
            blocks = [a + stride * k + at for k in range(cell.shape.saved)]
            FORWARD[cell.name](unit, blocks, h + at, c + at)


def write_backward(assembly: Assembly, cell: Cell) -> None:
    """backward(a, stride, c and h before, g, gc, δ, stride, rows, vectors, pitch, θ, dθ)."""
    with assembly.function("backward", "aiaaaaaiiiiaa", public=True) as (code, *arguments):
        a, stride, c_before, h_before, g, gc, delta, delta_stride = arguments[:8]
        rows, vectors, pitch, theta, dtheta = arguments[8:]
        for column, at in _units(code, rows, vectors, pitch):
            unit = Unit(cell, _row_of(theta, pitch, column), _row_of(dtheta, pitch, column))
            blocks = [a + stride * k + at for k in range(cell.shape.saved)]
            deltas = [delta + delta_stride * k + at for k in range(cell.shape.sums)]
            places = c_before + at, h_before + at, g + at, gc + at
            BACKWARD[cell.name](unit, blocks, *places, deltas)


def write_curve(assembly: Assembly, cell: Cell) -> None:
    """Value and slope(a, out, vectors, theta): of the only activation, theta a vector a row."""
    for name in ("value", "slope"):
        with assembly.function(name, "aaia", public=True) as (code, a, out, vectors, theta):
            row = _row_of(theta, code.int(code.width), code.int(0))
            with code.repeat(vectors) as vector:
                at = vector * code.width
                applied = Unit(cell, row, row).activation(0, (a + at).lanes())
                (out + at).put(getattr(applied, name))


def _units(code: Code, rows: Int, vectors: Int, pitch: Int):
    """(first unit of a vector, its place in a tile), inside loops over both."""
    with code.repeat(rows) as row, code.repeat(vectors) as vector:
        column = vector * code.width
        yield column, row * pitch + column


def _row_of(theta: Address, pitch: Int, column: Int) -> Callable[[int], Address]:
    return lambda row: theta + pitch * row + column
