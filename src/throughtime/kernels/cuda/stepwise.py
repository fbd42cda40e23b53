"""The time loop as a product and a kernel a step, replayed as CUDA graphs of many steps.

A graph reads and writes fixed memory. So it has a piece of the sequence of its own, into which
each piece of a call is copied and out of which its results are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
from torch import Tensor

from throughtime.kernels.cpu.pointwise import Cell, Shape
from throughtime.kernels.cuda import plan, steps

# steps of one graph
PIECE = 32
# graphs kept, the last ones used
KEPT = 16

_lock = threading.RLock()
_kept: OrderedDict[tuple, Any] = OrderedDict()


def gate_runs(shape: Shape) -> Iterator[tuple[slice, slice]]:
    """Blocks of δ beside the gates of W_hh that they multiply, as few pairs as can be."""
    first = 0
    for gate in range(1, shape.gates + 1):
        if gate == shape.gates or shape.from_h[gate] != shape.from_h[gate - 1] + 1:
            block = shape.from_h[first]
            yield slice(block, block + gate - first), slice(first, gate)
            first = gate


class _Work:
    """Work on fixed memory: a CUDA graph where there is a GPU."""

    def __init__(self, work: Callable[[], None], device: torch.device):
        self._work, self._graph = work, None
        if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
            self._graph = self._captured(device)

    def _captured(self, device: torch.device) -> torch.cuda.CUDAGraph:
        """Run first, since compiling and cuBLAS's set-up cannot be captured."""
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            self._work()
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._work()
        return graph

    def __call__(self) -> None:
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()


class _Piece:
    """Fixed memory for some steps of a call, and the work on it."""

    def __init__(self, cell: Cell, x: Tensor, n: int, H: int, reverse: bool):
        self.cell, self.n, self.reverse = cell, n, reverse
        self.B, self.H = x.shape[1], H
        G = cell.shape.gates
        wide = x.new_empty(0).double() if x.dtype == torch.float64 else x.new_empty(0).float()
        self.w = x.new_zeros(G * H, H)
        self.theta = x.new_zeros(max(1, cell.rows), H)
        self.lengths = torch.zeros(self.B, dtype=torch.int32, device=x.device)
        self.t0 = torch.zeros(1, dtype=torch.int32, device=x.device)
        self.h, self.c = wide.new_zeros(self.B, H), wide.new_zeros(self.B, H)
        chosen = plan.plan(cell.name, self.B, H, x.dtype)
        self.grid = (triton.cdiv(self.B, chosen.rows), triton.cdiv(H, chosen.units))
        self.options = {
            **plan.arithmetic(x.dtype),
            "ROWS": chosen.rows,
            "UNITS": chosen.units,
            "num_warps": chosen.warps,
            "enable_fp_fusion": True,
        }

    def set(self, w_hh: Tensor, theta: Tensor | None, lengths: Tensor | None, T: int) -> None:
        """What all steps share."""
        self.w.copy_(w_hh)
        if theta is not None:
            self.theta[: theta.shape[0]].copy_(theta)
        if lengths is None:
            self.lengths.fill_(T)
        else:
            self.lengths.copy_(lengths)


class _Forward(_Piece):
    def __init__(self, cell: Cell, x: Tensor, n: int, H: int, reverse: bool, blocks: int):
        super().__init__(cell, x, n, H, reverse)
        self.sums = x.new_zeros(n, self.B, blocks, H)
        self.v = x.new_zeros(self.B, cell.shape.gates * H)
        self.bias = x.new_zeros(H)
        self.narrow = self.h if self.h.dtype == x.dtype else x.new_zeros(self.B, H)
        self.y = x.new_zeros(n, self.B, H)
        self.options |= plan.values(cell) | {"BLOCKS": blocks}
        self.work = _Work(self._steps, x.device)

    def _steps(self) -> None:
        kernel = steps.FORWARD[self.cell.name]
        for i in reversed(range(self.n)) if self.reverse else range(self.n):
            torch.mm(self.narrow, self.w.t(), out=self.v)
            kernel[self.grid](
                self.sums, self.v, self.bias, self.h, self.narrow, self.c, self.y, self.theta,
                self.lengths, self.t0, i, self.B, self.H, **self.options,
            )  # fmt: skip


class _Backward(_Piece):
    def __init__(self, cell: Cell, x: Tensor, n: int, H: int, reverse: bool):
        super().__init__(cell, x, n, H, reverse)
        shape = cell.shape
        self.saved = x.new_zeros(n, self.B, shape.saved, H)
        self.before, self.dy = x.new_zeros(n, self.B, H), x.new_zeros(n, self.B, H)
        self.delta = x.new_zeros(n, self.B, shape.sums, H)
        self.v = x.new_zeros(self.B, H)
        self.P = max(1, cell.rows)
        self.dtheta = self.h.new_zeros(self.grid[0], self.P, H)
        self.options |= plan.slopes(cell)
        self.pairs = list(gate_runs(shape))
        self.work = _Work(self._steps, x.device)

    def _steps(self) -> None:
        kernel, w = steps.BACKWARD[self.cell.name], self.w.view(-1, self.H, self.H)
        for i in range(self.n) if self.reverse else reversed(range(self.n)):
            kernel[self.grid](
                self.saved, self.before, self.dy, self.v, self.h, self.c, self.delta, self.theta,
                self.dtheta, self.lengths, self.t0, i, self.B, self.H, self.P, **self.options,
            )  # fmt: skip
            for k, (blocks, gates) in enumerate(self.pairs):
                d = self.delta[i].view(self.B, -1)[:, blocks.start * self.H : blocks.stop * self.H]
                torch.addmm(self.v, d, w[gates].view(-1, self.H), beta=int(k > 0), out=self.v)


def _piece(kind: type, cell: Cell, x: Tensor, n: int, *rest: Any) -> Any:
    """One of the pieces kept, made if it must be; each stream has its own."""
    stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0
    capturing = x.is_cuda and torch.cuda.is_current_stream_capturing()
    key = (
        kind, cell, x.shape[1], x.dtype, x.device, n, *rest, stream, capturing,
        *plan.products(x.dtype).values(),
    )  # fmt: skip
    if capturing:  # its memory belongs to the graph that is being captured
        return kind(cell, x, n, *rest)
    if key not in _kept:
        _kept[key] = kind(cell, x, n, *rest)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _pieces(T: int, backwards: bool) -> Iterator[tuple[int, int]]:
    """(first step, steps) of each piece, in the order they are run."""
    starts = range(0, T, PIECE)
    for start in reversed(starts) if backwards else starts:
        yield start, min(PIECE, T - start)


def forward(
    cell: Cell, sums: Tensor, w_hh: Tensor, bias: Tensor, h0: Tensor, c0: Tensor | None, y: Tensor,
    theta: Tensor | None, lengths: Tensor | None, reverse: bool, save: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Last states (B, H); fills ``y`` and, if they are to be saved, the sums."""
    T, B, blocks, H = sums.shape
    h, c = h0, h0 if c0 is None else c0
    with _lock:
        for start, n in _pieces(T if B else 0, reverse):
            now = _piece(_Forward, cell, y, n, H, reverse, blocks)
            now.set(w_hh, theta, lengths, T)
            now.t0.fill_(start)
            now.bias.copy_(bias)
            now.sums.copy_(sums[start : start + n])
            for memory, state in ((now.h, h), (now.narrow, h), (now.c, c)):
                memory.copy_(state)
            now.work()
            y[start : start + n].copy_(now.y)
            if save:
                sums[start : start + n].copy_(now.sums)
            h, c = now.h.clone(), now.c.clone()
    return h.to(y.dtype, copy=True), c.to(y.dtype, copy=True)


def backward(
    cell: Cell, saved: Tensor, w_hh: Tensor, seq: Tensor | None, initial: Tensor | None,
    dy: Tensor, dh_n: Tensor, dc_n: Tensor, delta: Tensor, theta: Tensor | None,
    lengths: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of h0 and c0, (B, H), and of theta, (P, H); fills ``delta``.

    ``seq`` (T, B, H) and ``initial`` (B, H) are of the state that the cell looks back at, if any.
    """
    T, B, _, H = saved.shape
    g, g_c, dtheta = dh_n, dc_n, dy.new_zeros(max(1, cell.rows), H)
    with _lock:
        for start, n in _pieces(T if B else 0, not reverse):
            now = _piece(_Backward, cell, dy, n, H, reverse)
            now.set(w_hh, theta, lengths, T)
            now.t0.fill_(start)
            now.saved.copy_(saved[start : start + n])
            now.dy.copy_(dy[start : start + n])
            if seq is not None and initial is not None:
                _look_back(now.before, seq, initial, start, lengths, reverse)
            now.h.copy_(g)
            now.c.copy_(g_c)
            now.v.zero_()
            now.dtheta.zero_()
            now.work()
            delta[start : start + n].copy_(now.delta)
            g, g_c = now.h + now.v, now.c.clone()
            dtheta = now.dtheta.sum(0) + dtheta
    return g.to(dy.dtype, copy=True), g_c.to(dy.dtype, copy=True), dtheta


def _look_back(
    before: Tensor, seq: Tensor, initial: Tensor, start: int, lengths: Tensor | None, reverse: bool
) -> None:
    """The state before each step of a piece, in the order in which steps are run."""
    n = before.shape[0]
    if not reverse:
        before[1:].copy_(seq[start : start + n - 1])
        before[0].copy_(seq[start - 1] if start else initial)
        return
    following = seq[start + 1 : start + 1 + n]
    before[: len(following)].copy_(following)
    if len(following) < n:
        before[-1].copy_(initial)
    if lengths is not None:
        t = torch.arange(start, start + n, device=seq.device).unsqueeze(-1)
        last = (t == lengths - 1).unsqueeze(-1)
        before.copy_(torch.where(last, initial, before))
