"""How all calls of one kind are run: threads, tiles and memory, worked out once and remembered."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from throughtime.activations.emit.lanes import REALS
from throughtime.kernels.cpu import pool
from throughtime.kernels.cpu.blocks import packed_size, panel_vectors
from throughtime.kernels.cpu.frame import FIELDS, PLACE
from throughtime.kernels.cpu.loops import write_loops
from throughtime.kernels.cpu.machine import Program, host, program
from throughtime.kernels.cpu.pointwise import Cell, write_backward, write_forward

NAMES = {torch.float32: "float32", torch.float64: "float64"}

# rows of a tile at most: more would leave the nearest cache
MOST_ROWS = 48
# multiplications that repay waking another thread
THREAD_WORK = 1.5e6
# up to so many rows for each thread they share the units instead, if each has so many
# multiplications for a row at a step, which repays waiting for each other at each
FEW_ROWS, SIDE_WORK = 2, 2.5e4
# steps times rows from which on packed weights repay the packing
PACKING_WORK = 6
# rows whose products with δ make one update of the gradients of the weights, and their bytes
GATHERED_ROWS, GATHERED_BYTES = 128, 1 << 22
# kinds of calls remembered
KINDS = 512


@cache
def loops(real: str) -> Program:
    """The time loops of all cells."""
    return program("loops", real, write_loops)


@cache
def pointwise(cell: Cell, real: str) -> tuple[Program, int, int]:
    """The cell's own code, and where in it the ways forward and back lie.

    Raises:
        NotEmittable: a formula uses a function that is not written for vectors.
    """

    def write(assembly):
        write_forward(assembly, cell)
        write_backward(assembly, cell)

    code = program(cell.text, real, write)
    return code, code.address("forward"), code.address("backward")


class Kind(NamedTuple):
    """What calls of one kind have in common.

    Attributes:
        cell: what runs.
        dtype: in which format.
        T: steps.
        B: rows.
        I: inputs.
        H: units.
        reverse: whether from the last step to the first.
        threads: at most.
        can_wait: whether they may wait for each other.
    """

    cell: Cell
    dtype: torch.dtype
    T: int
    B: int
    I: int
    H: int
    reverse: bool
    threads: int
    can_wait: bool

    @classmethod
    def of(cls, cell: Cell, x: Tensor, H: int, reverse: bool) -> Kind:
        """Of a call made now, on input ``x`` (T, B, I)."""
        T, B, I = x.shape
        return cls(cell, x.dtype, T, B, I, H, reverse, pool.threads(), pool.can_wait())


@dataclass(frozen=True)
class Sizes:
    """Sizes of one call and of its padded rows."""

    T: int
    B: int
    I: int
    H: int
    lanes: int
    bytes: int

    @classmethod
    def of(cls, dtype: torch.dtype, T: int, B: int, I: int, H: int) -> Sizes:
        """Of T steps of B rows of I numbers, and H units."""
        real = REALS[NAMES[dtype]]
        return cls(T, B, I, H, host().width(real), real.bytes)

    def vectors(self, width: int) -> int:
        """Vectors of a row."""
        return -(-width // self.lanes)

    def pitch(self, width: int) -> int:
        """Numbers from one row of a tile to the next; never a multiple of a page."""
        size = self.vectors(width) * self.lanes
        return size if size * self.bytes % 2048 else size + self.lanes

    def frame(self, **fields: int) -> array:
        """A frame of these sizes and fields; all others are 0, which is absent."""
        sizes = {
            "T": self.T, "B": self.B, "I": self.I, "H": self.H,
            "vectors": self.vectors(self.H), "pitch": self.pitch(self.H),
            "x_vectors": self.vectors(self.I), "x_pitch": self.pitch(self.I),
        }  # fmt: skip
        frame = array("q", [0] * len(FIELDS))
        for name, value in (sizes | fields).items():
            frame[PLACE[name]] = value
        return frame


@dataclass(frozen=True)
class Plan:
    """All of a call but where its arrays lie.

    Attributes:
        workers: threads that have tiles of their own.
        pitch, x_pitch: numbers from one row of H, of I to the next in padded arrays.
        memory: numbers of memory to work in.
    """

    workers: int
    pitch: int
    x_pitch: int
    memory: int
    _frame: array
    _inside: tuple[tuple[int, int], ...]
    _go: Callable[[array], None]

    def run(self, memory: Tensor, **fields: int) -> None:
        """Run the call.

        Args:
            memory: of ``memory`` numbers.
            fields: where arrays lie, and their strides.
        """
        frame, start = self._frame[:], memory.data_ptr()
        for place, offset in self._inside:
            frame[place] = start + offset
        for name, value in fields.items():
            frame[PLACE[name]] = value
        self._go(frame)


@lru_cache(KINDS)
def forward_plan(kind: Kind) -> Plan:
    """Of the way forward."""
    cell, dtype, T, B, I, H, reverse, *_ = kind
    shape, sizes = cell.shape, Sizes.of(dtype, T, B, I, H)
    pitch, x_pitch = sizes.pitch(H), sizes.pitch(I)
    sides, workers, rows = _division(kind, sizes, 1)
    per_worker = rows * (pitch * (2 + shape.saved) + x_pitch)
    packed = T * B >= PACKING_WORK
    parts = {
        "packed_ih": packed and shape.gates * packed_size(I, H, sizes.lanes),
        "packed_hh": packed and shape.gates * packed_size(H, H, sizes.lanes),
        "bias": shape.sums * pitch,
        "scratch": workers * per_worker,
    }
    frame = sizes.frame(
        workers=workers, tiles=-(-B // rows), rows=rows, reverse=reverse,
        pointwise=pointwise(cell, NAMES[dtype])[1], scratch_stride=per_worker,
    )  # fmt: skip
    return _plan(sizes, workers, parts, frame, _goer(cell, dtype, "forward", workers, sides))


@lru_cache(KINDS)
def backward_plan(kind: Kind, dx: bool) -> Plan:
    """Of the way back; ``dx``: whether the gradient of the input is wanted."""
    cell, dtype, T, B, I, H, reverse, *_ = kind
    shape, sizes = cell.shape, Sizes.of(dtype, T, B, I, H)
    pitch, x_pitch = sizes.pitch(H), sizes.pitch(I)
    sides, workers, rows = _division(kind, sizes, 2)
    gathered = pitch * (shape.sums + 1) + x_pitch
    most = min(GATHERED_ROWS, T * rows, GATHERED_BYTES // (sizes.bytes * gathered))
    capacity = max(rows, most)
    per_worker = rows * ((3 + shape.saved) * pitch + x_pitch) + x_pitch + capacity * gathered
    parts = {
        "packed_ih": dx and shape.gates * packed_size(H, I, sizes.lanes),
        "packed_hh": shape.gates * packed_size(H, H, sizes.lanes),
        "scratch": workers * per_worker,
    }
    frame = sizes.frame(
        workers=workers, tiles=-(-B // rows), rows=rows, reverse=reverse, capacity=capacity,
        pointwise=pointwise(cell, NAMES[dtype])[2], scratch_stride=per_worker,
        theta_rows=cell.rows if any(cell.learnt) else 0,
    )  # fmt: skip
    return _plan(sizes, workers, parts, frame, _goer(cell, dtype, "backward", workers, sides))


def _plan(
    sizes: Sizes, workers: int, parts: dict[str, int], frame: array, go: Callable[[array], None]
) -> Plan:
    """With the parts of the memory one after another; those of no numbers are absent."""
    inside, end = [], 0
    for name, numbers in parts.items():
        if numbers:
            inside.append((PLACE[name], end * sizes.bytes))
            end += numbers
    return Plan(workers, sizes.pitch(sizes.H), sizes.pitch(sizes.I), end, frame, tuple(inside), go)


def _division(kind: Kind, sizes: Sizes, products: int) -> tuple[int, int, int]:
    """(sides, workers, rows of a tile): where there are few rows, several sides share one tile.

    Args:
        kind: of the call.
        sizes: of the call.
        products: with the weights or of their size, at each step.
    """
    B, threads = kind.B, kind.threads
    work = kind.cell.shape.gates * kind.H * (kind.H + kind.I)
    if kind.can_wait and B / threads <= FEW_ROWS:
        panels = -(-sizes.vectors(kind.H) // panel_vectors())
        sides = min(threads, panels, int(work / SIDE_WORK))
        if sides > 1:
            return sides, 1, max(1, B)
    workers = max(1, min(threads, B, int(products * work * kind.T * B / THREAD_WORK)))
    tiles = workers * max(1, -(-B // (workers * MOST_ROWS)))
    return 1, workers, max(1, -(-B // tiles))


def _goer(
    cell: Cell, dtype: torch.dtype, way: str, workers: int, sides: int
) -> Callable[[array], None]:
    """What runs a frame: one tile by several sides, or tiles by workers."""
    code, name = loops(NAMES[dtype]), f"{way}_{cell.name}"
    if sides > 1:
        together = code.address(f"sides_{name}")
        return lambda frame: pool.side_by_side(together, frame, sides)
    prepare, work = code.function(f"prepare_{name}", 3), code.function(name, 2)
    team = code.address(f"team_{name}")

    def alone(frame: array) -> None:
        at = frame.buffer_info()[0]
        prepare(at, 0, 1)
        work(at, 0)

    def in_team(frame: array) -> None:
        at = frame.buffer_info()[0]
        prepare(at, 0, 1)
        left = lambda: workers - frame[PLACE["next_worker"]]  # noqa: E731
        pool.together(pool.Work(lambda worker: work(at, worker), (team, at), left), workers)

    return alone if workers == 1 else in_team
