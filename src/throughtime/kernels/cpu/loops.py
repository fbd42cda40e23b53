"""The time loops of the three cells, forwards and back, over tiles of rows of the batch.

A tile runs through all time steps by itself: nothing is shared between tiles but weights, so any
number of threads gives the same outputs. Rows of a tile are sorted by length, longest first: at
each step those still alive are the first ones, and nothing is computed on padding.

Where there are few rows and many units, several threads share one tile instead: each is a side
that has its own units, and all wait for each other where one reads what another wrote. Each sum is
formed in the same order, so again the outputs are the same.
"""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from throughtime.activations.emit.lanes import I64, Address, Code, Int
from throughtime.kernels.cpu.blocks import panel_vectors, write_blocks
from throughtime.kernels.cpu.frame import FIELDS, PLACE, Frame
from throughtime.kernels.cpu.machine import Assembly
from throughtime.kernels.cpu.pointwise import SHAPES, Shape

# looks at the others before a waiting side gives way to other threads at each
PATIENCE = 4000


def write_loops(assembly: Assembly) -> None:
    """forward, backward and the packing of weights before each, for every cell."""
    write_blocks(assembly)
    for name, move in (("gather", _copy), ("gather_add", _add), ("scatter", _copy_back)):
        _write_rows(assembly, name, move)
    _write_clear(assembly)
    _write_wait(assembly)
    for name, shape in SHAPES.items():
        _write_prepare_forward(assembly, name, shape)
        _write_forward_tile(assembly, name, shape)
        _write_forward(assembly, name)
        _write_prepare_backward(assembly, name, shape)
        _write_flush(assembly, name, shape)
        _write_backward_tile(assembly, name, shape)
        _write_clear_sums(assembly, name, shape)
        _write_backward(assembly, name)
        _write_step(assembly, name, shape)
        for way in ("forward", "backward"):
            _write_team(assembly, f"{way}_{name}")
            _write_sides(assembly, way, name)


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


def _copy(far: Address, near: Address, width: Int) -> None:
    for i, (read, write) in _vectors_of(near, width):
        write(near + i, read(far + i))


def _add(far: Address, near: Address, width: Int) -> None:
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


def _meeting(assembly: Assembly, code: Code, start: Address, sides: Int) -> Callable[[], None]:
    """Code after which all sides have done what stands before it."""
    goal = code.variable(code.int(0))

    def meet() -> None:
        with code.when(sides.is_(">", 1)):
            goal.set(goal.get() + sides)
            assembly.call(code, "wait", start, goal.get())

    return meet


def _write_prepare_forward(assembly: Assembly, name: str, shape: Shape) -> None:
    """(frame, side, sides): biases added up and padded; weights packed where there is room."""
    with assembly.function(f"prepare_forward_{name}", "fii", public=True) as (code, start, *at):
        frame = Frame(code, start, assembly.real)
        own = Part.of(frame, code, "H", *at)
        H, I, pitch = frame["H"], frame["I"], frame["pitch"]
        bias = frame.numbers("bias") + own.start
        for block in range(shape.sums):
            _clear(code, bias + pitch * block, own.vectors * code.width)
        for field, blocks in (("b_ih", shape.from_x), ("b_hh", shape.from_h)):
            with code.unless(frame.absent(field)):
                for gate, block in enumerate(blocks):
                    given = frame.numbers(field) + H * gate + own.start
                    _add(given, bias + pitch * block, own.width)
        for field, packed, depth in (("w_ih", "packed_ih", I), ("w_hh", "packed_hh", H)):
            with code.unless(frame.absent(packed)):
                for gate in range(shape.gates):
                    w = frame.numbers(field) + (H * gate + own.start) * depth
                    columns = frame["vectors"] * code.width * gate + own.start
                    to = frame.numbers(packed) + columns * depth
                    assembly.call(code, "pack_transposed", w, depth, depth, own.width, to)


def _clear(code: Code, at: Address, length: Int) -> None:
    with code.repeat(length, step=code.width) as i:
        (at + i).put((at + i).lanes().like(0.0))


def _write_forward_tile(assembly: Assembly, name: str, shape: Shape) -> None:
    """forward_tile(frame, side, sides, first row, rows, scratch)."""
    with assembly.function(f"forward_tile_{name}", "fiiiia") as (code, start, side, sides, *rest):
        first, rows, scratch = rest
        frame = Frame(code, start, assembly.real)
        own, meet = Part.of(frame, code, "H", side, sides), _meeting(assembly, code, start, sides)
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
            _pointwise(code, frame, *tiles, count, own.vectors, pitch, theta)
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


def _pointwise(code: Code, frame: Frame, *arguments: Address | Int) -> None:
    """Call the function of the cell's activations."""
    values = [a.value for a in arguments]
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
    function = code.builder.inttoptr(frame["pointwise"].value, kind.as_pointer())
    code.builder.call(function, values)


@contextmanager
def _tiles(code: Code, frame: Frame, worker: Int) -> Iterator[tuple[Int, Int]]:
    """(first row, rows) of each tile of a worker: always the same ones, so that sums are too."""
    tile = code.variable(worker)
    with code.repeat_while(lambda: tile.get().is_("<", frame["tiles"])):
        first = tile.get() * frame["rows"]
        yield first, (frame["B"] - first).at_most(frame["rows"])
        tile.set(tile.get() + frame["workers"])


def _write_forward(assembly: Assembly, name: str) -> None:
    """forward(frame, worker): run the tiles of a worker."""
    with assembly.function(f"forward_{name}", "fi", public=True) as (code, start, worker):
        frame = Frame(code, start, assembly.real)
        scratch = frame.numbers("scratch") + frame["scratch_stride"] * worker
        with _tiles(code, frame, worker) as (first, rows):
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


def _write_team(assembly: Assembly, name: str) -> None:
    """team_NAME(frame): NAME for the next worker that nobody is yet, if there is one."""
    with assembly.function(f"team_{name}", "f", public=True) as (code, start):
        frame = Frame(code, start, assembly.real)
        worker = frame.take_worker()
        with code.when(worker.is_("<", frame["workers"])):
            assembly.call(code, name, start, worker)


def _write_sides(assembly: Assembly, way: str, name: str) -> None:
    """sides_WAY_NAME(frame): one side of the only tile; as many as the team has threads."""
    with assembly.function(f"sides_{way}_{name}", "f", public=True) as (code, start):
        frame = Frame(code, start, assembly.real)
        size = code.builder.call(frame.function("team_size", ir.IntType(32)), [])
        sides = Int(code, code.builder.zext(size, I64))
        side = frame.take_worker()
        assembly.call(code, f"prepare_{way}_{name}", start, side, sides)
        if way == "backward":
            with code.when(side.is_("==", 0)):
                assembly.call(code, f"clear_sums_{name}", start, 0)
        worker = (0,) if way == "backward" else ()
        arguments = *worker, 0, frame["B"], frame.numbers("scratch")
        assembly.call(code, f"{way}_tile_{name}", start, side, sides, *arguments)


def _write_prepare_backward(assembly: Assembly, name: str, shape: Shape) -> None:
    """(frame, side, sides): weights packed for the way back."""
    with assembly.function(f"prepare_backward_{name}", "fii", public=True) as (code, start, *at):
        frame = Frame(code, start, assembly.real)
        H = frame["H"]
        kinds = ("w_ih", "packed_ih", "I", "x_vectors"), ("w_hh", "packed_hh", "H", "vectors")
        for field, packed, size, vectors in kinds:
            own, width = Part.of(frame, code, size, *at), frame[size]
            with code.unless(frame.absent(packed)):
                for gate in range(shape.gates):
                    w = frame.numbers(field) + H * width * gate + own.start
                    columns = frame[vectors] * code.width * gate + own.start
                    to = frame.numbers(packed) + columns * H
                    assembly.call(code, "pack_rows", w, width, H, own.width, to)


def _write_flush(assembly: Assembly, name: str, shape: Shape) -> None:
    """flush(frame, side, sides, worker, depth, δ, h, x): what is gathered enters the gradients.

    Those of the weights; a side adds up the rows of its own units.
    """
    with assembly.function(f"flush_{name}", "fiiiiaaa") as (code, start, side, sides, *rest):
        worker, depth, delta, h, x = rest
        frame = Frame(code, start, assembly.real)
        part = Part.of(frame, code, "H", side, sides)
        H, pitch, x_pitch = frame["H"], frame["pitch"], frame["x_pitch"]
        stride = frame["capacity"] * pitch
        kinds = (
            ("dw_ih", shape.from_x, x, x_pitch, "x_vectors"),
            ("dw_hh", shape.from_h, h, pitch, "vectors"),
        )
        for field, blocks, right, width, vectors in kinds:
            with code.unless(frame.absent(field)):
                size = H * width
                own = frame.numbers(field) + size * shape.gates * worker
                for gate, block in enumerate(blocks):
                    left = delta + stride * block + part.start
                    out = own + size * gate + part.start * width
                    assembly.call(
                        code, "outer", left, pitch, right, width, depth, out, width, part.width,
                        frame[vectors],
                    )  # fmt: skip
        with code.unless(frame.absent("db")):
            own = frame.numbers("db") + pitch * shape.sums * worker + part.start
            for block in range(shape.sums):
                left, out = delta + stride * block + part.start, own + pitch * block
                assembly.call(code, "sums", left, pitch, depth, out, part.vectors)


def _write_backward_tile(assembly: Assembly, name: str, shape: Shape) -> None:
    """backward_tile(frame, side, sides, worker, first row, rows, scratch)."""
    with assembly.function(f"backward_tile_{name}", "fiiiiia") as (code, start, side, sides, *rest):
        worker, first, rows, scratch = rest
        frame = Frame(code, start, assembly.real)
        own, inputs_own = (Part.of(frame, code, size, side, sides) for size in "HI")
        meet = _meeting(assembly, code, start, sides)
        T, B, I, H = (frame[n] for n in "TBIH")
        pitch, vectors = frame["pitch"], frame["vectors"]
        x_pitch, x_vectors, capacity = frame["x_pitch"], frame["x_vectors"], frame["capacity"]
        size = rows * pitch
        g, gc, c_before = (scratch + size * k for k in range(3))
        a = scratch + size * 3
        x_gradient = a + size * shape.saved
        zeros = x_gradient + rows * x_pitch
        delta = zeros + x_pitch
        h_before = delta + capacity * pitch * shape.sums
        x_here = h_before + capacity * pitch
        saved, kept = frame.numbers("saved"), H * shape.saved
        theta = frame.numbers("theta") + own.start
        dtheta = frame.numbers("dtheta") + frame["theta_rows"] * pitch * worker + own.start
        by_length = code.builder.not_(frame.absent("order"))
        lengths = frame.integers("lengths") + first
        outputs, inputs = (B * H, H), (frame["x_t"], frame["x_b"])

        def rows_of(kind, base, strides, step, tile, count, part=own, tile_pitch=pitch):
            base, tile = base + part.start, tile + part.start
            assembly.call(
                code, kind, start, base, *strides, step, first, count, tile, tile_pitch, part.width
            )

        def state(field, tile):
            with code.unless(frame.absent(field)):
                rows_of("gather", frame.numbers(field), (0, H), 0, tile, rows)

        _clear(code, g, size)
        if shape.has_cell:
            _clear(code, gc, size)
        _clear(code, zeros, x_pitch)
        meet()
        state("dh_n", g)
        if shape.has_cell:
            state("dc_n", gc)
        alive, steps, depth = code.variable(rows), code.variable(T), code.variable(code.int(0))
        with code.when(by_length):
            steps.set(lengths.int())
            alive.set(code.int(0))
        longest = steps.get()

        def flush():
            gathered = depth.get(), delta, h_before, x_here
            assembly.call(code, f"flush_{name}", start, side, sides, worker, *gathered)
            depth.set(code.int(0))
            meet()

        with code.repeat(longest) as i:
            step = longest - i - 1
            with code.when(by_length), _while_awake(code, lengths, alive, rows, step):
                alive.set(alive.get() + 1)
            count = alive.get()
            with code.unless(frame.absent("dy")):
                strides = frame["dy_t"], frame["dy_b"]
                rows_of("gather_add", frame.numbers("dy"), strides, step, g, count)
            with code.when((depth.get() + count).is_(">", capacity)):
                flush()
            k = depth.get()
            h_here, delta_here = h_before + k * pitch, delta + k * pitch
            for block in range(shape.saved):
                source, tile = saved + H * block, a + size * block
                rows_of("gather", source, (B * kept, kept), step, tile, count)
            with code.builder.if_else(step.is_("==", 0)) as (at_start, later):
                with at_start:
                    rows_of("gather", frame.numbers("h0"), (0, H), 0, h_here, count)
                    if shape.has_cell:
                        rows_of("gather", frame.numbers("c0"), (0, H), 0, c_before, count)
                with later:
                    rows_of("gather", frame.numbers("y"), outputs, step - 1, h_here, count)
                    if shape.has_cell:
                        source, strides = saved + H * shape.sums, (B * kept, kept)
                        rows_of("gather", source, strides, step - 1, c_before, count)
            with code.unless(frame.absent("dw_ih")):
                at, x = x_here + k * x_pitch, frame.numbers("x")
                rows_of("gather", x, inputs, step, at, count, inputs_own, x_pitch)
            for field, tile in (("total", g), ("carried", gc)):
                with code.unless(frame.absent(field)):
                    rows_of("scatter", frame.numbers(field), (B * H, H), step, tile, count)
            stride = capacity * pitch
            tiles = (t + own.start for t in (c_before, h_here, g, gc, delta_here))
            _pointwise(
                code, frame, a + own.start, size, *tiles, stride, count, own.vectors, pitch, theta,
                dtheta,
            )  # fmt: skip
            meet()
            with code.unless(frame.absent("delta")):
                width = H * shape.gates
                for gate, block in enumerate(shape.from_x):
                    out, tile = frame.numbers("delta") + H * gate, delta_here + stride * block
                    rows_of("scatter", out, (B * width, width), step, tile, count)
            mine = g + own.start
            for gate, block in enumerate(shape.from_h):
                w = frame.numbers("packed_hh") + (vectors * code.width * gate + own.start) * H
                left = delta_here + stride * block
                assembly.call(
                    code, "product", left, pitch, w, H, mine, pitch, mine, pitch, count, own.vectors
                )
            with code.unless(frame.absent("dx")):
                into = x_gradient + inputs_own.start
                for gate, block in enumerate(shape.from_x):
                    columns = x_vectors * code.width * gate + inputs_own.start
                    w = frame.numbers("packed_ih") + columns * H
                    left = delta_here + stride * block
                    init = (into, x_pitch) if gate else (zeros, 0)
                    assembly.call(
                        code, "product", left, pitch, w, H, *init, into, x_pitch, count,
                        inputs_own.vectors,
                    )  # fmt: skip
                out = frame.numbers("dx")
                rows_of("scatter", out, (B * I, I), step, x_gradient, count, inputs_own, x_pitch)
            depth.set(k + count)
        flush()
        rows_of("scatter", frame.numbers("dh0"), (0, H), 0, g, rows)
        if shape.has_cell:
            rows_of("scatter", frame.numbers("dc0"), (0, H), 0, gc, rows)
        padded = code.builder.and_(side.is_("==", 0), code.builder.not_(frame.absent("dx")))
        with code.when(padded):
            assembly.call(code, "clear", start, frame.numbers("dx"), first, rows, I)


@contextmanager
def _while_awake(code: Code, lengths: Address, alive, rows: Int, step: Int) -> Iterator[None]:
    """As long as the next row is long enough to be alive at this step."""

    def awake():
        some = alive.get().is_("<", rows)
        row = Int(code, code.builder.select(some, alive.get().value, ir.Constant(I64, 0)))
        return code.builder.and_(some, (lengths + row).int().is_(">", step))

    with code.repeat_while(awake):
        yield


def _write_clear_sums(assembly: Assembly, name: str, shape: Shape) -> None:
    """clear_sums(frame, worker): a worker's sums start at zero."""
    with assembly.function(f"clear_sums_{name}", "fi") as (code, start, worker):
        frame = Frame(code, start, assembly.real)
        H, pitch, x_pitch = frame["H"], frame["pitch"], frame["x_pitch"]
        sizes = {
            "dw_ih": H * x_pitch * shape.gates,
            "dw_hh": H * pitch * shape.gates,
            "db": pitch * shape.sums,
            "dtheta": pitch * frame["theta_rows"],
        }
        for field, size in sizes.items():
            with code.unless(frame.absent(field)):
                _clear(code, frame.numbers(field) + size * worker, size)


def _write_backward(assembly: Assembly, name: str) -> None:
    """backward(frame, worker): run the tiles of a worker."""
    with assembly.function(f"backward_{name}", "fi", public=True) as (code, start, worker):
        frame = Frame(code, start, assembly.real)
        assembly.call(code, f"clear_sums_{name}", start, worker)
        scratch = frame.numbers("scratch") + frame["scratch_stride"] * worker
        with _tiles(code, frame, worker) as (first, rows):
            arguments = start, 0, 1, worker, first, rows, scratch
            assembly.call(code, f"backward_tile_{name}", *arguments)
