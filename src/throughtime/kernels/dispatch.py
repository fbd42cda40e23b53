"""Which way a recurrence is run, and why."""

# ruff: noqa: E741 (I is the number of inputs)
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from throughtime.activations import BoundActivation
from throughtime.activations.emit.program import NotEmittable
from throughtime.kernels import engine as engines
from throughtime.kernels import ops, registry
from throughtime.kernels.autograd import Recurrence, transformed
from throughtime.kernels.cpu.pointwise import SHAPES, Cell
from throughtime.kernels.registry import Activations, Names, Pointwise
from throughtime.language import say

Tensors = tuple[Tensor | None, ...]
Reason = tuple[str, dict[str, str]]

_log = logging.getLogger("throughtime.kernels")
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

_told: set[str] = set()
_checked: dict[tuple[Cell, torch.dtype, str], str] = {}


@dataclass(frozen=True)
class Backend:
    """How a call runs.

    Attributes:
        name: ``"cpu"`` or ``"cuda"`` for the kernels there, ``"reference"`` for
            :mod:`throughtime.cells`.
        reason: why not the kernel, as a sentence; empty where it is the kernel.
    """

    name: str
    reason: str = ""


def backend(
    name: str,
    tensors: Sequence[Tensor | None],
    places: Sequence[Pointwise],
    *,
    leak: float = 1.0,
    w_hr: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Backend:
    """How a call of ``elman``, ``gru`` or ``lstm`` with these arguments would run, and why.

    Args:
        name: ``"elman"``, ``"gru"`` or ``"lstm"``.
        tensors: x, h0, (c0,) w_ih, w_hh, b_ih, b_hh as the function takes them.
        places: its activations.
        leak: as the function takes it.
        w_hr: as the function takes it.
        lengths: as the function takes it.

    Example:
        >>> import torch, throughtime as tt
        >>> layer, x = tt.nn.GRU(2, 3), torch.randn(5, 1, 2)
        >>> weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
        >>> phi, sigma = layer.activation, layer.gate_activation
        >>> backend("gru", (x, torch.zeros(1, 3), *weights), (phi, sigma)).name
        'cpu'
    """
    x, h0, *rest = _at_work(tensors)
    rest = rest if SHAPES[name].has_cell else [None, *rest]
    found = registry.activations_of(places)
    reason = _why_not(name, places, found, (x, h0, *rest), leak, w_hr, lengths)
    if reason is not None:
        return Backend("reference", say(reason[0], **reason[1]))
    here = None if x is None else engines.engine(x)
    assert here is not None
    return Backend(here.name)


def recur(
    name: str,
    places: tuple[Pointwise, ...],
    tensors: Tensors,
    leak: float,
    w_hr: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
    reference: Callable[[], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Run a recurrence by the kernel if it can, else by the reference.

    Args:
        name: of the cell.
        places: its activations.
        tensors: x, h0, c0 (or None), w_ih, w_hh, b_ih, b_hh.
        leak: of Elman's cell, else 1.
        w_hr: of the LSTM, else None.
        lengths: as in :mod:`throughtime.cells`.
        reverse: as in :mod:`throughtime.cells`.
        reference: the same call there.
    """
    given, found = _at_work(tensors), registry.activations_of(places)
    reason = _why_not(name, places, found, given, leak, w_hr, lengths)
    if reason is not None:
        _tell(name, reason)
        return reference()
    assert found is not None
    if given is not tensors:
        with torch.autocast("cuda" if given[0].is_cuda else "cpu", enabled=False):  # pyright: ignore
            return _kernel(name, places, *found, given, leak, lengths, reverse)
    return _kernel(name, places, *found, given, leak, lengths, reverse)


def _at_work(tensors: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """The tensors in the format they are computed in under autocast.

    On a GPU that of autocast, as in ``torch.nn``; on a CPU float32 for all narrower.
    """
    x = tensors[0]
    assert x is not None
    on_gpu = x.is_cuda
    if not torch.is_autocast_enabled("cuda" if on_gpu else "cpu"):
        return tensors
    narrow, wanted = (torch.bfloat16, torch.float16), torch.float32
    if on_gpu:
        narrow, wanted = (*narrow, torch.float32), torch.get_autocast_dtype("cuda")
    return tuple(t.to(wanted) if t is not None and t.dtype in narrow else t for t in tensors)


def _kernel(
    name: str,
    places: tuple[Pointwise, ...],
    activations: Activations,
    learnt: Names,
    tensors: Sequence[Tensor | None],
    leak: float,
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, ...]:
    x, w_hh = tensors[0], tensors[4]
    assert x is not None and w_hh is not None
    theta = theta_of(places, activations, learnt, x, w_hh.shape[1])
    traced = torch.compiler.is_compiling() or _watched(tensors)
    if traced:
        cell = registry.constant_key(name, learnt, float(leak).hex(), *activations)
    else:
        cell = registry.cell(name, activations, learnt, leak)
    with_theta = (*tensors, theta)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in with_theta):
        return Recurrence.apply(name, cell, reverse, lengths, *with_theta)
    forward: Any = ops.forward if isinstance(cell, str) else engines.engine(x).forward  # pyright: ignore
    y, h_n, c_n, _ = forward(cell, *with_theta, lengths, reverse, False)
    return (y, h_n, c_n) if SHAPES[name].has_cell else (y, h_n)


def _watched(tensors: Sequence[Tensor | None]) -> bool:
    """Whether something between us and the numbers wants to see operators."""
    return torch._C._len_torch_dispatch_stack() > 0 or any(
        t is not None and type(t) not in (Tensor, torch.nn.Parameter) for t in tensors
    )


def theta_of(
    places: tuple[Pointwise, ...], activations: Activations, learnt: Names, x: Tensor, H: int
) -> Tensor | None:
    """Every parameter of every activation, (P, H), if any is a tensor."""
    if not any(learnt):
        return None
    rows = []
    for place, phi in zip(places, activations, strict=True):
        bound = place.theta if isinstance(place, BoundActivation) else {}
        for parameter in phi.parameters.values():
            value = bound.get(parameter.name)
            rows.append(
                x.new_full((H,), parameter.default)
                if value is None
                else value.to(x.dtype).expand(H)
            )
    return torch.stack(rows)


def _why_not(
    name: str,
    places: Sequence[Pointwise],
    found: tuple[Activations, Names] | None,
    tensors: Sequence[Tensor | None],
    leak: float,
    w_hr: Tensor | None,
    lengths: Tensor | None,
) -> Reason | None:
    """What keeps the kernel from a call: an entry of the catalogue and its fields."""
    if found is None:
        callables = [p for p in places if registry.activations_of([p]) is None]
        return "kernels.callable", {"name": getattr(callables[0], "__name__", repr(callables[0]))}
    if w_hr is not None:
        return "kernels.projection", {}
    x, *others = present = [t for t in tensors if t is not None]
    here, dtype, device = engines.engine(x), x.dtype, x.get_device()
    if here is None:
        return "kernels.no_triton" if x.is_cuda else "kernels.device", {"device": str(x.device)}
    if dtype not in here.formats:
        return "kernels.dtype", {"dtype": str(dtype)}
    for t in others:
        if t.dtype is not dtype:
            return "kernels.mixed", {"dtypes": f"{dtype}, {t.dtype}"}
        if t.get_device() != device:
            return "kernels.devices", {"devices": f"{x.device}, {t.device}"}
    if not _fit(name, places, tensors, lengths):
        return "kernels.shapes", {}
    if torch.compiler.is_compiling():
        return None
    if transformed(present):
        return "kernels.transform", {}
    cell = registry.cell(name, *found, leak)
    unwritten = _checked.get((cell, dtype, here.name))
    if unwritten is None:
        unwritten = _checked[cell, dtype, here.name] = _compile(here, cell, dtype)
    return ("kernels.no_vector_form", {"function": unwritten}) if unwritten else None


def _compile(here: engines.Engine, cell: Cell, dtype: torch.dtype) -> str:
    """Compile the cell, or name the function that keeps it from being compiled."""
    _log.info(say("kernels.compiling", cell=cell.name, dtype=str(dtype)))
    try:
        here.compiled(cell, dtype)
    except NotEmittable as missing:
        return str(missing)
    return ""


def _fit(
    name: str,
    places: Sequence[Pointwise],
    tensors: Sequence[Tensor | None],
    lengths: Tensor | None,
) -> bool:
    """Whether the shapes are exactly those of one layer: then addresses can be trusted."""
    x, h0, c0, w_ih, w_hh, b_ih, b_hh = tensors
    assert x is not None and h0 is not None and w_ih is not None and w_hh is not None
    if x.dim() != 3 or w_hh.dim() != 2 or not w_hh.shape[1] or not x.shape[2]:
        return False
    device = x.get_device()
    _, B, I = x.shape
    H = w_hh.shape[1]
    rows = SHAPES[name].gates * H
    return (
        h0.shape == (B, H)
        and (c0 is None or c0.shape == (B, H))
        and w_ih.shape == (rows, I)
        and w_hh.shape == (rows, H)
        and (b_ih is None or b_ih.shape == (rows,))
        and (b_hh is None or b_hh.shape == (rows,))
        and (
            lengths is None
            or (
                lengths.get_device() == device and lengths.shape == (B,) and lengths.dtype in _WHOLE
            )
        )
        and all(
            value.shape in ((), (1,), (H,)) and value.get_device() == device
            for place in places
            if isinstance(place, BoundActivation)
            for value in place.theta.values()
        )
    )


def _tell(name: str, reason: Reason) -> None:
    """Say once in each process, at info level, that a call goes to the reference and why."""
    if torch.compiler.is_compiling():
        return
    text = say("kernels.reference", cell=name, reason=say(reason[0], **reason[1]))
    if text not in _told:
        _told.add(text)
        _log.info(text)
