"""One step at a time with little around it: all that stays the same is worked out before."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from throughtime.activations.emit.program import NotEmittable
from throughtime.kernels.cpu import plan, run
from throughtime.kernels.cpu.pointwise import Cell

# bytes of a thread's stack that a step may take
ROOM = 1 << 16

Weights = tuple[Tensor | None, ...]


class Steps:
    """The steps of one module without gradients; remembers how its last one was made.

    A step takes a few microseconds, less than to find out anew how it is to be made. Weights may
    be changed in place, moved or replaced: their addresses are looked at each time.

    Copies and saved modules start with an empty memory.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple, Step | None] = (), None

    def __reduce__(self):
        return Steps, ()

    def __call__(
        self, x: Tensor, states: tuple[Tensor, ...], weights: Weights, leak: float, cell: Any
    ) -> tuple[Tensor, ...] | None:
        """The next states, (B, H) or (H,) each; None where the usual way is to be gone.

        Args:
            x: (B, I) or (I,).
            states: h and, for LSTM, c.
            weights: w_ih, w_hh, b_ih, b_hh.
            leak: of Elman's cell, else 1.
            cell: makes the :class:`Cell`, or None where it learns parameters.
        """
        if is_compiling() or torch.is_grad_enabled() or _observed() or type(x) is not Tensor:
            return None
        w_ih, w_hh, b_ih, b_hh = weights
        if w_ih is None or w_hh is None:
            return None
        if b_ih is None or b_hh is None:
            key = w_ih.data_ptr(), w_hh.data_ptr(), 0, 0, leak, x.shape, x.dtype
        else:
            at = w_ih.data_ptr(), w_hh.data_ptr(), b_ih.data_ptr(), b_hh.data_ptr()
            key = *at, leak, x.shape, x.dtype
        known, step = self._known
        if key != known:  # the first step of a kind goes the usual way, which checks and tells
            self._known = key, None
            return None
        if step is None:
            step = Step.of(cell(), x, weights)
            if step is None:
                return None
            self._known = key, step
        return step(x, states, w_ih, w_hh)


def _observed() -> bool:
    """Whether a transform, forward-mode differentiation or a watcher of operators is at work."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore
        or torch.autograd.forward_ad._current_level >= 0
    )


class Step:
    """A step whose sizes, weights and activations are fixed."""

    def __init__(
        self,
        cell: Cell,
        function: Callable[..., None],
        frame: array,
        weights: Weights,
        shape: tuple[int, ...],
    ):
        self._function, self._frame = function, frame
        self._address = frame.buffer_info()[0]
        # their memory stays theirs as long as their addresses are remembered here
        self._weights = tuple(w if w is None else w.detach() for w in weights)
        self._lstm, self._shape = cell.name == "lstm", torch.Size(shape)

    @classmethod
    def of(cls, cell: Cell | None, x: Tensor, weights: Weights) -> Step | None:
        """The step for such arguments; None where the kernel cannot make it."""
        w_ih, w_hh, b_ih, b_hh = weights
        if cell is None or w_ih is None or w_hh is None or x.dtype not in plan.NAMES:
            return None
        H, real = w_hh.shape[-1], plan.NAMES[x.dtype]
        rows = cell.shape.gates * H
        wanted = (rows, x.shape[-1]), (rows, H), (rows,), (rows,)
        for w, shape in zip(weights, wanted, strict=True):
            if w is not None and not (
                w.is_cpu and w.dtype is x.dtype and w.shape == shape and w.is_contiguous()
            ):
                return None
        if x.dim() not in (1, 2) or not x.numel():
            return None
        I = x.shape[-1]  # noqa: E741
        sizes = plan.Sizes.of(x.dtype, 1, x.numel() // I, I, H)
        pitch, x_pitch = sizes.pitch(H), sizes.pitch(I)
        room = sizes.B * (pitch * (2 + cell.shape.saved) + x_pitch) + cell.shape.sums * pitch
        if room * sizes.bytes > ROOM:
            return None
        try:
            _, pointwise, _ = plan.pointwise(cell, real)
        except NotEmittable:
            return None
        theta = run.parameters(cell, None, x, pitch)
        frame = sizes.frame(
            workers=1, tiles=1, rows=sizes.B, pointwise=pointwise, x_t=sizes.B * I, x_b=I,
            w_ih=w_ih.data_ptr(), w_hh=w_hh.data_ptr(), theta=theta.data_ptr(),
            b_ih=0 if b_ih is None else b_ih.data_ptr(),
            b_hh=0 if b_hh is None else b_hh.data_ptr(), scratch_stride=room,
        )  # fmt: skip
        function = plan.loops(real).function(f"step_{cell.name}", 6 if cell.shape.has_cell else 4)
        return cls(cell, function, frame, (*weights, theta), (*x.shape[:-1], H))

    def __call__(
        self, x: Tensor, states: tuple[Tensor, ...], w_ih: Tensor, w_hh: Tensor
    ) -> tuple[Tensor, ...] | None:
        """The next states; None where an argument does not lie in memory as it must."""
        h, shape, dtype = states[0], self._shape, x.dtype
        if not (
            type(h) is Tensor and h.shape == shape and h.dtype is dtype
            and x.is_cpu and h.is_cpu and x.is_contiguous() and h.is_contiguous()
            and w_ih.is_contiguous() and w_hh.is_contiguous()
        ):  # fmt: skip
            return None
        y = torch.empty_like(h)
        if not self._lstm:
            self._function(self._address, x.data_ptr(), h.data_ptr(), y.data_ptr())
            return (y,)
        c = states[1]
        if not (
            type(c) is Tensor and c.shape == shape and c.dtype is dtype and c.is_cpu
            and c.is_contiguous()
        ):  # fmt: skip
            return None
        c_n = torch.empty_like(c)
        at = self._address, x.data_ptr(), h.data_ptr(), y.data_ptr(), c.data_ptr(), c_n.data_ptr()
        self._function(*at)
        return y, c_n
