"""One call of a kernel in PyTorch's graph of derivatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from throughtime import cells
from throughtime.kernels import engine as engines
from throughtime.kernels import ops, tap
from throughtime.kernels.cpu import run
from throughtime.kernels.cpu.pointwise import SHAPES, Cell

Grads = tuple[Tensor | None, ...]


class Recurrence(torch.autograd.Function):
    """Forward by the kernel; back by the kernel too, or through the reference where that is needed.

    The reference runs the derivative that is itself to be differentiated (``create_graph=True``)
    or is taken under a transform of ``torch.func``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        name: str,
        cell: Cell | str,
        reverse: bool,
        lengths: Tensor | None,
        x: Tensor,
        h0: Tensor,
        c0: Tensor | None,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        theta: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """y, h_n and, where there is one, c_n; ``cell`` is a key where a graph is traced."""
        forward: Any = ops.forward if isinstance(cell, str) else engines.engine(x).forward  # pyright: ignore
        y, h_n, c_n, saved = forward(
            cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, lengths, reverse, True
        )
        ctx.name, ctx.cell, ctx.reverse = name, cell, reverse
        ctx.tap = None if isinstance(cell, str) else tap.listener()
        ctx.save_for_backward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, theta, lengths, y, saved)
        ctx.set_materialize_grads(False)
        return (y, h_n, c_n) if SHAPES[name].has_cell else (y, h_n)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of every argument, None for those without."""
        dy, dh_n, dc_n = (*gradients, None)[:3]
        traced = isinstance(ctx.cell, str)
        given = [g for g in gradients if g is not None]
        if not traced and (torch.is_grad_enabled() or transformed(given)):
            return None, None, None, None, *_through_reference(ctx, (dy, dh_n, dc_n))
        x, h0, c0, w_ih, w_hh, _, _, theta, lengths, y, saved = ctx.saved_tensors
        for_x, _, _, for_w_ih, for_w_hh, for_b_ih, for_b_hh, for_theta = ctx.needs_input_grad[4:]
        wanted = run.Wanted(for_x, for_w_ih, for_w_hh, for_b_ih or for_b_hh)
        arguments = (
            ctx.cell, dy, dh_n, dc_n, x, h0, c0, w_ih, w_hh, theta, y, saved, lengths, ctx.reverse,
            wanted,
        )  # fmt: skip
        if traced:
            found = ops.backward(*arguments)
        else:
            here: Any = engines.engine(x)
            if ctx.tap is None:
                found = here.backward(*arguments)
            else:
                rows = ctx.tap.rows
                found = here.backward(*arguments, tap=tap.TOLD, rows=rows)
                ctx.tap.tell(tap.Heard(ctx.cell, theta, found, saved, y, lengths, rows))
        shape = SHAPES[ctx.name]
        return (
            None,
            None,
            None,
            None,
            found["dx"] if for_x else None,
            found["dh0"],
            found["dc0"] if c0 is not None else None,
            found["dw_ih"] if for_w_ih else None,
            found["dw_hh"] if for_w_hh else None,
            _bias(found["db"], shape.from_x) if for_b_ih else None,
            _bias(found["db"], shape.from_h) if for_b_hh else None,
            found["dtheta"][: theta.shape[0]] if for_theta else None,
        )


def transformed(tensors: Iterable[Tensor]) -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work.

    A tensor that is batched by one has no numbers of its own.
    """
    return (
        torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore
        or torch.autograd.forward_ad._current_level >= 0
        or not all(map(torch._C._has_storage, tensors))
    )


def _bias(sums: Tensor, blocks: tuple[int, ...]) -> Tensor:
    """The rows of the sums that a bias enters, one after another, in memory of their own."""
    if len(blocks) == len(sums):
        return sums.flatten().clone()
    return torch.cat([sums[block] for block in blocks])


def reference(
    name: str,
    cell: Cell,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    *weights: Tensor | None,
    theta: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """The same call through the page-long truth."""
    places = []
    for place, phi in enumerate(cell.activations):
        rows = enumerate(cell.learnt[place] and phi.parameters, cell.first_row(place))
        places.append(
            phi.bind({key: theta[row] for row, key in rows}) if theta is not None else phi
        )
    states = (h0,) if c0 is None else (h0, c0)
    leak = {"leak": cell.leak} if name == "elman" else {}
    function = getattr(cells, name)
    return function(x, *states, *weights, *places, **leak, lengths=lengths, reverse=reverse)


def _through_reference(ctx: Any, gradients: Grads) -> Grads:
    """Gradients that can be differentiated again."""
    *arguments, lengths, _, _ = ctx.saved_tensors
    *tensors, theta = arguments
    with torch.enable_grad():
        outputs = reference(
            ctx.name, ctx.cell, *tensors, theta=theta, lengths=lengths, reverse=ctx.reverse
        )
        wanted = [
            t for t, needed in zip(arguments, ctx.needs_input_grad[4:], strict=True) if needed
        ]
        pairs = [(y, g) for y, g in zip(outputs, gradients, strict=False) if g is not None]
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs],
                wanted,
                [g for _, g in pairs],
                create_graph=torch.is_grad_enabled(),
                allow_unused=True,
            )
        )
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad[4:])
