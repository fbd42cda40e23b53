"""Which networks can become ONNX files, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.errors import ModelError
from throughtime.nn.layers import GRU, LSTM, RNN, Stack
from throughtime.nn.recurrent import Recurrent

_FORWARD = tuple(layer.forward for layer in (RNN, GRU, LSTM))
_OF_TORCH = (nn.RNNBase, nn.RNNCellBase)
_TYPES = {torch.float32: np.dtype("float32"), torch.float64: np.dtype("float64")}


@dataclass(frozen=True)
class Network:
    """(Embedding), recurrent layers, (readout).

    Attributes:
        layers: the recurrent layers.
        embedding: makes a vector of each token; None where the input is numbers.
        readout: what comes of the state; None where the layers stand alone.
        per_step: read out at every step instead of after each sequence's last.
    """

    layers: Stack
    embedding: nn.Embedding | None = None
    readout: nn.Linear | None = None
    per_step: bool = False

    @property
    def batch_first(self) -> bool:
        """Whether the input is (B, T, ·)."""
        return self.layers.batch_first


@dataclass(frozen=True)
class Port:
    """An input or an output of the file.

    Attributes:
        name: as in the model's ``forward``.
        kind: type of its numbers.
        shape: numbers, and ``"B"`` and ``"T"`` for what is left open.
        tokens: how many tokens there are, where it holds tokens.
    """

    name: str
    kind: np.dtype
    shape: tuple[str | int, ...]
    tokens: int = 0


@dataclass(frozen=True)
class Ports:
    """What goes into the file and what comes out, all real numbers of one type."""

    real: np.dtype
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def network(model: nn.Module) -> Network:
    """What ``model`` is made of.

    A layer alone, or what has the form of ``throughtime.fleet.SequenceModel``: known by its parts,
    for this room does not import that one.

    Raises:
        ModelError: it is something else.
    """
    if _is_layer(model):
        return Network(model)
    parts = dict(model._modules) if isinstance(model, nn.Module) else {}
    match parts, getattr(getattr(model, "spec", None), "per_step", None):
        case (
            {"recurrent": Stack() as layers, "readout": nn.Linear() as readout, **others},
            bool(per_step),
        ) if _is_layer(layers) and layers.batch_first:
            embedding = others.pop("embedding", None)
            if not others and (embedding is None or isinstance(embedding, nn.Embedding)):
                return Network(layers, embedding, readout, per_step)
    raise _refusal(model)


def real_type(model: nn.Module) -> np.dtype:
    """The type of all weights.

    Raises:
        ModelError: it is not float32 or float64 throughout, or a weight is not finite.
    """
    named = dict(model.named_parameters())
    kinds = {p.dtype for p in named.values()}
    if len(kinds) != 1 or not kinds <= set(_TYPES):
        found = ", ".join(sorted(str(kind) for kind in kinds))
        raise ModelError("onnx.weight_type", found=found)
    for name, p in named.items():
        if not p.isfinite().all():
            raise ModelError("onnx.not_finite", name=name)
    return _TYPES[kinds.pop()]


def array(tensor: Tensor) -> np.ndarray:
    """The numbers of a parameter."""
    return tensor.detach().cpu().numpy()


def _is_layer(model: object) -> TypeGuard[Stack]:
    """A layer that runs as ours do: a parametrised one, yes; one with a forward of its own, no."""
    return isinstance(model, Stack) and type(model).forward in _FORWARD


def _refusal(model: object) -> ModelError:
    kind = type(model).__name__
    if isinstance(model, _OF_TORCH):
        return ModelError("onnx.layer_of_torch", model=kind)
    if isinstance(model, Recurrent) and not isinstance(model, Stack):
        return ModelError("onnx.cell", model=kind, layer=kind.removesuffix("Cell"))
    inside = getattr(model, "named_modules", dict)()
    layers = [f"{name} ({type(part).__name__})" for name, part in inside if _is_layer(part)]
    if layers:
        return ModelError("onnx.model_with_layers", model=kind, layers=", ".join(layers))
    return ModelError("onnx.model", model=kind)
