"""What a layer accepts: every argument and input is checked here, once, with its own name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from numbers import Integral, Real

import torch
from torch import Tensor

from throughtime.activations import Activation
from throughtime.activations import activation as look_up
from throughtime.errors import ActivationError, LayerError

Lengths = Tensor | Sequence[int]

_OTHER_NAME = {"activation": "nonlinearity", "nonlinearity": "activation"}
_OWNERS = {
    "gate_activation": "GRU, LSTM",
    "output_activation": "LSTM",
    "forget_bias": "GRU, LSTM",
    "proj_size": "LSTM",
    "leak": "RNN",
}


def whole(argument: str, value: object, least: int) -> int:
    """``value`` as an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise LayerError("nn.size", argument=argument, value=value, least=least)
    return int(value)


def switch(argument: str, value: object) -> bool:
    """``value``, which must be True or False."""
    if not isinstance(value, bool):
        raise LayerError("nn.switch", argument=argument, value=value)
    return value


def number(value: object) -> float:
    """``value`` as a float; NaN where it is no number, so that every range refuses it."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def probability(value: object) -> float:
    """The dropout probability, from 0 to 1."""
    if not 0 <= number(value) <= 1:
        raise LayerError("nn.dropout", value=value)
    return number(value)


def step_size(value: object) -> float:
    """The leak, above 0 and at most 1."""
    if not 0 < number(value) <= 1:
        raise LayerError("nn.leak", value=value)
    return number(value)


def weight_type(dtype: torch.dtype | None) -> None:
    """Weights are floating-point numbers."""
    if dtype is not None and not dtype.is_floating_point:
        raise LayerError("nn.weight_dtype", value=str(dtype))


def place(argument: str, given: object) -> Activation:
    """The activation given for one place of a cell, by name or as it is."""
    if not isinstance(given, (str, Activation)):
        raise LayerError("nn.not_an_activation", argument=argument, value=given)
    try:
        return look_up(given)
    except ActivationError as error:
        near = error.fields["near"]
        raise LayerError(
            "nn.unknown_activation", argument=argument, value=given, near=near
        ) from error


def no_others(layer: type, given: Mapping[str, object]) -> None:
    """Refuse arguments that the layer does not have, and say which one is meant."""
    known = [p.name for p in signature(layer).parameters.values() if p.kind != p.VAR_KEYWORD]
    for name in given:
        where = {"layer": layer.__name__, "argument": name}
        if _OTHER_NAME.get(name) in known:
            raise LayerError("nn.other_name", right=_OTHER_NAME[name], **where)
        if name in _OWNERS:
            raise LayerError("nn.other_layer", owners=_OWNERS[name], **where)
        near = get_close_matches(name, known, n=3, cutoff=0.5) or known
        raise LayerError("nn.unknown_argument", near=", ".join(near), **where)


def tensor(value: object) -> Tensor:
    """The input, which must be a tensor."""
    if not isinstance(value, Tensor):
        raise LayerError("nn.not_a_tensor", kind=type(value).__name__)
    return value


def features(x: Tensor, wanted: int, weight: Tensor) -> None:
    """The last axis, type and device of an input against the layer's."""
    if x.shape[-1] != wanted:
        raise LayerError("nn.features", given=x.shape[-1], wanted=wanted)
    _same_kind("nn.dtype", "nn.device", x, weight)


def state_tensors(hx: object, count: int) -> tuple[Tensor, ...] | None:
    """``hx`` as (h_0,) or (h_0, c_0); None stays None."""
    if hx is None:
        return None
    given = (hx,) if count == 1 else hx
    if not isinstance(given, (tuple, list)) or len(given) != count:
        raise LayerError("nn.two_states")
    states = tuple(s for s in given if isinstance(s, Tensor))
    if len(states) < count:
        raise LayerError("nn.state_not_a_tensor", kind=type(hx).__name__)
    return states


def states_fit(states: tuple[Tensor, ...], wanted: tuple[tuple[int, ...], ...], x: Tensor) -> None:
    """Shape, type and device of the initial states."""
    for name, state, shape in zip(("h_0", "c_0"), states, wanted, strict=False):
        if tuple(state.shape) != shape:
            raise LayerError("nn.state", name=name, given=tuple(state.shape), wanted=shape)
        _same_kind("nn.state_dtype", "nn.state_device", state, x)


def valid_steps(lengths: Lengths | int, T: int, B: int, device: torch.device) -> Tensor:
    """``lengths`` as a (B,) int64 tensor on ``device``, each from 0 to ``T``."""
    try:
        given = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):
        raise LayerError("nn.lengths_not_numbers", batch=B, value=lengths) from None
    if given.dim() == 0 and B == 1:
        given = given.unsqueeze(0)
    fractional = given.is_floating_point() or given.is_complex() or given.dtype == torch.bool
    if tuple(given.shape) != (B,) or (fractional and B):
        shape = tuple(given.shape)
        raise LayerError("nn.lengths", batch=B, shape=shape, dtype=str(given.dtype))
    valid = (given >= 0) & (given <= T)
    if torch.compiler.is_compiling():
        torch.ops.aten._assert_async.msg(valid.all(), f"lengths must be from 0 to {T}")
    elif not valid.all():
        row = int((~valid).nonzero()[0])
        raise LayerError("nn.length_range", row=row, length=int(given[row]), steps=T)
    return given.to(device, torch.int64)


def _same_kind(dtype_key: str, device_key: str, given: Tensor, wanted: Tensor) -> None:
    if given.dtype != wanted.dtype and not torch.is_autocast_enabled(given.device.type):
        raise LayerError(dtype_key, given=str(given.dtype), wanted=str(wanted.dtype))
    if given.device != wanted.device:
        raise LayerError(device_key, given=str(given.device), wanted=str(wanted.device))
