"""Products of matrices that stay in the caches, blocked over registers.

A tile is a few rows of a batch, each padded to whole vectors. Weights are packed in panels of
``PANEL`` vectors, so that the innermost loop reads them in order.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from throughtime.activations.emit.lanes import I64, Address, Code, Int, Lanes, Variable, Word
from throughtime.kernels.cpu.machine import Assembly, host

Sums = list[list[Variable[Lanes]]]

# products from which on a sum is added in two halves
LONG = 64


def panel_vectors() -> int:
    """Vectors side by side in a panel of packed weights."""
    return 4 if host().registers == 32 else 2


def block_rows(vectors: int) -> int:
    """Rows of one register block that is so many vectors wide: accumulators stay in registers."""
    if host().registers == 32:
        return {4: 6, 3: 8, 2: 8, 1: 8}[vectors]
    return {2: 5, 1: 8}[vectors]


def write_blocks(assembly: Assembly) -> None:
    """All functions of this file."""
    for vectors in range(1, panel_vectors() + 1):
        _write_panel(assembly, vectors)
        _write_outer_panel(assembly, vectors)
    _write_over_panels(assembly, "product", "aiaiaiaiii", _product_panel)
    _write_over_panels(assembly, "outer", "aiaiiaiii", _outer_panel)
    _write_dots(assembly)
    _write_sums(assembly)
    _write_pack(assembly)


def _in_blocks(code: Code, rows: Int, size: int, block: Callable[[Int, int], None]) -> None:
    """``block(first row, rows in it)`` for all rows: blocks of ``size``, then of 4, 2 and 1.

    Few rows keep the processor waiting: of 5 no more are taken than leave blocks of 4 alone.
    """
    first = code.variable(code.int(0))
    for rows_of_block in (size, *(n for n in (4, 2, 1) if n < size)):
        at = first.get()
        count = (rows - at) // rows_of_block
        if rows_of_block == 5:
            count = count.at_most(rows - rows // 4 * 4)
        with code.repeat(count) as i:
            block(at + i * rows_of_block, rows_of_block)
        first.set(at + count * rows_of_block)


def _write_panel(assembly: Assembly, vectors: int) -> None:
    """product_v(a, lda, b, depth, init, ldi, c, ldc, rows): c = init + a b, b one packed panel.

    A long sum is that of its two halves: a single row adds both at once, since by itself it would
    wait for each addition, and in blocks of any size the bits are the same.
    """
    W = assembly.width
    with assembly.function(f"product_{vectors}", "aiaiaiaii") as (code, *arguments):
        a, lda, b, depth, init, ldi, c, ldc, rows = arguments
        long = depth.is_(">=", LONG)
        none = ir.Constant(I64, 0)
        second = Int(code, code.builder.select(long, (depth // 2).value, none))
        first = depth - second

        def started(starts: list[Address]) -> Sums:
            return [[code.variable((s + n * W).lanes()) for n in range(vectors)] for s in starts]

        def add(sums: Sums, lefts: list[Address], k: Int) -> None:
            at = b + k * (vectors * W)
            right = [(at + n * W).lanes() for n in range(vectors)]
            for of_row, row in zip(sums, lefts, strict=True):
                left = (row + k).splat()
                for n in range(vectors):
                    of_row[n].set(left.fma(right[n], of_row[n].get()))

        def clear(sums: Sums) -> None:
            for total in (t for of_row in sums for t in of_row):
                total.set(total.get().like(0.0))

        def one(row: Int) -> None:
            lefts, out = [a + row * lda], c + row * ldc
            sums, rest = started([init + row * ldi]), started([init + row * ldi])
            clear(rest)
            with code.repeat(second) as k:
                add(sums, lefts, k)
                add(rest, lefts, first + k)
            with code.repeat(first, start=second) as k:
                add(sums, lefts, k)
            for n in range(vectors):
                (out + n * W).put(sums[0][n].get() + rest[0][n].get())

        def several(row: Int, size: int) -> None:
            lefts = [a + (row + m) * lda for m in range(size)]
            outs = [c + (row + m) * ldc for m in range(size)]
            sums = started([init + (row + m) * ldi for m in range(size)])
            places = [(m, n) for m in range(size) for n in range(vectors)]
            with code.repeat(first) as k:
                add(sums, lefts, k)
            for m, n in places:
                (outs[m] + n * W).put(sums[m][n].get())
            with code.when(long):
                clear(sums)
                with code.repeat(depth, start=first) as k:
                    add(sums, lefts, k)
                for m, n in places:
                    at = outs[m] + n * W
                    at.put(at.lanes() + sums[m][n].get())

        def block(row: Int, size: int) -> None:
            one(row) if size == 1 else several(row, size)

        _in_blocks(code, rows, block_rows(vectors), block)


def _write_outer_panel(assembly: Assembly, vectors: int) -> None:
    """outer_v(p, ldp, q, ldq, depth, d, ldd, height): d[i] += Σ_k p[k, i] q[k]."""
    W = assembly.width
    with assembly.function(f"outer_{vectors}", "aiaiiaii") as (code, *arguments):
        p, ldp, q, ldq, depth, d, ldd, height = arguments

        def block(row: Int, size: int) -> None:
            outs = [d + (row + m) * ldd for m in range(size)]
            sums = [[code.variable((o + n * W).lanes()) for n in range(vectors)] for o in outs]
            left_at, right_at = code.variable(p + row), code.variable(q)
            with code.repeat(depth):
                left, right = left_at.get(), right_at.get()
                rights = [(right + n * W).lanes() for n in range(vectors)]
                for m in range(size):
                    factor = (left + m).splat()
                    for n in range(vectors):
                        sums[m][n].set(factor.fma(rights[n], sums[m][n].get()))
                left_at.set(left + ldp)
                right_at.set(right + ldq)
            for m in range(size):
                for n in range(vectors):
                    (outs[m] + n * W).put(sums[m][n].get())

        _in_blocks(code, height, block_rows(vectors), block)


def _write_over_panels(assembly: Assembly, name: str, kinds: str, one: Callable) -> None:
    """The function over any number of vectors: whole panels, then one of the rest."""
    with assembly.function(name, kinds) as (code, *arguments):
        *shared, vectors = arguments
        panel = panel_vectors()
        whole = vectors // panel
        with code.repeat(whole) as i:
            one(assembly, code, panel, i * panel, *shared)
        for rest in range(1, panel):
            with code.when((vectors - whole * panel).is_("==", rest)):
                one(assembly, code, rest, whole * panel, *shared)


def _product_panel(assembly, code, size, vector, a, lda, b, depth, init, ldi, c, ldc, rows):
    at = vector * assembly.width
    assembly.call(
        code, f"product_{size}", a, lda, b + at * depth, depth, init + at, ldi, c + at, ldc, rows
    )


def _outer_panel(assembly, code, size, vector, p, ldp, q, ldq, depth, d, ldd, height):
    at = vector * assembly.width
    assembly.call(code, f"outer_{size}", p, ldp, q + at, ldq, depth, d + at, ldd, height)


def _write_dots(assembly: Assembly) -> None:
    """dots(a, lda, w, depth, init, ldi, c, ldc, rows, height): c = init + a wᵀ, w as it lies.

    For the few steps that do not repay packing.
    """
    W, group = assembly.width, 8
    with assembly.function("dots", "aiaiaiaiii") as (code, *arguments):
        a, lda, w, depth, init, ldi, c, ldc, rows, height = arguments
        whole = (depth // W) * W
        with code.repeat(rows) as r:

            def block(first: Int, size: int, r: Int = r) -> None:
                row = a + r * lda
                weights = [w + (first + m) * depth for m in range(size)]
                zero = code.constant(assembly.real.type, 0.0)
                like = row.splat()
                sums = [code.variable(like.__class__(code, zero, like.real)) for _ in range(size)]
                with code.repeat(whole, step=W) as k:
                    x = (row + k).lanes()
                    for m in range(size):
                        sums[m].set(x.fma((weights[m] + k).lanes(), sums[m].get()))
                for m in range(size):
                    start = (init + r * ldi + first + m).scalar()
                    total = _horizontal(code, sums[m].get().value, start)
                    out = c + r * ldc + first + m
                    out.put_scalar(total)
                with code.repeat(depth, start=whole) as k:
                    x = (row + k).scalar()
                    for m in range(size):
                        out = c + r * ldc + first + m
                        product = code.builder.fmul(x, (weights[m] + k).scalar())
                        out.put_scalar(code.builder.fadd(out.scalar(), product))

            _in_blocks(code, height, group, block)


def _horizontal(code: Code, vector: Word, start: Word) -> Word:
    """Start + the sum over the lanes."""
    kind = "f32" if isinstance(start.type, ir.FloatType) else "f64"
    name = f"llvm.vector.reduce.fadd.v{code.width}{kind}"
    module = code.function.module
    known = module.globals.get(name)
    if known is None:
        known = ir.Function(module, ir.FunctionType(start.type, [start.type, vector.type]), name)
    return code.builder.call(known, [start, vector], fastmath=("reassoc",))


def _write_sums(assembly: Assembly) -> None:
    """sums(p, ldp, depth, out, vectors): out += Σ_k p[k]."""
    W = assembly.width
    with assembly.function("sums", "aiiai") as (code, p, ldp, depth, out, vectors):  # noqa: SIM117
        with code.repeat(vectors) as n:
            at = out + n * W
            total = code.variable(at.lanes())
            with code.repeat(depth) as k:
                total.set(total.get() + (p + k * ldp + n * W).lanes())
            at.put(total.get())


def _write_pack(assembly: Assembly) -> None:
    """Panels of a matrix B[k, n], n below ``width`` and zero beyond it.

    pack_transposed(w, ldw, depth, width, out): B[k, n] = w[n, k]; pack_rows: B[k, n] = w[k, n].
    """
    W = assembly.width
    with assembly.function("pack_transposed", "aiiia") as (code, w, ldw, depth, width, out):
        zero = ir.Constant(assembly.real.type, 0.0)
        for columns, to, first in _panels(code, W, depth, width, out):
            with code.repeat(columns) as j:
                n = first * W + j
                source = w + n * ldw
                with code.builder.if_else(n.is_("<", width)) as (inside, outside):
                    with inside, code.repeat(depth) as k:
                        (to + k * columns + j).put_scalar((source + k).scalar())
                    with outside, code.repeat(depth) as k:
                        (to + k * columns + j).put_scalar(zero)
    with assembly.function("pack_rows", "aiiia") as (code, w, ldw, depth, width, out):
        for columns, to, first in _panels(code, W, depth, width, out):
            with code.repeat(depth) as k, code.repeat(columns, step=W) as j:
                n = first * W + j
                lanes = (w + k * ldw + n).some(code.first(width - n, assembly.real))
                (to + k * columns + j).put(lanes)


def _panels(code: Code, W: int, depth: Int, width: Int, out: Address):
    """(columns, where it goes, first vector) of each panel, inside a loop over them."""
    vectors = (width + (W - 1)) // W
    with code.repeat(vectors, step=panel_vectors()) as first:
        yield (vectors - first).at_most(panel_vectors()) * W, out + first * W * depth, first


def packed_size(depth: int, width: int, lanes: int) -> int:
    """Numbers in the packed form of a (depth, width) matrix."""
    return depth * -(-width // lanes) * lanes
