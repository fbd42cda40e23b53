"""The time loops of the three cells on the way forward."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from throughtime.activations.emit.lanes import I64, Address, Code, Int
from throughtime.kernels.cpu.frame import FIELDS, PLACE, Frame
from throughtime.kernels.cpu.machine import Assembly
from throughtime.kernels.cpu.pointwise import Shape
from throughtime.kernels.cpu.tiles import Part, add, clear, meeting, pointwise, tiles


def write_forward_loops(assembly: Assembly, name: str, shape: Shape) -> None:
    """prepare_forward, forward and step of a cell."""
    _write_prepare(assembly, name, shape)
    _write_tile(assembly, name, shape)
    _write_loop(assembly, name)
    _write_step(assembly, name, shape)


def _write_prepare(assembly: Assembly, name: str, shape: Shape) -> None:
    """(frame, side, sides): biases added up and padded; weights packed where there is room."""
    with assembly.function(f"prepare_forward_{name}", "fii", public=True) as (code, start, *at):
        frame = Frame(code, start, assembly.real)
        own = Part.of(frame, code, "H", *at)
        H, I, pitch = frame["H"], frame["I"], frame["pitch"]
        bias = frame.numbers("bias") + own.start
        for block in range(shape.sums):
            clear(code, bias + pitch * block, own.vectors * code.width)
        for field, blocks in (("b_ih", shape.from_x), ("b_hh", shape.from_h)):
            with code.unless(frame.absent(field)):
                for gate, block in enumerate(blocks):
                    given = frame.numbers(field) + H * gate + own.start
                    add(given, bias + pitch * block, own.width)
        for field, packed, depth in (("w_ih", "packed_ih", I), ("w_hh", "packed_hh", H)):
            with code.unless(frame.absent(packed)):
                for gate in range(shape.gates):
                    w = frame.numbers(field) + (H * gate + own.start) * depth
                    columns = frame["vectors"] * code.width * gate + own.start
                    to = frame.numbers(packed) + columns * depth
                    assembly.call(code, "pack_transposed", w, depth, depth, own.width, to)


def _write_tile(assembly: Assembly, name: str, shape: Shape) -> None:
    """forward_tile(frame, side, sides, first row, rows, scratch)."""
    with assembly.function(f"forward_tile_{name}", "fiiiia") as (code, start, side, sides, *rest):
        first, rows, scratch = rest
        frame = Frame(code, start, assembly.real)
        own, meet = Part.of(frame, code, "H", side, sides), meeting(assembly, code, start, sides)
        T, B, I, H = (frame[n] for n in "TBIH")
        pitch, vectors, x_pitch = frame["pitch"], frame["vectors"], frame["x_pitch"]
        size = rows * pitch
        h, c, a, gathered = (scratch + size * k for k in (0, 1, 2, 2 + shape.saved))
        bias = frame.numbers("bias")
        by_length = code.builder.not_(frame.absent("order"))
        lengths = frame.integers("lengths") + first

        def rows_of(kind, base, strides, step, tile, count):
            base, tile = base + own.start, tile + own.start
            assembly.call(
                code, kind, start, base, *strides, step, first, count, tile, pitch, own.width
            )

        def state(kind, field, tile):
            with code.unless(frame.absent(field)):
                rows_of(kind, frame.numbers(field), (0, H), 0, tile, rows)

        def product(left, lda, which, depth, gate, init, ldi, out, count):
            init, out = init + own.start, out + own.start
            given = left, lda

            def unpacked():
                w = frame.numbers(f"w_{which}") + (H * gate + own.start) * depth
                into = depth, init, ldi, out, pitch, count, own.width
                assembly.call(code, "dots", *given, w, *into)

            def packed():
                columns = vectors * code.width * gate + own.start
                w = frame.numbers(f"packed_{which}") + columns * depth
                into = depth, init, ldi, out, pitch, count, own.vectors
                assembly.call(code, "product", *given, w, *into)

            with code.builder.if_else(frame.absent(f"packed_{which}")) as (yes, no):
                with yes:
                    unpacked()
                with no:
                    packed()

        state("gather", "h0", h)
        state("gather", "c0", c)
        meet()
        alive, steps = code.variable(rows), code.variable(T)
        with code.when(by_length):
            steps.set(lengths.int())
        x_at, x_stride = code.variable(gathered), code.variable(x_pitch)
        with code.repeat(steps.get()) as step:
            with code.when(by_length), _while_dead(code, lengths, alive, step):
                alive.set(alive.get() - 1)
            count = alive.get()
            strides = frame["x_t"], frame["x_b"]
            with code.builder.if_else(by_length) as (scattered, together):
                with scattered:
                    assembly.call(
                        code, "gather", start, frame.numbers("x"), *strides, step, first, count,
                        gathered, x_pitch, I,
                    )  # fmt: skip
                with together:
                    t = step + frame["reverse"] * (T - step * 2 - 1)
                    x_at.set(frame.numbers("x") + t * strides[0] + first * strides[1])
                    x_stride.set(strides[1])
            for gate, block in enumerate(shape.from_x):
                out, init = a + size * block, bias + pitch * block
                product(x_at.get(), x_stride.get(), "ih", I, gate, init, 0, out, count)
            for gate, block in enumerate(shape.from_h):
                out, own_sum = a + size * block, block in shape.from_x
                init = (out, pitch) if own_sum else (bias + pitch * block, 0)
                product(h, pitch, "hh", H, gate, *init, out, count)
            meet()
            tiles = a + own.start, size, h + own.start, c + own.start
            theta = frame.numbers("theta") + own.start
            pointwise(code, frame, *tiles, count, own.vectors, pitch, theta)
            meet()
            rows_of("scatter", frame.numbers("y"), (B * H, H), step, h, count)
            with code.unless(frame.absent("saved")):
                width = H * shape.saved
                for block in range(shape.saved):
                    out, tile = frame.numbers("saved") + H * block, a + size * block
                    rows_of("scatter", out, (B * width, width), step, tile, count)
        state("scatter", "h_n", h)
        state("scatter", "c_n", c)
        with code.when(side.is_("==", 0)):
            assembly.call(code, "clear", start, frame.numbers("y"), first, rows, H)


@contextmanager
def _while_dead(code: Code, lengths: Address, alive, step: Int) -> Iterator[None]:
    """As long as the last of the rows held alive is over at this step."""

    def dead():
        last = alive.get() - 1
        some = last.is_(">=", 0)
        row = Int(code, code.builder.select(some, last.value, ir.Constant(I64, 0)))
        return code.builder.and_(some, (lengths + row).int().is_("<=", step))

    with code.repeat_while(dead):
        yield


def _write_loop(assembly: Assembly, name: str) -> None:
    """forward(frame, worker): run the tiles of a worker."""
    with assembly.function(f"forward_{name}", "fi", public=True) as (code, start, worker):
        frame = Frame(code, start, assembly.real)
        scratch = frame.numbers("scratch") + frame["scratch_stride"] * worker
        with tiles(code, frame, worker) as (first, rows):
            assembly.call(code, f"forward_tile_{name}", start, 0, 1, first, rows, scratch)


def _write_step(assembly: Assembly, name: str, shape: Shape) -> None:
    """step_NAME(frame, x, h, y), for LSTM also c and c_n: one step of all rows in own memory.

    The frame, which many threads may use at once, holds what stays the same from step to step.
    """
    fields = ("x", "h0", "y", "c0", "c_n")[: 5 if shape.has_cell else 3]
    kinds = "f" + "i" * len(fields)
    with assembly.function(f"step_{name}", kinds, public=True) as (code, given, *changing):
        start = code.room(len(FIELDS), None)
        for i in range(len(FIELDS)):
            (start + i).put_scalar((given + i).scalar())
        for field, value in zip(fields, changing, strict=True):
            (start + PLACE[field]).put_scalar(value.value)
        frame = Frame(code, start, assembly.real)
        scratch = code.room(frame["scratch_stride"], assembly.real)
        bias = code.builder.ptrtoint(scratch.value, I64)
        (start + PLACE["bias"]).put_scalar(bias)
        assembly.call(code, f"prepare_forward_{name}", start, 0, 1)
        own = scratch + frame["pitch"] * shape.sums
        assembly.call(code, f"forward_tile_{name}", start, 0, 1, 0, frame["B"], own)
