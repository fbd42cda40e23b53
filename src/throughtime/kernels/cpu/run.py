"""Calls of the time loops on tensors: memory, tiles, threads."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from throughtime.activations.emit.lanes import REALS
from throughtime.kernels.cpu import pool
from throughtime.kernels.cpu.blocks import packed_size, panel_vectors
from throughtime.kernels.cpu.frame import FIELDS, PLACE
from throughtime.kernels.cpu.loops import write_loops
from throughtime.kernels.cpu.machine import Program, host, program
from throughtime.kernels.cpu.pages import empty
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


@cache
def _loops(real: str) -> Program:
    return program("loops", real, write_loops)


@cache
def entry(real: str, name: str, arguments: int):
    """A function of the time loops."""
    return _loops(real).function(name, arguments)


@cache
def _address(real: str, name: str) -> int:
    return _loops(real).address(name)


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


def compiled(cell: Cell, dtype: torch.dtype) -> None:
    """Compile what a cell needs, or load it from disk.

    Raises:
        NotEmittable: a formula uses a function that is not written for vectors.
    """
    _loops(NAMES[dtype])
    pointwise(cell, NAMES[dtype])


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
    def of(cls, x: Tensor, H: int) -> Sizes:
        """Of input ``x`` (T, B, I) and H units."""
        real = REALS[NAMES[x.dtype]]
        T, B, I = x.shape
        return cls(T, B, I, H, host().width(real), real.bytes)

    def vectors(self, width: int) -> int:
        """Vectors of a row."""
        return -(-width // self.lanes)

    def pitch(self, width: int) -> int:
        """Numbers from one row of a tile to the next; never a multiple of a page."""
        size = self.vectors(width) * self.lanes
        return size if size * self.bytes % 2048 else size + self.lanes


def frame_of(**fields: int) -> array:
    """The frame with these fields; all others are 0, which is absent."""
    values = [0] * len(FIELDS)
    for name, value in fields.items():
        values[PLACE[name]] = value
    return array("q", values)


def _go(real: str, way: str, name: str, frame: array, workers: int, sides: int) -> None:
    """Run a frame: tiles by workers, or the one tile by several sides."""
    if sides > 1:
        pool.side_by_side(_address(real, f"sides_{way}_{name}"), frame, sides)
        return
    entry(real, f"prepare_{way}_{name}", 3)(frame.buffer_info()[0], 0, 1)
    pool.together(_work(real, f"{way}_{name}", frame, workers), workers)


def _work(real: str, name: str, frame: array, workers: int) -> pool.Work:
    """What a team does with a frame."""
    run, address = entry(real, name, 2), frame.buffer_info()[0]
    return pool.Work(
        lambda worker: run(address, worker),
        (_address(real, f"team_{name}"), address),
        lambda: workers - frame[PLACE["next_worker"]],
    )


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return like.new_zeros(shape)


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _workers(work: float, most: int) -> int:
    return max(1, min(torch.get_num_threads(), most, int(work / THREAD_WORK)))


def _sides(sizes: Sizes, gates: int) -> int:
    """Threads that share the units of one tile, where there are few rows: 1 is none."""
    threads, panels = torch.get_num_threads(), -(-sizes.vectors(sizes.H) // panel_vectors())
    if sizes.B / threads > FEW_ROWS or not pool.can_wait():
        return 1
    work = gates * sizes.H * (sizes.H + sizes.I)
    return max(1, min(threads, panels, int(work / SIDE_WORK)))


def _tile_rows(B: int, workers: int) -> int:
    tiles = workers * max(1, -(-B // (workers * MOST_ROWS)))
    return max(1, -(-B // tiles))


def _rows(x: Tensor) -> tuple[Tensor, int, int]:
    """The tensor (T, B, N) with each row in one piece, and its strides; copied only if it must be.

    What is the same along time or batch, as the gradient of a mean is, stays one step or row.
    """
    t_stride, b_stride, stride = x.stride()
    if stride != 1 and x.shape[-1] != 1:
        x = x[: 1 if t_stride == 0 else None, : 1 if b_stride == 0 else None].contiguous()
        t_stride, b_stride = t_stride and x.stride(0), b_stride and x.stride(1)
    return x, t_stride, b_stride


def _by_length(lengths: Tensor | None, T: int) -> tuple[Tensor | None, Tensor | None]:
    """(order, lengths in it): longest first."""
    if lengths is None:
        return None, None
    lengths, order = torch.sort(lengths.long().clamp(0, T), descending=True, stable=True)
    return order, lengths


@cache
def _defaults(cell: Cell, dtype: torch.dtype, pitch: int) -> Tensor:
    values = [p.default for phi in cell.activations for p in phi.parameters.values()]
    values += [cell.leak] if cell.leaky else []
    return torch.tensor(values or [0.0], dtype=dtype).unsqueeze(-1).repeat(1, pitch)


def parameters(cell: Cell, theta: Tensor | None, like: Tensor, pitch: int) -> Tensor:
    """All parameters, a row each, (rows, pitch)."""
    rows = _defaults(cell, like.dtype, pitch)
    if theta is None:
        return rows
    rows = rows.clone()
    rows[: theta.shape[0], : theta.shape[1]] = theta
    return rows


def forward(
    cell: Cell,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    theta: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Y (T, B, H), h_n (B, H), c_n (B, H) or empty, and what is kept for the way back or empty."""
    shape, real = cell.shape, NAMES[x.dtype]
    H = w_hh.shape[1]
    h0, w_ih, w_hh = h0.contiguous(), w_ih.contiguous(), w_hh.contiguous()
    c0, b_ih, b_hh = (None if t is None else t.contiguous() for t in (c0, b_ih, b_hh))
    sizes = Sizes.of(x, H)
    T, B, I = sizes.T, sizes.B, sizes.I
    pitch, x_pitch = sizes.pitch(H), sizes.pitch(I)
    x, x_t, x_b = _rows(x)
    y, h_n = empty(x, T, B, H), x.new_empty(B, H)
    c_n = x.new_empty((B, H) if shape.has_cell else 0)
    saved = empty(x, T, B, shape.saved, H) if save else x.new_empty(0)
    order, lengths = _by_length(lengths, T)
    sides = _sides(sizes, shape.gates)
    workers = 1 if sides > 1 else _workers(T * B * shape.gates * H * (H + I), B)
    rows = B if sides > 1 else _tile_rows(B, workers)
    packed = T * B >= PACKING_WORK
    packs = [shape.gates * packed_size(n, H, sizes.lanes) if packed else 0 for n in (I, H)]
    per_worker = rows * (pitch * (2 + shape.saved) + x_pitch)
    memory = empty(x, sum(packs) + shape.sums * pitch + workers * per_worker)
    at, unit = memory.data_ptr(), sizes.bytes
    bias = at + sum(packs) * unit
    theta = parameters(cell, theta, x, pitch)
    frame = frame_of(
        workers=workers, tiles=-(-B // rows), rows=rows, T=T, B=B, I=I, H=H,
        vectors=sizes.vectors(H), pitch=pitch, x_vectors=sizes.vectors(I), x_pitch=x_pitch,
        reverse=reverse, pointwise=pointwise(cell, real)[1],
        order=_at(order), lengths=_at(lengths),
        x=_at(x), x_t=x_t, x_b=x_b, h0=_at(h0), c0=_at(c0),
        w_ih=_at(w_ih), w_hh=_at(w_hh), b_ih=_at(b_ih), b_hh=_at(b_hh), theta=_at(theta),
        packed_ih=at if packed else 0, packed_hh=at + packs[0] * unit if packed else 0,
        bias=bias, saved=_at(saved) if save else 0,
        scratch=bias + shape.sums * pitch * unit, scratch_stride=per_worker,
        y=_at(y), h_n=_at(h_n), c_n=_at(c_n) if shape.has_cell else 0,
    )  # fmt: skip
    _go(real, "forward", cell.name, frame, workers, sides)
    return y, h_n, c_n, saved


@dataclass(frozen=True)
class Wanted:
    """Which gradients of the way back are wanted; those of the states always are."""

    x: bool
    w_ih: bool
    w_hh: bool
    bias: bool


def backward(
    cell: Cell,
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    theta: Tensor | None,
    y: Tensor,
    saved: Tensor,
    lengths: Tensor | None,
    reverse: bool,
    wanted: Wanted,
    tap: bool = False,
) -> dict[str, Tensor]:
    """Gradients by name: dx, dh0, dc0, dw_ih, dw_hh, db (a row a sum), dtheta (a row a parameter).

    With ``tap`` also delta, (T, B, G, H), the gradient at each preactivation; total, (T, B, H),
    that at each output, what comes back through time included; and for a cell state carried,
    (T, B, H), what comes back to it but for the way through the output of its own step.
    """
    shape, real = cell.shape, NAMES[x.dtype]
    H, G = w_hh.shape[1], shape.gates
    h0, w_ih, w_hh = h0.contiguous(), w_ih.contiguous(), w_hh.contiguous()
    c0, dh_n, dc_n = (None if t is None else t.contiguous() for t in (c0, dh_n, dc_n))
    sizes = Sizes.of(x, H)
    T, B, I, unit = sizes.T, sizes.B, sizes.I, sizes.bytes
    pitch, x_pitch = sizes.pitch(H), sizes.pitch(I)
    x, x_t, x_b = _rows(x)
    dy, dy_t, dy_b = (None, 0, 0) if dy is None else _rows(dy)
    sides = _sides(sizes, G)
    workers = 1 if sides > 1 else _workers(2 * T * B * G * H * (H + I), B)
    rows = B if sides > 1 else _tile_rows(B, workers)
    order, lengths = _by_length(lengths, T)
    gathered = GATHERED_BYTES // (unit * (pitch * (shape.sums + 1) + x_pitch))
    capacity = max(rows, min(GATHERED_ROWS, T * rows, gathered))
    learnt = any(cell.learnt)
    out = {"dh0": x.new_empty(B, H)}
    if shape.has_cell:
        out["dc0"] = x.new_empty(B, H)
    if wanted.x:
        out["dx"] = empty(x, T, B, I)
    if tap:
        here = empty if lengths is None else _zeros
        out["delta"], out["total"] = here(x, T, B, G, H), here(x, T, B, H)
        if shape.has_cell:
            out["carried"] = here(x, T, B, H)
    sums = {}
    if wanted.w_ih:
        sums["dw_ih"] = empty(x, workers, G * H, x_pitch)
    if wanted.w_hh:
        sums["dw_hh"] = empty(x, workers, G * H, pitch)
    if wanted.bias:
        sums["db"] = x.new_empty(workers, shape.sums, pitch)
    if learnt:
        sums["dtheta"] = x.new_empty(workers, cell.rows, pitch)
    packs = [
        G * packed_size(H, I, sizes.lanes) if wanted.x else 0,
        G * packed_size(H, H, sizes.lanes),
    ]
    per_worker = rows * ((3 + shape.saved) * pitch + x_pitch) + x_pitch
    per_worker += capacity * (pitch * (shape.sums + 1) + x_pitch)
    memory = empty(x, sum(packs) + workers * per_worker)
    at = memory.data_ptr()
    theta = parameters(cell, theta, x, pitch)
    places = {name: tensor.data_ptr() for name, tensor in (out | sums).items()}
    frame = frame_of(
        workers=workers, tiles=-(-B // rows), rows=rows, T=T, B=B, I=I, H=H,
        vectors=sizes.vectors(H), pitch=pitch, x_vectors=sizes.vectors(I), x_pitch=x_pitch,
        reverse=reverse, pointwise=pointwise(cell, real)[2],
        order=_at(order), lengths=_at(lengths),
        x=_at(x), x_t=x_t, x_b=x_b, h0=_at(h0), c0=_at(c0),
        w_ih=_at(w_ih), w_hh=_at(w_hh), theta=_at(theta),
        packed_ih=at if wanted.x else 0, packed_hh=at + packs[0] * unit,
        saved=_at(saved), scratch=at + sum(packs) * unit, scratch_stride=per_worker,
        y=_at(y), capacity=capacity, theta_rows=cell.rows if learnt else 0,
        dy=_at(dy), dy_t=dy_t, dy_b=dy_b,
        dh_n=_at(dh_n), dc_n=_at(dc_n),
        **places,
    )  # fmt: skip
    _go(real, "backward", cell.name, frame, workers, sides)
    widths = {"dw_ih": I, "dw_hh": H, "db": H, "dtheta": H}
    for name, parts in sums.items():
        total, width = _total(parts, workers), widths[name]
        out[name] = total if total.shape[1] == width else total[:, :width].contiguous()
    return out


def _total(parts: Tensor, workers: int) -> Tensor:
    """The sum over the workers."""
    total = parts[0]
    for worker in range(1, workers):
        total = total.add_(parts[worker])
    return total
