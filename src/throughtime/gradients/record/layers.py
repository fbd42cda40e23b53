"""Which modules are recurrent layers, and what recurrences they hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache

from torch import Tensor, nn

from throughtime.gradients.record.pointwise import pointwise
from throughtime.gradients.record.recurrence import GATES, Kind, Recurrence

_TORCH = (nn.RNNBase, nn.RNNCellBase)

_WRAPPERS = ("", "_orig_mod", "module")


def fused_kind(module: nn.Module) -> Kind | None:
    """The recurrence of a layer that runs all steps in one call; None for any other module."""
    return _kind(type(module), ("RNN", "GRU", "LSTM"))


def cell_kind(module: nn.Module) -> Kind | None:
    """The recurrence of a cell called once a step; None for any other module."""
    return _kind(type(module), ("RNNCell", "GRUCell", "LSTMCell"))


@lru_cache(maxsize=1024)
def _kind(of: type, names: tuple[str, str, str]) -> Kind | None:
    for room in (nn, sys.modules.get("throughtime.nn")):
        for name, kind in zip(names, GATES, strict=True):
            if room is not None and issubclass(of, getattr(room, name)):
                return kind
    return None


def is_ours(module: nn.Module) -> bool:
    """Whether a layer is one of ``throughtime.nn``."""
    return not isinstance(module, _TORCH)


def recurrent_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every recurrent layer and cell inside ``model`` with its name, without wrappers' names."""
    for name, module in model.named_modules():
        if fused_kind(module) or cell_kind(module):
            yield ".".join(p for p in name.split(".") if p not in _WRAPPERS), module


def recurrences(module: nn.Module) -> list[list[Recurrence]]:
    """The recurrences of a layer by layer and direction: ``[l][d]``; of a cell: ``[[r]]``."""
    if cell_kind(module):
        return [[_recurrence(module, "")]]
    directions = ["", "_reverse"] if module.bidirectional else [""]
    return [
        [_recurrence(module, f"_l{layer}{d}") for d in directions]
        for layer in range(layer_count(module))
    ]


def layer_count(module: nn.Module) -> int:
    """L, the number of layers of a fused layer or a cell."""
    count = getattr(module, "num_layers", 1)
    return count if isinstance(count, int) else 1


def _recurrence(module: nn.Module, suffix: str) -> Recurrence:
    kind = fused_kind(module) or cell_kind(module)
    assert kind is not None

    def weight(name: str) -> Tensor | None:
        tensor = getattr(module, name + suffix, None)
        return tensor.detach().clone() if isinstance(tensor, Tensor) else None

    w_ih, w_hh = weight("weight_ih"), weight("weight_hh")
    assert w_ih is not None and w_hh is not None
    places = _activations(module, kind, suffix)
    return Recurrence(
        kind,
        w_ih,
        w_hh,
        weight("bias_ih"),
        weight("bias_hh"),
        *(pointwise(phi) for phi in places),
        w_hr=weight("weight_hr"),
        leak=float(getattr(module, "leak", 1.0)),
    )


def _activations(module: nn.Module, kind: Kind, suffix: str) -> tuple[object, ...]:
    if isinstance(module, _TORCH):
        nonlinearity = getattr(module, "nonlinearity", "tanh")
        return {
            "elman": (nonlinearity,),
            "gru": ("tanh", "sigmoid"),
            "lstm": ("tanh", "sigmoid", "tanh"),
        }[kind]
    return tuple(module._phi(place, suffix.lstrip("_")) for place in module._places)  # pyright: ignore
