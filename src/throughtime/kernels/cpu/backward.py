"""The time loops of the three cells on the way back."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from llvmlite import ir

from throughtime.activations.emit.lanes import I64, Address, Code, Int
from throughtime.kernels.cpu.frame import Frame
from throughtime.kernels.cpu.machine import Assembly
from throughtime.kernels.cpu.pointwise import Shape
from throughtime.kernels.cpu.tiles import Part, clear, meeting, pointwise, tiles


def write_backward_loops(assembly: Assembly, name: str, shape: Shape) -> None:
    """prepare_backward and backward of a cell."""
    _write_prepare(assembly, name, shape)
    _write_flush(assembly, name, shape)
    _write_tile(assembly, name, shape)
    _write_clear_sums(assembly, name, shape)
    _write_loop(assembly, name)


def _write_prepare(assembly: Assembly, name: str, shape: Shape) -> None:
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


def _write_tile(assembly: Assembly, name: str, shape: Shape) -> None:
    """backward_tile(frame, side, sides, worker, first row, rows, scratch)."""
    with assembly.function(f"backward_tile_{name}", "fiiiiia") as (code, start, side, sides, *rest):
        worker, first, rows, scratch = rest
        frame = Frame(code, start, assembly.real)
        own, inputs_own = (Part.of(frame, code, size, side, sides) for size in "HI")
        meet = meeting(assembly, code, start, sides)
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
        told = frame["told"]
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

        clear(code, g, size)
        if shape.has_cell:
            clear(code, gc, size)
        clear(code, zeros, x_pitch)
        meet()
        state("dh_n", g)
        if shape.has_cell:
            state("dc_n", gc)
        alive, steps, depth = code.variable(rows), code.variable(T), code.variable(code.int(0))
        with code.when(by_length):
            steps.set(lengths.int())
            alive.set(code.int(0))
        longest = steps.get()

        def states_wanted():
            """Where h_{t-1} is read: by the units of a GRU, else by the gradient of W_hh alone."""
            return nullcontext() if name == "gru" else code.unless(frame.absent("dw_hh"))

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
            heard = count.at_most(told - first)
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
                    with states_wanted():
                        rows_of("gather", frame.numbers("h0"), (0, H), 0, h_here, count)
                    if shape.has_cell:
                        rows_of("gather", frame.numbers("c0"), (0, H), 0, c_before, count)
                with later:
                    with states_wanted():
                        rows_of("gather", frame.numbers("y"), outputs, step - 1, h_here, count)
                    if shape.has_cell:
                        source, strides = saved + H * shape.sums, (B * kept, kept)
                        rows_of("gather", source, strides, step - 1, c_before, count)
            with code.unless(frame.absent("dw_ih")):
                at, x = x_here + k * x_pitch, frame.numbers("x")
                rows_of("gather", x, inputs, step, at, count, inputs_own, x_pitch)
            for field, tile in (("total", g), ("carried", gc)):
                with code.unless(frame.absent(field)):
                    rows_of("scatter", frame.numbers(field), (told * H, H), step, tile, heard)
            stride = capacity * pitch
            tiles = (t + own.start for t in (c_before, h_here, g, gc, delta_here))
            pointwise(
                code, frame, a + own.start, size, *tiles, stride, count, own.vectors, pitch, theta,
                dtheta,
            )  # fmt: skip
            meet()
            with code.unless(frame.absent("delta")):
                width = H * shape.gates
                for gate, block in enumerate(shape.from_x):
                    out, tile = frame.numbers("delta") + H * gate, delta_here + stride * block
                    rows_of("scatter", out, (told * width, width), step, tile, heard)
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
                clear(code, frame.numbers(field) + size * worker, size)


def _write_loop(assembly: Assembly, name: str) -> None:
    """backward(frame, worker): run the tiles of a worker."""
    with assembly.function(f"backward_{name}", "fi", public=True) as (code, start, worker):
        frame = Frame(code, start, assembly.real)
        assembly.call(code, f"clear_sums_{name}", start, worker)
        scratch = frame.numbers("scratch") + frame["scratch_stride"] * worker
        with tiles(code, frame, worker) as (first, rows):
            arguments = start, 0, 1, worker, first, rows, scratch
            assembly.call(code, f"backward_tile_{name}", *arguments)
