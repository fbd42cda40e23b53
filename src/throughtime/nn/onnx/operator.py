"""A layer by ONNX's own RNN, GRU or LSTM, where ONNX Runtime computes it as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto
from torch import Tensor

from throughtime.activations.emit.onnx import Graph, Named, Value, joined, named, op, ops, where
from throughtime.nn.layers import Stack
from throughtime.nn.onnx.clock import AXIS, ONE, Clock
from throughtime.nn.onnx.network import array
from throughtime.nn.recurrent import Elman


@dataclass(frozen=True)
class Operator:
    """ONNX's operator for a recurrence.

    Attributes:
        name: as ONNX has it.
        gates: the order of its gates, as places in ``torch.nn``'s.
        places: whose activations it takes, in its order.
    """

    name: str
    gates: tuple[int, ...]
    places: tuple[str, ...]


_OPERATORS = {
    "elman": Operator("RNN", (0,), ("nonlinearity",)),
    "gru": Operator("GRU", (1, 0, 2), ("gate_activation", "activation")),
    "lstm": Operator("LSTM", (0, 3, 1, 2), ("gate_activation", "activation", "output_activation")),
}


def names(layer: Stack, graph: Graph) -> list[Named] | None:
    """The activations by ONNX's names, if its operator computes this layer.

    It knows neither a leak nor a projection nor what is learnt; ONNX Runtime has it in float32.
    """
    if (
        graph.real != np.float32
        or layer.proj_size
        or (isinstance(layer, Elman) and layer.leak != 1)
    ):
        return None
    found = []
    for place in _OPERATORS[layer._kernel].places:
        phi = layer._places[place]
        function = None if phi.learnable else named(phi)
        if function is None:
            return None
        found.append(function)
    return found


def by_operator(
    layer: Stack,
    index: int,
    functions: list[Named],
    x: Value,
    clock: Clock,
    starts: Sequence[Value],
) -> tuple[Value, list[Value]]:
    """All directions of a layer at once; arguments as those of ``add_layer``."""
    operator, suffixes = _OPERATORS[layer._kernel], layer._suffixes_of(index)
    D = len(suffixes)

    def ordered(weight: Tensor) -> np.ndarray:
        gates = np.split(array(weight), len(operator.gates))
        return np.concatenate([gates[gate] for gate in operator.gates])

    w_ih, w_hh, *biases = (
        [ordered(w) for w in each if w is not None]
        for each in zip(*map(layer._weights_of, suffixes), strict=True)
    )
    W = x.graph.tensor(f"W_l{index}", np.stack(w_ih))
    R = x.graph.tensor(f"R_l{index}", np.stack(w_hh))
    B = None
    if layer.bias:
        B = x.graph.tensor(f"B_l{index}", np.concatenate(biases, axis=-1))
    alpha = [f.alpha for f in functions if f.alpha is not None] * D
    beta = [f.beta for f in functions if f.beta is not None] * D
    attributes = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if D == 2 else "forward",
        "activations": [f.name for f in functions] * D,
        **({"activation_alpha": alpha} if alpha else {}),
        **({"activation_beta": beta} if beta else {}),
        **({"linear_before_reset": 1} if operator.name == "GRU" else {}),
    }
    count = 1 + len(layer._state_widths)
    y, *last = ops(operator.name, count, x, W, R, B, _served(clock), *starts, **attributes)
    y, last = _with_nan(x, y, last, starts, D)
    y = op("Transpose", y, perm=[0, 2, 1, 3])
    y = op("Reshape", y, np.array([0, 0, D * layer.hidden_size]))
    return clock.within(y), _of_the_living(clock, last, starts)


def _served(clock: Clock) -> Value | None:
    """Lengths of at least 1: at 0 older versions of ONNX Runtime read outside of the output."""
    if clock.lengths is None:
        return None
    return op("Cast", op("Max", clock.lengths, ONE), to=TensorProto.INT32)


def _of_the_living(clock: Clock, last: list[Value], starts: Sequence[Value]) -> list[Value]:
    """The last states, and the initial ones of sequences of length 0."""
    if clock.lengths is None:
        return last
    empty = op("Unsqueeze", op("Equal", clock.lengths, np.array([0])), AXIS[-1])
    return [where(empty, s, end) for s, end in zip(starts or [0.0] * len(last), last, strict=True)]


def _with_nan(
    x: Value, y: Value, last: list[Value], starts: Sequence[Value], D: int
) -> tuple[Value, list[Value]]:
    """NaN from the first NaN on, as it should be: ONNX Runtime's operators make numbers of it.

    ``y`` is (T, D, B, H), the states (D, B, H).
    """

    def found(v: Value) -> Value:
        nan = where(op("IsNaN", v), np.array(np.nan, x.graph.real), 0.0)
        return op("ReduceSum", nan, AXIS[-1], keepdims=1)

    step = op("Unsqueeze", found(x), AXIS[1])
    so_far = [op("CumSum", step, np.array(0), reverse=d) for d in range(D)]
    y, ever = y + joined(so_far, 1), op("ReduceSum", step, AXIS[0], keepdims=0)
    for start in map(found, starts):
        y, ever = y + start, ever + start
    return y, [end + ever for end in last]
