"""What both ways of the time loops use: rows of a tile moved, threads that meet, tiles in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from throughtime.activations.emit.lanes import Address, Code, Int
from throughtime.kernels.cpu.blocks import panel_vectors
from throughtime.kernels.cpu.frame import Frame
from throughtime.kernels.cpu.machine import Assembly

# looks at the others before a waiting side gives way to other threads at each
PATIENCE = 4000


def write_tiles(assembly: Assembly) -> None:
    """gather, gather_add, scatter, clear and wait."""
    for name, move in (("gather", copy), ("gather_add", add), ("scatter", _copy_back)):
        _write_rows(assembly, name, move)
    _write_clear(assembly)
    _write_wait(assembly)


def _vectors_of(at: Address, width: Int) -> Iterator[tuple[Int, tuple[Callable, Callable]]]:
    """(first element, how to read and write there) of each vector of a row, the last in part."""
    code, real = at.code, at.real
    assert real is not None
    W = code.width
    whole = (width // W) * W
    with code.repeat(whole, step=W) as i:
        yield i, (lambda at: at.lanes(), lambda at, v: at.put(v))
    with code.when(whole.is_("<", width)):
        some = code.first(width - whole, real)
        yield whole, (lambda at: at.some(some), lambda at, v: at.put_some(v, some))


def copy(far: Address, near: Address, width: Int) -> None:
    """A row from an array into a tile."""
    for i, (read, write) in _vectors_of(near, width):
        write(near + i, read(far + i))


def add(far: Address, near: Address, width: Int) -> None:
    """A row of an array onto that of a tile."""
    for i, (read, write) in _vectors_of(near, width):
        write(near + i, read(near + i) + read(far + i))


def _copy_back(far: Address, near: Address, width: Int) -> None:
    for i, (read, write) in _vectors_of(near, width):
        write(far + i, read(near + i))


def _write_rows(assembly: Assembly, name: str, move: Callable) -> None:
    """gather(frame, base, stride of t, of b, step, first row, rows, tile, pitch, width)."""
    with assembly.function(name, "faiiiiiaii") as (code, start, *arguments):
        base, t_stride, b_stride, step, first, rows, tile, pitch, width = arguments
        frame = Frame(code, start, assembly.real)
        T, backwards = frame["T"], frame["reverse"]
        plain = frame.absent("order")
        with code.builder.if_else(plain) as (all_alike, by_length):
            with all_alike:
                t = step + backwards * (T - step * 2 - 1)
                row = base + t * t_stride + first * b_stride
                with code.repeat(rows) as r:
                    move(row + r * b_stride, tile + r * pitch, width)
            with by_length:
                order = frame.integers("order") + first
                lengths = frame.integers("lengths") + first
                with code.repeat(rows) as r:
                    t = step + backwards * ((lengths + r).int() - step * 2 - 1)
                    row = base + t * t_stride + (order + r).int() * b_stride
                    move(row, tile + r * pitch, width)


def _write_clear(assembly: Assembly) -> None:
    """clear(frame, base, first row, rows, width): zeros beyond each length in a (T, B, width)."""
    with assembly.function("clear", "faiii") as (code, start, base, first, rows, width):
        frame = Frame(code, start, assembly.real)
        with code.unless(frame.absent("order")):
            order, lengths = frame.integers("order"), frame.integers("lengths")
            with code.repeat(rows) as r:
                row = base + (order + first + r).int() * width
                with code.repeat(frame["T"], start=(lengths + first + r).int()) as t:
                    at = row + t * frame["B"] * width
                    for i, (read, write) in _vectors_of(at, width):
                        write(at + i, read(at + i).like(0.0))


@dataclass(frozen=True)
class Part:
    """The columns of one side: whole panels of vectors, but for the last.

    Attributes:
        vectors: how many.
        start: the first column.
        width: columns that are there; the last vector may be padded.
    """

    vectors: Int
    start: Int
    width: Int

    @classmethod
    def of(cls, frame: Frame, code: Code, size: str, side: Int, sides: Int) -> Part:
        """Of the columns of states (``size`` "H") or inputs ("I")."""
        panel, W = panel_vectors(), code.width
        vectors = frame[{"H": "vectors", "I": "x_vectors"}[size]]
        each = (vectors + sides * panel - 1) // (sides * panel) * panel
        first = (side * each).at_most(vectors)
        own = (vectors - first).at_most(each)
        start, end = first * W, ((first + own) * W).at_most(frame[size])
        return cls(own, start, end - start.at_most(end))


def _write_wait(assembly: Assembly) -> None:
    """wait(frame, goal): until all sides together have come here so often; give way meanwhile."""
    with assembly.function("wait", "fi") as (code, start, goal):
        frame = Frame(code, start, assembly.real)
        frame.count("arrived")
        tries = code.variable(code.int(0))
        with code.repeat_while(lambda: frame.now("arrived").is_("<", goal)):
            tries.set(tries.get() + 1)
            with code.when(tries.get().is_(">", PATIENCE)):
                code.builder.call(frame.function("give_way", ir.VoidType()), [])


def meeting(assembly: Assembly, code: Code, start: Address, sides: Int) -> Callable[[], None]:
    """Code after which all sides have done what stands before it."""
    goal = code.variable(code.int(0))

    def meet() -> None:
        with code.when(sides.is_(">", 1)):
            goal.set(goal.get() + sides)
            assembly.call(code, "wait", start, goal.get())

    return meet


def clear(code: Code, at: Address, length: Int) -> None:
    """Zeros in so many numbers, whole vectors."""
    with code.repeat(length, step=code.width) as i:
        (at + i).put((at + i).lanes().like(0.0))


def pointwise(code: Code, frame: Frame, *arguments: Address | Int) -> None:
    """Call the function of the cell's activations."""
    values = [a.value for a in arguments]
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
    function = code.builder.inttoptr(frame["pointwise"].value, kind.as_pointer())
    code.builder.call(function, values)


@contextmanager
def tiles(code: Code, frame: Frame, worker: Int) -> Iterator[tuple[Int, Int]]:
    """(first row, rows) of each tile of a worker: always the same ones, so that sums are too."""
    tile = code.variable(worker)
    with code.repeat_while(lambda: tile.get().is_("<", frame["tiles"])):
        first = tile.get() * frame["rows"]
        yield first, (frame["B"] - first).at_most(frame["rows"])
        tile.set(tile.get() + frame["workers"])
