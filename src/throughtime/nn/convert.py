"""Swap the recurrent layers of an existing model for ours, with another activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import nn

from throughtime.activations import Activation
from throughtime.errors import LayerError
from throughtime.language import say
from throughtime.nn.cells import GRUCell, LSTMCell, RNNCell
from throughtime.nn.layers import GRU, LSTM, RNN
from throughtime.nn.recurrent import Recurrent

_OURS: dict[type, type[Recurrent]] = {
    nn.RNN: RNN,
    nn.GRU: GRU,
    nn.LSTM: LSTM,
    nn.RNNCell: RNNCell,
    nn.GRUCell: GRUCell,
    nn.LSTMCell: LSTMCell,
}
_OURS |= {ours: ours for ours in tuple(_OURS.values())}

_PLACES = {
    "elman": {"activation": "nonlinearity", "leak": "leak"},
    "gru": {"activation": "activation", "gate_activation": "gate_activation"},
    "lstm": {
        "activation": "activation",
        "gate_activation": "gate_activation",
        "output_activation": "output_activation",
    },
}
_SIZES = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")


def convert(
    model: nn.Module,
    activation: str | Activation | None = None,
    *,
    gate_activation: str | Activation | None = None,
    output_activation: str | Activation | None = None,
    leak: float | None = None,
    tell: Callable[[str], object] | None = print,
) -> nn.Module:
    """Swap every recurrent layer and cell inside ``model``, weights kept, and return the model.

    Use it to try another activation in a model that exists. The parameters stay the same objects,
    so an optimiser that holds them goes on; layers and weights that were shared stay shared; hooks,
    ``training`` and ``requires_grad`` stay as they were. Nothing is swapped if anything cannot be.
    What an activation learns is new: give these parameters to the optimiser.

    Args:
        model: any module with ``torch.nn`` (or our) RNN, GRU, LSTM or their cells inside; a layer
            itself is returned as a new layer.
        activation: of the Elman recurrence and of the candidates; None keeps what a layer has.
        gate_activation: of the gates of GRU and LSTM.
        output_activation: of the LSTM's cell state on its way out; None means ``activation``.
        leak: of the Elman recurrence.
        tell: called with one sentence a layer swapped; None for silence.

    Raises:
        LayerError: there is no recurrent layer, one of them is of a derived class or was altered
            (weight normalisation, parametrisation), or an argument would have no effect.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.LSTM(3, 4))
        >>> convert(model, activation="softsign", tell=None)[0].activation.name
        'softsign'
    """
    asked = {
        "activation": activation,
        "gate_activation": gate_activation,
        "output_activation": output_activation,
        "leak": leak,
    }
    asked = {argument: value for argument, value in asked.items() if value is not None}
    if not isinstance(model, nn.Module):
        raise LayerError("nn.convert_no_model", kind=type(model).__name__)
    found = dict(_recurrent(model))
    if not found:
        raise LayerError("nn.convert_nothing", model=type(model).__name__)
    for argument in asked:
        if not any(argument in _PLACES[_OURS[type(old)]._kernel] for old in found):
            layers = ", ".join(sorted({type(old).__name__ for old in found}))
            raise LayerError("nn.convert_without_effect", argument=argument, layers=layers)
    swapped = {old: _swapped(name, old, asked) for old, name in found.items()}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in swapped:
                parent._modules[name] = swapped[child]
    for old, name in found.items():
        if tell is not None:
            was = f"{type(old).__module__.partition('.')[0]}.nn.{type(old).__name__}"
            tell(say("nn.converted", name=name, was=was, now=swapped[old]))
    return swapped.get(model, model)


def _recurrent(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for name, module in model.named_modules():
        name = name or type(model).__name__
        if type(module) in _OURS:
            yield module, name
        elif isinstance(module, tuple(_OURS)):
            kind = type(module).__name__
            raise LayerError("nn.convert_derived", name=name, kind=kind)


def _swapped(name: str, old: nn.Module, asked: dict[str, Any]) -> Recurrent:
    kind = _OURS[type(old)]
    places = {
        place: asked[argument]
        for argument, place in _PLACES[kind._kernel].items()
        if argument in asked
    }
    if kind._kernel == "lstm" and "activation" in asked:
        places.setdefault("output_activation", asked["activation"])
    new = cast(Any, kind)(**_arguments(old, kind) | places, device="meta")
    if set(old._parameters) != set(new._parameters) - set(new._learnable()) | _learnt(old):
        raise LayerError("nn.convert_altered", name=name, kind=type(old).__name__)
    if old._modules or old._buffers:
        raise LayerError("nn.convert_altered", name=name, kind=type(old).__name__)
    kept = {n: p for n, p in old._parameters.items() if not n.startswith(tuple(places))}
    new._adopt(cast(dict[str, nn.Parameter], kept))
    for attribute, value in vars(old).items():
        if "hook" in attribute:
            vars(new)[attribute] = value
    for attribute in ("dropout", "recurrent_init", "forget_bias"):
        if hasattr(old, attribute):
            setattr(new, attribute, getattr(old, attribute))
    return new.train(old.training)


def _arguments(old: nn.Module, kind: type[Recurrent]) -> dict[str, Any]:
    names = [*_SIZES, *(["proj_size"] if kind is LSTM else []), "leak", "nonlinearity"]
    arguments = {name: getattr(old, name) for name in names if hasattr(old, name)}
    return arguments | (old._places if isinstance(old, Recurrent) else {})


def _learnt(old: nn.Module) -> set[str]:
    return set(old._learnable()) if isinstance(old, Recurrent) else set()
